//! Second schemas that have a third: read for ever, written no more.

use super::Role;
use crate::id::{AgentId, CredentialId, OwnerId};
use crate::record::hash::Digest;
use crate::time::Time;

#[derive(Debug, bincode::Encode, bincode::Decode)]
pub(super) struct CredentialIssued {
    credential: CredentialId,
    role: Role,
    agent: Option<AgentId>,
    key_hash: Digest,
    expires_at: Option<Time>,
    owner: Option<OwnerId>,
    rotates: Option<CredentialId>,
}

impl From<CredentialIssued> for super::CredentialIssued {
    fn from(old: CredentialIssued) -> Self {
        Self {
            credential: old.credential,
            role: old.role,
            agent: old.agent,
            key_hash: old.key_hash,
            expires_at: old.expires_at,
            owner: old.owner,
            rotates: old.rotates,
            scram: None,
        }
    }
}
