//! Credentials: API keys, made here, shown once, recorded as a keyed hash.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, IssueCredential};
use bailiwick_core::event::Role;
use bailiwick_core::id::{AgentId, CredentialId, OwnerId};
use bailiwick_core::state;
use bailiwick_core::time::{Span as Length, Time};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Why;
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, json};
use crate::desk::Desk;
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, Problem};

const LIST: &str = "credentials";
/// What every key begins with, so that one is recognised where it does not belong.
const KEY_PREFIX: &str = "bwk_";
/// Bytes of chance in a key.
const KEY_BYTES: usize = 32;

/// A new API key: 256 bits of chance.
#[must_use]
pub fn new_key() -> String {
    let bytes: [u8; KEY_BYTES] = rand::random();
    format!("{KEY_PREFIX}{}", hex::encode(bytes))
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCredential {
    /// The key's public name.
    credential: String,
    /// What its holder may do: `admin`, `operator`, `approver`, `enforcer`, `agent`, `auditor` or
    /// `subscriber`.
    #[schema(value_type = String)]
    role: Role,
    /// The agent it speaks for; with role `agent`, and only then.
    #[serde(default)]
    agent: Option<String>,
    /// The human who holds it: who approves, approves in this person's name.
    #[serde(default)]
    owner: Option<String>,
    /// How long it works, such as `90d`; until revoked if not given.
    #[serde(default)]
    ttl: Option<String>,
}

/// The answer to a new key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Issued {
    /// The key's public name and where it is recorded.
    #[serde(flatten)]
    recorded: Recorded,
    /// The key. It is shown this once; a retry under the same idempotency key does not show it.
    key: Option<String>,
    /// When it stops working.
    expires_at: Option<String>,
}

/// A key as it stands, without the key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Credential {
    /// Its public name.
    #[schema(value_type = String)]
    credential: CredentialId,
    /// What its holder may do.
    #[schema(value_type = String)]
    role: Role,
    /// The agent it speaks for.
    #[schema(value_type = Option<String>)]
    agent: Option<AgentId>,
    /// The human who holds it.
    #[schema(value_type = Option<String>)]
    owner: Option<OwnerId>,
    /// When it was made.
    issued_at: String,
    /// When it stops working.
    expires_at: Option<String>,
    /// Whether it was revoked.
    revoked: bool,
    /// Whether it works now.
    live: bool,
}

/// Make a key.
#[utoipa::path(post, path = "/v1/credentials", tag = "credentials", request_body = NewCredential,
    responses((status = 201, body = Issued), (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<NewCredential>,
) -> Result<Response, Problem> {
    let ttl: Option<Length> = body.ttl.as_deref().map(str::parse).transpose()?;
    let expires_at = ttl.map(|ttl| desk.ledger.now().after(ttl));
    let key = new_key();
    let issue = IssueCredential {
        credential: CredentialId::new(&body.credential)?,
        role: body.role,
        agent: body.agent.as_deref().map(AgentId::new).transpose()?,
        key_hash: desk.ledger.key_hash(&key),
        expires_at,
        owner: body.owner.as_deref().map(OwnerId::new).transpose()?,
        rotates: None,
    };
    let outcome = desk.submit(&caller, about, Command::IssueCredential(issue)).await?;
    let is_new = outcome.done.repeats.is_none();
    let issued = Issued {
        recorded: outcome.recorded(body.credential),
        // On a retry another key is on the ledger: this one would open nothing.
        key: is_new.then_some(key),
        expires_at: expires_at.filter(|_| is_new).map(moment::text),
    };
    Ok(json(StatusCode::CREATED, &issued))
}

/// List keys, revoked ones included.
#[utoipa::path(get, path = "/v1/credentials", tag = "credentials", params(PageQuery),
    responses((status = 200, body = Page<Credential>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<CredentialId> = query.span(LIST)?;
    let now = desk.ledger.now();
    let page = desk.read(move |state| {
        let credentials = page::entries(state.credentials(), &span);
        page::take(LIST, span.limit, credentials, |id, known| Some(show(id, known, now)))
    });
    Ok(json(StatusCode::OK, &page.await?))
}

fn show(id: &CredentialId, known: &state::Credential, now: Time) -> Credential {
    Credential {
        credential: id.clone(),
        role: known.role,
        agent: known.agent.clone(),
        owner: known.owner.clone(),
        issued_at: moment::text(known.issued),
        expires_at: known.expires_at.map(moment::text),
        revoked: known.revoked,
        live: known.is_live(now),
    }
}

/// End a key.
#[utoipa::path(post, path = "/v1/credentials/{id}/revoke", tag = "credentials",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn revoke(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let credential = CredentialId::new(&name)?;
    let command = Command::RevokeCredential { credential, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_and_never_alike() {
        let (one, other) = (new_key(), new_key());
        assert_eq!(one.len(), KEY_PREFIX.len() + 2 * KEY_BYTES);
        assert_ne!(one, other);
    }
}
