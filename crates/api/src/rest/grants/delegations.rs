//! Delegation: a part of a grant for another agent of the same owner.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bailiwick_core::command::{Command, DelegateGrant};
use bailiwick_core::event::Constraint;
use bailiwick_core::id::{AgentId, GrantId};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::body::{Named, Told};
use crate::command::{Recorded, created};
use crate::desk::Desk;
use crate::problem::{Details, Problem};
use crate::rest::text;

/// The part of a grant that another agent is to hold. Nothing of it may be wider than the grant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDelegation {
    /// Who is to hold it: an agent of the same owner.
    to: String,
    /// For which of that agent's tasks only; needed where the grant is for a task.
    #[serde(default)]
    task: Option<String>,
    /// To what; as the grant if not given.
    #[serde(default)]
    scope: Option<String>,
    /// How long it is good for, such as `5m`; 5 minutes, or what the grant has left, if not given.
    #[serde(default)]
    ttl: Option<String>,
    /// How often it may be used; once if not given. Each use is one of the grant's as well.
    #[serde(default)]
    max_uses: Option<u32>,
    /// What a call's arguments have to be, beside what the grant demands.
    #[serde(default)]
    #[schema(value_type = Vec<super::ConstraintBody>)]
    constraints: Vec<Constraint>,
    /// Why.
    #[serde(default)]
    justification: Option<String>,
}

/// Delegate a part of a grant. It dies with the grant, and its uses are the grant's.
#[utoipa::path(post, path = "/v1/grants/{id}/delegate", tag = "grants",
    params(("id" = String, Path)), request_body = NewDelegation,
    responses((status = 201, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<NewDelegation>,
) -> Result<Response, Problem> {
    let delegate = DelegateGrant {
        parent: name.parse()?,
        to: AgentId::new(&body.to)?,
        task: body.task.as_deref().map(str::parse).transpose()?,
        scope: body.scope.as_deref().map(str::parse).transpose()?,
        ttl: body.ttl.as_deref().map(str::parse).transpose()?,
        max_uses: body.max_uses,
        constraints: body.constraints,
        justification: text(body.justification.as_deref())?,
    };
    let outcome = desk.submit(&caller, about, Command::DelegateGrant(delegate)).await?;
    Ok(created(&outcome, "/v1/grants", GrantId(outcome.done.index).to_string()))
}
