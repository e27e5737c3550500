//! Tools, and the definitions that they are held to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, PinTool};
use bailiwick_core::event::{Effect, Selector};
use bailiwick_core::id::{Text, ToolId};
use bailiwick_core::record::hash::Digest;
use bailiwick_core::state;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Why;
use super::owners::suspended_by;
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, json};
use crate::desk::Desk;
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, NOT_FOUND, Problem};

const LIST: &str = "tools";

/// The definition that a tool is to be held to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    /// Hash of its definition, 64 hexadecimal digits.
    hash: String,
    /// What it does to the world: calls count as this where they claim less. `read`, `open`,
    /// `write`, `external` or `destructive`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    effect: Option<Effect>,
    /// Arguments that name what it acts on: JSON pointers (RFC 6901).
    #[serde(default)]
    targets: Vec<String>,
    /// What is known of its data flow, such as `reads:private`.
    #[serde(default)]
    labels: Vec<String>,
}

/// A tool as it is pinned.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tool {
    /// Which: `server/name`.
    #[schema(value_type = String)]
    tool: ToolId,
    /// Hash of the definition that it is held to.
    #[schema(value_type = String)]
    hash: Digest,
    /// What it does to the world, if that was said.
    #[schema(value_type = Option<String>)]
    effect: Option<Effect>,
    /// Arguments that name what it acts on.
    #[schema(value_type = Vec<String>)]
    targets: Vec<Text>,
    /// What is known of its data flow.
    #[schema(value_type = Vec<String>)]
    labels: Vec<Text>,
    /// Whether nobody said so: it was seen for the first time.
    first_use: bool,
    /// When it was pinned.
    since: String,
    /// The last other definition that it came with.
    changed: Option<Changed>,
    /// The revocation whose suspension holds until lifted.
    suspended_by: Option<String>,
}

/// That a tool came with another definition than it is held to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ToolChange)]
pub(crate) struct Changed {
    /// Hash of the other definition.
    #[schema(value_type = String)]
    seen: Digest,
    /// When it was seen first.
    at: String,
    /// Index of the event that says so.
    index: u64,
}

fn show(state: &state::State, id: &ToolId, tool: &state::Tool) -> Tool {
    let pinned = &tool.pinned;
    let changed = tool.changed.map(|change| Changed {
        seen: change.seen,
        at: moment::text(change.time),
        index: change.index,
    });
    Tool {
        tool: id.clone(),
        hash: pinned.hash,
        effect: pinned.effect,
        targets: pinned.targets.clone(),
        labels: pinned.labels.iter().cloned().collect(),
        first_use: pinned.first_use,
        since: moment::text(tool.since),
        changed,
        suspended_by: suspended_by(state, &Selector::Tool(id.clone())),
    }
}

/// List tools that are held to a definition.
#[utoipa::path(get, path = "/v1/tools", tag = "tools", params(PageQuery),
    responses((status = 200, body = Page<Tool>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<ToolId> = query.span(LIST)?;
    let page = desk.read(move |state| {
        let tools = page::entries(state.tools().all(), &span);
        page::take(LIST, span.limit, tools, |id, tool| Some(show(state, id, tool)))
    });
    Ok(json(StatusCode::OK, &page.await?))
}

/// Get one tool.
#[utoipa::path(get, path = "/v1/tools/{id}", tag = "tools", params(("id" = String, Path)),
    responses((status = 200, body = Tool), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let id = ToolId::new(&name)?;
    let tool = desk.read(move |state| state.tools().get(&id).map(|tool| show(state, &id, tool)));
    let unknown = || NOT_FOUND.with(format!("tool `{name}` is not pinned"));
    Ok(json(StatusCode::OK, &tool.await?.ok_or_else(unknown)?))
}

/// Hold a tool to a definition. Where it is suspended since it came with another one than before,
/// that is lifted; grants from before stay ended.
#[utoipa::path(put, path = "/v1/tools/{id}", tag = "tools", params(("id" = String, Path)),
    request_body = Pin,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn pin(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Pin>,
) -> Result<Response, Problem> {
    let texts =
        |given: &[String]| given.iter().map(|text| Text::new(text)).collect::<Result<Vec<_>, _>>();
    let pin = PinTool {
        tool: ToolId::new(&name)?,
        hash: body.hash.parse()?,
        effect: body.effect,
        targets: texts(&body.targets)?,
        labels: texts(&body.labels)?.into_iter().collect(),
    };
    let outcome = desk.submit(&caller, about, Command::PinTool(pin)).await?;
    Ok(changed(&outcome, name))
}

/// Hold a tool to no definition any more: the next one that is seen counts as the first. A
/// suspension stays until it is lifted.
#[utoipa::path(post, path = "/v1/tools/{id}/unpin", tag = "tools", params(("id" = String, Path)),
    request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn unpin(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::UnpinTool { tool: ToolId::new(&name)?, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}
