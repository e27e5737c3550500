//! Properties of owners, agents and resources, which policies read.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::Command;
use bailiwick_core::event::Entity;
use bailiwick_core::properties::Properties;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::{Caller, READERS};
use crate::body::{Asked, Told, TwoNamed};
use crate::command::{Recorded, changed, json};
use crate::desk::Desk;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, INVALID_BODY, NOT_FOUND, Problem};

const LIST: &str = "entities";

/// What is known of an entity.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// All of it: names with a text, number, truth, or a list of these.
    #[schema(value_type = Object)]
    properties: Value,
}

/// An entity with what is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Shown {
    /// `{"owner": …}`, `{"agent": …}` or `{"resource": …}`.
    #[schema(value_type = Object)]
    entity: Entity,
    /// Names with their values.
    #[schema(value_type = Object)]
    properties: Properties,
}

/// The entity that a path names.
fn entity(kind: &str, id: &str) -> Result<Entity, Problem> {
    Ok(match kind {
        "owner" => Entity::Owner(id.parse()?),
        "agent" => Entity::Agent(id.parse()?),
        "resource" => Entity::Resource(id.parse()?),
        _ => return Err(NOT_FOUND.with("an entity is an `owner`, an `agent` or a `resource`")),
    })
}

/// Write what is known of an owner, an agent or a resource: all of it.
#[utoipa::path(put, path = "/v1/entities/{kind}/{id}", tag = "entities",
    params(("kind" = String, Path), ("id" = String, Path)), request_body = Known,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn put(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    TwoNamed(kind, id): TwoNamed,
    Told { body, about }: Told<Known>,
) -> Result<Response, Problem> {
    let entity = entity(&kind, &id)?;
    let properties = Properties::of_json(&body.properties);
    let properties = properties.map_err(|error| INVALID_BODY.with(error.to_string()))?;
    let outcome = desk.submit(&caller, about, Command::PutEntity { entity, properties }).await?;
    Ok(changed(&outcome, id))
}

/// Forget what is known of one.
#[utoipa::path(delete, path = "/v1/entities/{kind}/{id}", tag = "entities",
    params(("kind" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn remove(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    TwoNamed(kind, id): TwoNamed,
) -> Result<Response, Problem> {
    let entity = entity(&kind, &id)?;
    let command = Command::RemoveEntity { entity };
    let outcome = desk.submit(&caller, Default::default(), command).await?;
    Ok(changed(&outcome, id))
}

/// List entities of which something is known.
#[utoipa::path(get, path = "/v1/entities", tag = "entities", params(PageQuery),
    responses((status = 200, body = Page<Shown>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<Key> = query.span(LIST)?;
    let page = desk.read(move |state| {
        let span = Span { after: span.after.map(|key| key.0), limit: span.limit };
        let all = page::entries(state.entities(), &span);
        page::take(LIST, span.limit, all.map(|(entity, known)| (Key(entity.clone()), known)), {
            |key: &Key, known| Some(Shown { entity: key.0.clone(), properties: known.clone() })
        })
    });
    Ok(json(StatusCode::OK, &page.await?))
}

/// An entity as it stands in a cursor: `resource crm://case/1`.
#[derive(Debug, Clone)]
struct Key(Entity);

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Key {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let (kind, id) = text.split_once(' ').unwrap_or((text, ""));
        entity(kind, id).map(Self)
    }
}
