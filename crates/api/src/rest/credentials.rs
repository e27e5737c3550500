//! Credentials: API keys, made here, shown once, recorded as a keyed hash.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, IssueCredential, RotateCredential};
use bailiwick_core::event::{Role, ScramVerifier};
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
use crate::problem::{Details, INTERNAL, Problem};

const LIST: &str = "credentials";
/// How long a key still works once another has taken its place, unless told otherwise.
const OVERLAP: Length = Length::hours(1);
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

/// A key that is to take the place of another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// The new key's public name; the old one's with the next number, such as `ci.2`, if not given.
    #[serde(default)]
    credential: Option<String>,
    /// How long the old key still works, at most `30d`; `1h` if not given.
    #[serde(default)]
    overlap: Option<String>,
}

/// The answer to a rotation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rotated {
    /// The new key.
    #[serde(flatten)]
    issued: Issued,
    /// When the old key stops working.
    old_expires_at: Option<String>,
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
    /// When it was last used, to the minute and since this server's start; not part of the record.
    last_used_at: Option<String>,
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
    let credential = CredentialId::new(&body.credential)?;
    let scram = Some(verifier(&desk, &credential, &key)?);
    let issue = IssueCredential {
        credential,
        role: body.role,
        agent: body.agent.as_deref().map(AgentId::new).transpose()?,
        key_hash: desk.ledger.key_hash(&key),
        expires_at,
        owner: body.owner.as_deref().map(OwnerId::new).transpose()?,
        rotates: None,
        scram,
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
    let (now, used) = (desk.ledger.now(), desk.used.last());
    let page = desk.read(move |state| {
        let credentials = page::entries(state.credentials(), &span);
        page::take(LIST, span.limit, credentials, |id, known| Some(show(id, known, now, &used)))
    });
    Ok(json(StatusCode::OK, &page.await?))
}

fn show(
    id: &CredentialId,
    known: &state::Credential,
    now: Time,
    used: &BTreeMap<CredentialId, Time>,
) -> Credential {
    Credential {
        credential: id.clone(),
        role: known.role,
        agent: known.agent.clone(),
        owner: known.owner.clone(),
        issued_at: moment::text(known.issued),
        expires_at: known.expires_at.map(moment::text),
        revoked: known.revoked,
        live: known.is_live(now),
        last_used_at: used.get(id).copied().map(moment::text),
    }
}

/// Put another key in the place of one. It speaks for whom the old one does, in its role, and lasts
/// from now as long as the old one was to last; the old one works on for the overlap.
#[utoipa::path(post, path = "/v1/credentials/{id}/rotate", tag = "credentials",
    params(("id" = String, Path)), request_body = Rotation,
    responses((status = 201, body = Rotated), (status = "default", body = Details)))]
pub(crate) async fn rotate(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Rotation>,
) -> Result<Response, Problem> {
    let rotates = CredentialId::new(&name)?;
    let credential = CredentialId::new(&body.credential.unwrap_or_else(|| successor(&name)))?;
    let overlap = body.overlap.as_deref().map(str::parse).transpose()?.unwrap_or(OVERLAP);
    let key = new_key();
    let scram = Some(verifier(&desk, &credential, &key)?);
    let rotate = RotateCredential {
        rotates: rotates.clone(),
        credential: credential.clone(),
        key_hash: desk.ledger.key_hash(&key),
        scram,
        overlap,
    };
    let outcome = desk.submit(&caller, about, Command::RotateCredential(rotate)).await?;
    let name = credential.clone();
    let ends = desk.read(move |state| {
        let end = |id: &CredentialId| state.credentials().get(id).map(|known| known.expires_at);
        Some((end(&credential)?, end(&rotates)?))
    });
    let ends = ends.await?.ok_or_else(|| INTERNAL.with("the keys are not on the ledger"))?;
    let issued = Issued {
        recorded: outcome.recorded(name.as_str()),
        key: outcome.done.repeats.is_none().then_some(key),
        expires_at: ends.0.map(moment::text),
    };
    let rotated = Rotated { issued, old_expires_at: ends.1.map(moment::text) };
    Ok(json(StatusCode::CREATED, &rotated))
}

/// By what the key's holder is known where keys are not sent, as over the `PostgreSQL` wire.
fn verifier(desk: &Desk, credential: &CredentialId, key: &str) -> Result<ScramVerifier, Problem> {
    desk.ledger.verifier(credential, key).map_err(|error| {
        tracing::error!(%error, "a key was not made");
        INTERNAL.with("the key cannot be made")
    })
}

/// The next name in a row: `ci`, `ci.2`, `ci.3`. The same for the same, so that a retry asks for the
/// same.
fn successor(name: &str) -> String {
    let numbered = name.rsplit_once('.');
    let counted = numbered.and_then(|(stem, n)| Some((stem, n.parse::<u32>().ok()?)));
    match counted {
        Some((stem, number)) => format!("{stem}.{}", number.saturating_add(1)),
        None => format!("{name}.2"),
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
    fn names_of_rotated_keys_count_up() {
        for (name, next) in [("ci", "ci.2"), ("ci.2", "ci.3"), ("a.b", "a.b.2"), ("a.", "a..2")] {
            assert_eq!(successor(name), next);
        }
    }

    #[test]
    fn keys_are_long_and_never_alike() {
        let (one, other) = (new_key(), new_key());
        assert_eq!(one.len(), KEY_PREFIX.len() + 2 * KEY_BYTES);
        assert_ne!(one, other);
    }
}
