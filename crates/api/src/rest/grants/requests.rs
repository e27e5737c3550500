//! Requests for grants: an agent asks, its own policy or an operator answers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, Done};
use bailiwick_core::event::{Constraint, DenialCode, Fact, Scope};
use bailiwick_core::id::{
    Action, AgentId, ApprovalId, GrantId, GrantRequestId, OwnerId, TaskId, Text,
};
use bailiwick_core::state::PendingRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::NewGrant;
use crate::auth::Caller;
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, json};
use crate::desk::{Desk, blocking};
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, Problem};
use crate::rest::Why;

const LIST: &str = "requests";

/// The answer to a request for a grant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Requested {
    /// The request.
    #[serde(flatten)]
    recorded: Recorded,
    /// `issued` by the agent's own policy, `denied` by it, or `pending` until people do.
    status: &'static str,
    /// The grant, when it was issued.
    #[schema(value_type = Option<String>)]
    grant: Option<GrantId>,
    /// The approval that people are asked for, when it waits for that.
    #[schema(value_type = Option<String>)]
    approval: Option<ApprovalId>,
    /// Why not, when it was denied just now.
    #[schema(value_type = Option<String>)]
    denied_by: Option<DenialCode>,
}

/// A request that waits for an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pending {
    /// Its id.
    #[schema(value_type = String)]
    request: GrantRequestId,
    /// Who is to hold the grant.
    #[schema(value_type = String)]
    agent: AgentId,
    /// Whose authority.
    #[schema(value_type = String)]
    owner: OwnerId,
    /// For which task.
    #[schema(value_type = Option<String>)]
    task: Option<TaskId>,
    /// To do what.
    #[schema(value_type = String)]
    action: Action,
    /// To what.
    #[schema(value_type = String)]
    scope: Scope,
    /// For how long.
    ttl: String,
    /// How often.
    max_uses: u32,
    /// Why.
    #[schema(value_type = Option<String>)]
    justification: Option<Text>,
    /// What a call's arguments have to be.
    #[schema(value_type = Vec<super::ConstraintBody>)]
    constraints: Vec<Constraint>,
    /// When it was asked.
    asked_at: String,
}

/// Ask for a grant. Where the agent's own policy permits it just in time, it is issued at once.
#[utoipa::path(post, path = "/v1/grants/requests", tag = "grants", request_body = NewGrant,
    responses((status = 200, body = Requested), (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<NewGrant>,
) -> Result<Response, Problem> {
    let command = Command::RequestGrant(body.request()?);
    let outcome = desk.submit(&caller, about, command).await?;
    let answer = answer(&desk, &outcome.done).await?;
    let recorded = outcome.recorded(answer.request.to_string());
    let Answered { status, approval, denied_by, .. } = answer;
    let grant = outcome.done.grant;
    Ok(json(StatusCode::OK, &Requested { recorded, status, grant, approval, denied_by }))
}

struct Answered {
    request: GrantRequestId,
    status: &'static str,
    approval: Option<ApprovalId>,
    denied_by: Option<DenialCode>,
}

/// What became of a request. The ledger answers with the request's event, or with the denial's
/// where policy turned it down, and the denial names the request.
async fn answer(desk: &Desk, done: &Done) -> Result<Answered, Problem> {
    let index = done.index;
    let request = GrantRequestId(index);
    if done.grant.is_some() {
        return Ok(Answered { request, status: "issued", approval: None, denied_by: None });
    }
    let pending = desk.read(move |state| {
        let pending = state.requests().contains_key(&request);
        pending.then(|| state.approvals().of_request(request))
    });
    if let Some(approval) = pending.await? {
        return Ok(Answered { request, status: "pending", approval, denied_by: None });
    }
    let ledger = desk.ledger.clone();
    let events = blocking(move || ledger.events(index, 1)).await??;
    let denied = events.first().and_then(|recorded| {
        if let Fact::GrantDenied(denied) = &recorded.event.fact { Some(denied) } else { None }
    });
    let request = denied.map_or(request, |denied| denied.request);
    let denied_by = denied.map(|denied| denied.code);
    Ok(Answered { request, status: "denied", approval: None, denied_by })
}

/// List requests that wait for an answer. An agent sees its own.
#[utoipa::path(get, path = "/v1/grants/requests", tag = "grants", params(PageQuery),
    responses((status = 200, body = Page<Pending>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.sees()?;
    let span: Span<GrantRequestId> = query.span(LIST)?;
    let page = desk.read(move |state| {
        let requests = page::entries(state.requests(), &span);
        page::take(LIST, span.limit, requests, |id, pending| {
            let sight = caller.sees().ok()?;
            sight.shows(Some(&pending.terms.agent)).then(|| show(**id, pending))
        })
    });
    Ok(json(StatusCode::OK, &page.await?))
}

fn show(request: GrantRequestId, pending: &PendingRequest) -> Pending {
    let terms = &pending.terms;
    Pending {
        request,
        agent: terms.agent.clone(),
        owner: terms.owner.clone(),
        task: terms.task,
        action: terms.action.clone(),
        scope: terms.scope.clone(),
        ttl: terms.ttl.to_string(),
        max_uses: terms.max_uses,
        justification: terms.justification.clone(),
        constraints: terms.constraints.clone(),
        asked_at: moment::text(pending.asked),
    }
}

/// Turn a request down.
#[utoipa::path(post, path = "/v1/grants/requests/{id}/deny", tag = "grants",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn deny(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::DenyGrant { request: name.parse()?, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}
