//! Delegates: humans who may act through an owner's agents.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bailiwick_core::command::Command;
use bailiwick_core::id::OwnerId;
use bailiwick_core::state;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Why;
use crate::auth::Caller;
use crate::body::{Told, TwoNamed};
use crate::command::{Recorded, changed};
use crate::desk::Desk;
use crate::moment;
use crate::problem::{Details, Problem};

/// For how long a human may act through an owner's agents.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delegation {
    /// Until when, if not until it is taken back; RFC 3339.
    #[serde(default)]
    expires_at: Option<String>,
}

/// A human who may act through an owner's agents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delegate {
    /// Who.
    #[schema(value_type = String)]
    delegate: OwnerId,
    /// Until when, if not until it is taken back.
    expires_at: Option<String>,
}

/// An owner's delegates; those whose time is over are among them until another is added.
pub(super) fn of(owner: &state::Owner) -> Vec<Delegate> {
    let delegate = |(id, until): (&OwnerId, &Option<_>)| Delegate {
        delegate: id.clone(),
        expires_at: until.map(moment::text),
    };
    owner.delegates.iter().map(delegate).collect()
}

/// Let a human act through an owner's agents, or say anew until when. The owner's rights are what
/// counts, and never the delegate's.
#[utoipa::path(put, path = "/v1/owners/{id}/delegates/{delegate}", tag = "owners",
    params(("id" = String, Path), ("delegate" = String, Path)), request_body = Delegation,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn put(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    TwoNamed(owner, delegate): TwoNamed,
    Told { body, about }: Told<Delegation>,
) -> Result<Response, Problem> {
    let command = Command::AddDelegate {
        owner: OwnerId::new(&owner)?,
        delegate: OwnerId::new(&delegate)?,
        expires_at: body.expires_at.as_deref().map(moment::parse).transpose()?,
    };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, delegate))
}

/// Take that back, at once.
#[utoipa::path(post, path = "/v1/owners/{id}/delegates/{delegate}/remove", tag = "owners",
    params(("id" = String, Path), ("delegate" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn remove(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    TwoNamed(owner, delegate): TwoNamed,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::RemoveDelegate {
        owner: OwnerId::new(&owner)?,
        delegate: OwnerId::new(&delegate)?,
        reason: body.text()?,
    };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, delegate))
}
