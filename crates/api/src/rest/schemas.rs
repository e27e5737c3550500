//! Input schemas of actions: what policies may read of a call's arguments, and as which type.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::Command;
use bailiwick_core::id::Action;
use bailiwick_core::policy::Inputs;
use bailiwick_core::state;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, json};
use crate::desk::Desk;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, NOT_FOUND, Problem};

const LIST: &str = "schemas";

/// The arguments of an action.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputSchema {
    /// JSON Schema of an object: a tool's `inputSchema` as its server tells it.
    #[schema(value_type = Object)]
    schema: Value,
}

/// An input schema as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Schema {
    /// Of which action.
    #[schema(value_type = String)]
    action: Action,
    /// `active`: policies in force read arguments by it. `staged`: they will from the next activation.
    /// `changed`: they do by another one until then.
    status: &'static str,
    /// The schema on the stage, as the hash of the set is taken over it.
    text: String,
    /// The schema in force, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_text: Option<String>,
    /// What policies cannot read, as it has no exact type, and why.
    left_out: Vec<LeftOut>,
}

/// An argument that policies cannot read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeftOut {
    /// Its names from the outside in, such as `filter.any`.
    path: String,
    /// Why.
    why: &'static str,
}

fn show(state: &state::State, action: &Action) -> Option<Schema> {
    let staged = state.staged_schemas().get(action)?;
    let status = match state.schemas().get(action) {
        Some(active) if active == staged => "active",
        Some(_) => "changed",
        None => "staged",
    };
    let inputs = Inputs::of_json_schema(staged).ok()?;
    let left_out = inputs.left_out().iter();
    Some(Schema {
        action: action.clone(),
        status,
        text: staged.clone(),
        active_text: state.schemas().get(action).filter(|active| *active != staged).cloned(),
        left_out: left_out.map(|out| LeftOut { path: out.path.clone(), why: out.why }).collect(),
    })
}

/// Put the input schema of an action on the stage. It takes effect with the policies there.
#[utoipa::path(put, path = "/v1/schemas/{action}", tag = "policies",
    params(("action" = String, Path)), request_body = InputSchema,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn put(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<InputSchema>,
) -> Result<Response, Problem> {
    let (action, schema) = (Action::new(&name)?, body.schema.to_string());
    let outcome = desk.submit(&caller, about, Command::PutSchema { action, schema }).await?;
    Ok(changed(&outcome, name))
}

/// List input schemas.
#[utoipa::path(get, path = "/v1/schemas", tag = "policies", params(PageQuery),
    responses((status = 200, body = Page<Schema>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<Action> = query.span(LIST)?;
    let page = desk.read(move |state| {
        let all = page::entries(state.staged_schemas(), &span);
        page::take(LIST, span.limit, all, |action, _| show(state, action))
    });
    Ok(json(StatusCode::OK, &page.await?))
}

/// Get the input schema of one action.
#[utoipa::path(get, path = "/v1/schemas/{action}", tag = "policies",
    params(("action" = String, Path)),
    responses((status = 200, body = Schema), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let action = Action::new(&name)?;
    let schema = desk.read(move |state| show(state, &action)).await?;
    let unknown = || NOT_FOUND.with(format!("action `{name}` has no input schema"));
    Ok(json(StatusCode::OK, &schema.ok_or_else(unknown)?))
}
