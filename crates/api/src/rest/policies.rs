//! Policies: put on the stage one by one, in force when activated together.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::Command;
use bailiwick_core::id::PolicyId;
use bailiwick_core::state;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Why, text};
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, json};
use crate::desk::Desk;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, NOT_FOUND, Problem};

const LIST: &str = "policies";

/// A policy's text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyText {
    /// Cedar, one policy.
    text: String,
    /// Why it is written.
    #[serde(default)]
    reason: Option<String>,
}

/// A policy as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Policy {
    /// Its name.
    #[schema(value_type = String)]
    policy: PolicyId,
    /// `active`: in force as it stands on the stage. `staged`: not in force yet. `changed`: in force
    /// with another text. `removed`: in force until the next activation.
    status: &'static str,
    /// The text on the stage; none when it was taken off.
    text: Option<String>,
    /// The text in force, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_text: Option<String>,
}

fn show(state: &state::State, id: &PolicyId) -> Option<Policy> {
    let (staged, active) = (state.staged().get(id), state.active().get(id));
    let status = match (staged, active) {
        (None, None) => return None,
        (Some(_), None) => "staged",
        (None, Some(_)) => "removed",
        (Some(staged), Some(active)) if staged == active => "active",
        (Some(_), Some(_)) => "changed",
    };
    Some(Policy {
        policy: id.clone(),
        status,
        text: staged.cloned(),
        active_text: active.filter(|_| status != "active").cloned(),
    })
}

/// Put a policy on the stage. It decides nothing until the stage is activated.
#[utoipa::path(put, path = "/v1/policies/{id}", tag = "policies", params(("id" = String, Path)),
    request_body = PolicyText,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn put(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<PolicyText>,
) -> Result<Response, Problem> {
    let policy = PolicyId::new(&name)?;
    let reason = text(body.reason.as_deref())?;
    let command = Command::PutPolicy { policy, text: body.text, reason };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

/// Take a policy off the stage. It stays in force until the stage is activated.
#[utoipa::path(delete, path = "/v1/policies/{id}", tag = "policies", params(("id" = String, Path)),
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn remove(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    body.text()?;
    let command = Command::RemovePolicy { policy: PolicyId::new(&name)? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

/// Make the stage take effect, all of it at once.
#[utoipa::path(post, path = "/v1/policies/activate", tag = "policies", request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn activate(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    body.text()?;
    let outcome = desk.submit(&caller, about, Command::ActivatePolicies).await?;
    let id = desk.read(|state| state.policy_hash().to_string()).await?;
    Ok(changed(&outcome, id))
}

/// List policies, on the stage and in force.
#[utoipa::path(get, path = "/v1/policies", tag = "policies", params(PageQuery),
    responses((status = 200, body = Page<Policy>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<PolicyId> = query.span(LIST)?;
    let page = desk.read(move |state| {
        // One more than the page has, of either map, is enough to know whether there is a next.
        let most = span.limit + 1;
        let staged = page::entries(state.staged(), &span).take(most).map(|(id, _)| id);
        let active = page::entries(state.active(), &span).take(most).map(|(id, _)| id);
        let both: BTreeSet<&PolicyId> = staged.chain(active).collect();
        page::take(LIST, span.limit, both.into_iter().map(|id| (id, ())), |id, ()| show(state, id))
    });
    Ok(json(StatusCode::OK, &page.await?))
}

/// Get one policy.
#[utoipa::path(get, path = "/v1/policies/{id}", tag = "policies", params(("id" = String, Path)),
    responses((status = 200, body = Policy), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let id = PolicyId::new(&name)?;
    let policy = desk.read(move |state| show(state, &id)).await?;
    let unknown = || NOT_FOUND.with(format!("policy `{name}` is not known"));
    Ok(json(StatusCode::OK, &policy.ok_or_else(unknown)?))
}
