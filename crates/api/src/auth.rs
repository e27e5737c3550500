//! Who calls: the holder of an API key, found by its keyed hash in the committed view, or of an
//! issuer's access token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use bailiwick_core::command::Authorize;
use bailiwick_core::event::{Actor, Role};
use bailiwick_core::id::{AgentId, CredentialId};
use bailiwick_core::record::Digest;

use crate::desk::Desk;
use crate::problem::{CREDENTIAL_INVALID, NOT_PERMITTED, Problem, UNAVAILABLE};
use crate::token::{Identity, Refused, TOKEN_BYTES_MAX};

mod door;
pub(crate) mod used;

pub use door::Readers;

/// The longest key that is looked at, in bytes.
const KEY_BYTES_MAX: usize = 256;

/// Roles that read everything that is not an event or a secret.
pub(crate) const READERS: &[Role] = &[Role::Admin, Role::Operator, Role::Auditor];

/// An authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) role: Role,
    /// The agent it speaks for; with role `agent` only.
    pub(crate) agent: Option<AgentId>,
    proof: Proof,
}

/// What a caller has shown.
#[derive(Debug, Clone)]
enum Proof {
    /// An API key.
    Key { id: CredentialId, key_hash: Digest },
    /// An issuer's token.
    Token(Box<Identity>),
}

impl Caller {
    /// The caller whose key or token stands in `headers`, who may see and do something: the human of
    /// a token is registered and not disabled, and may act through its agent if it has one.
    pub(crate) async fn in_good_standing(
        desk: &Desk,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let caller = Self::of(desk, headers).await?;
        let Proof::Token(identity) = &caller.proof else { return Ok(caller) };
        let (human, agent) = (identity.owner.clone(), identity.agent.clone());
        let now = desk.ledger.now();
        let stands = desk.read(move |state| {
            if state.owners().get(&human).is_none_or(|human| human.disabled) {
                return Err(CREDENTIAL_INVALID.with("the token's human is unknown or disabled"));
            }
            let Some(agent) = agent else { return Ok(()) };
            let owner = state.agents().get(&agent).map(|agent| &agent.owner);
            if owner.is_some_and(|owner| state.speaks_for(&human, owner, now)) {
                return Ok(());
            }
            Err(NOT_PERMITTED.with("the token's human may not act through its agent"))
        });
        stands.await?.map(|()| caller)
    }

    /// The caller whose key or token stands in `headers`: for calls, which the ledger denies on the
    /// record where the human of a token may not act.
    pub(crate) async fn of(desk: &Desk, headers: &HeaderMap) -> Result<Self, Problem> {
        match bearer(headers)? {
            // No key holds a dot, and no token is without.
            token if token.contains('.') => Self::of_token(desk, token).await,
            key => Self::of_key(desk, key),
        }
    }

    fn of_key(desk: &Desk, key: &str) -> Result<Self, Problem> {
        if key.len() > KEY_BYTES_MAX {
            return Err(CREDENTIAL_INVALID.with("the key is too long"));
        }
        let key_hash = desk.ledger.key_hash(key);
        let view = desk.ledger.view();
        let now = desk.ledger.now();
        let known = view.credential(&key_hash);
        let live = known.filter(|c| c.expires_at.is_none_or(|end| now < end));
        let Some(credential) = live else {
            return Err(CREDENTIAL_INVALID.with("the key is unknown, revoked or expired"));
        };
        desk.used.note(&credential.id, now);
        Ok(Self {
            role: credential.role,
            agent: credential.agent.clone(),
            proof: Proof::Key { id: credential.id.clone(), key_hash },
        })
    }

    async fn of_token(desk: &Desk, token: &str) -> Result<Self, Problem> {
        let view = desk.ledger.view();
        let owner_of = |agent: &AgentId| view.owner_of(agent).cloned();
        let identity = desk.issuers.identify(token, desk.ledger.now(), owner_of).await;
        let identity = Box::new(identity.map_err(|refused| match refused {
            Refused::Invalid(why) => CREDENTIAL_INVALID.with(why),
            Refused::NotPermitted(why) => NOT_PERMITTED.with(why),
            Refused::Unavailable(why) => UNAVAILABLE.with(why),
        })?);
        let (role, agent) = (identity.role, identity.agent.clone());
        Ok(Self { role, agent, proof: Proof::Token(identity) })
    }

    /// Whether the key or token is still taken, for what lasts longer than a request.
    pub(crate) fn is_live(&self, desk: &Desk) -> bool {
        match &self.proof {
            Proof::Key { key_hash, .. } => {
                let view = desk.ledger.view();
                view.credential(key_hash)
                    .is_some_and(|c| c.expires_at.is_none_or(|end| desk.ledger.now() < end))
            }
            Proof::Token(identity) => {
                let is_active = desk.ledger.view().is_active(&identity.owner);
                is_active && desk.ledger.now() < identity.until
            }
        }
    }

    /// Who the ledger is to record.
    pub(crate) fn actor(&self) -> Actor {
        match &self.proof {
            Proof::Key { id, .. } => Actor::Credential { id: id.clone(), role: self.role },
            Proof::Token(identity) => Actor::Token {
                issuer: identity.issuer.clone(),
                owner: identity.owner.clone(),
                agent: identity.agent.clone(),
                role: identity.role,
            },
        }
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

    /// Puts who acted before the agent of a token into what it asks for.
    pub(crate) fn sign(&self, authorize: &mut Authorize) {
        if let Proof::Token(identity) = &self.proof {
            authorize.actors.clone_from(&identity.before);
        }
    }

    pub(crate) fn not_permitted(&self) -> Problem {
        let role = self.role;
        NOT_PERMITTED.with(match &self.proof {
            Proof::Key { id, .. } => {
                format!("role `{role}` of credential `{id}` does not allow this")
            }
            Proof::Token(_) => format!("role `{role}` of the token does not allow this"),
        })
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
    let missing = || refused("send `Authorization: Bearer <key>`").without_token();
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(missing()) };
    if values.next().is_some() {
        return Err(refused("there is more than one `Authorization` header"));
    }
    let text = value.to_str().map_err(|_| refused("the key is not text"))?;
    let (scheme, key) = text.split_once(' ').unwrap_or((text, ""));
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || key.is_empty() {
        return Err(missing());
    }
    if key.len() > TOKEN_BYTES_MAX {
        return Err(refused("the key or token is too long"));
    }
    Ok(key)
}

impl FromRequestParts<Arc<Desk>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Problem> {
        Self::in_good_standing(desk, &parts.headers).await
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
        let long: &'static str =
            Box::leak(format!("Bearer {}", "x".repeat(8_193)).into_boxed_str());
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
