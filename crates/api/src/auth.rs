//! Who calls: an API key, found by its keyed hash in the committed view.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use bailiwick_core::event::{Actor, Role};
use bailiwick_core::id::{AgentId, CredentialId};
use bailiwick_core::record::Digest;

use crate::desk::Desk;
use crate::problem::{CREDENTIAL_INVALID, NOT_PERMITTED, Problem};

/// The longest key that is looked at, in bytes.
const KEY_BYTES_MAX: usize = 256;

/// Roles that read everything that is not an event or a secret.
pub(crate) const READERS: &[Role] = &[Role::Admin, Role::Operator, Role::Auditor];

/// An authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) id: CredentialId,
    pub(crate) role: Role,
    /// The agent it speaks for; with role `agent` only.
    pub(crate) agent: Option<AgentId>,
    key_hash: Digest,
}

impl Caller {
    /// The caller whose key stands in `headers`.
    pub(crate) fn of(desk: &Desk, headers: &HeaderMap) -> Result<Self, Problem> {
        let key = bearer(headers)?;
        let key_hash = desk.ledger.key_hash(key);
        let view = desk.ledger.view();
        let known = view.credential(&key_hash);
        let live = known.filter(|c| c.expires_at.is_none_or(|end| desk.ledger.now() < end));
        let Some(credential) = live else {
            return Err(CREDENTIAL_INVALID.with("the key is unknown, revoked or expired"));
        };
        Ok(Self {
            id: credential.id.clone(),
            role: credential.role,
            agent: credential.agent.clone(),
            key_hash,
        })
    }

    /// Whether the key still works, for what lasts longer than a request.
    pub(crate) fn is_live(&self, desk: &Desk) -> bool {
        let view = desk.ledger.view();
        view.credential(&self.key_hash)
            .is_some_and(|c| c.expires_at.is_none_or(|end| desk.ledger.now() < end))
    }

    /// Who the ledger is to record.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Credential { id: self.id.clone(), role: self.role }
    }

    /// Refuses a caller whose role is none of `roles`.
    pub(crate) fn needs(&self, roles: &[Role]) -> Result<(), Problem> {
        if roles.contains(&self.role) {
            return Ok(());
        }
        Err(self.not_permitted())
    }

    /// Whose things a reader may see: everyone's, or those of the agent that it is.
    pub(crate) fn sees(&self) -> Result<Sight<'_>, Problem> {
        match &self.agent {
            Some(agent) if self.role == Role::Agent => Ok(Sight::Own(agent)),
            _ => self.needs(READERS).map(|()| Sight::All),
        }
    }

    pub(crate) fn not_permitted(&self) -> Problem {
        let (id, role) = (&self.id, self.role);
        NOT_PERMITTED.with(format!("role `{role}` of credential `{id}` does not allow this"))
    }
}

/// Whose things a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight<'a> {
    /// Everyone's.
    All,
    /// Those of one agent, the caller.
    Own(&'a AgentId),
}

impl Sight<'_> {
    /// Whether an agent's things may be seen.
    pub(crate) fn shows(&self, agent: Option<&AgentId>) -> bool {
        match self {
            Self::All => true,
            Self::Own(own) => agent == Some(own),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let refused = |why: &'static str| CREDENTIAL_INVALID.with(why);
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(refused("send `Authorization: Bearer <key>`"));
    };
    if values.next().is_some() {
        return Err(refused("there is more than one `Authorization` header"));
    }
    let text = value.to_str().map_err(|_| refused("the key is not text"))?;
    let (scheme, key) = text.split_once(' ').unwrap_or((text, ""));
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(refused("send `Authorization: Bearer <key>`"));
    }
    Ok(key)
}

impl FromRequestParts<Arc<Desk>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Problem> {
        Self::of(desk, &parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer_of(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        bearer(&headers).ok().map(str::to_owned)
    }

    #[test]
    fn a_key_comes_as_one_bearer_token() {
        assert_eq!(bearer_of(&["Bearer bwk_1"]).as_deref(), Some("bwk_1"));
        assert_eq!(bearer_of(&["bearer  bwk_1 "]).as_deref(), Some("bwk_1"));
        let long: &'static str = Box::leak(format!("Bearer {}", "x".repeat(257)).into_boxed_str());
        for bad in [
            &[][..],
            &["bwk_1"],
            &["Basic bwk_1"],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a", "Bearer b"],
            &[long],
        ] {
            assert_eq!(bearer_of(bad), None, "{bad:?}");
        }
    }
}
