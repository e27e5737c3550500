//! Events: the record itself, in the order of the chain.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::event::{Json, KINDS, Recorded};
use bailiwick_ledger::Ledger;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named};
use crate::command::json;
use crate::desk::{Desk, blocking};
use crate::page::{self, LOOKED_AT_MAX, Page, PageQuery};
use crate::problem::{Details, INVALID_ID, INVALID_QUERY, NOT_FOUND, Problem};

const LIST: &str = "events";
/// Events read from the log at a time while a filter looks for its kind.
const READ: usize = 1_000;

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Those behind this index; from the first on if not given.
    after: Option<u64>,
    /// Those of one kind, such as `call.denied`.
    kind: Option<String>,
    /// The most items to give: 1 to 1,000, 100 if not given.
    limit: Option<usize>,
    /// The `next_cursor` of the page before, instead of `after`.
    cursor: Option<String>,
}

/// The events of a page, and the index behind the last one that was looked at where there may be
/// more.
struct Read {
    events: Vec<Recorded>,
    next: Option<u64>,
}

/// List events in the order of the chain, all of them or those of one kind.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(EventQuery),
    responses((status = 200, body = Page<Value>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<EventQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    if query.after.is_some() && query.cursor.is_some() {
        return Err(INVALID_QUERY.with("give `after` or `cursor`, not both"));
    }
    if let Some(kind) = &query.kind
        && !KINDS.iter().any(|(_, name)| name == kind)
    {
        return Err(INVALID_QUERY.with(format!("`{kind}` is no kind of event")));
    }
    let span = PageQuery { limit: query.limit, cursor: query.cursor }.span::<u64>(LIST)?;
    let from = query.after.or(span.after).map_or(0, |after| after.saturating_add(1));
    let (ledger, kind) = (desk.ledger.clone(), query.kind);
    let read = blocking(move || read(&ledger, from, span.limit, kind.as_deref())).await??;
    let next_cursor = read.next.map(|next| page::cursor(LIST, &next.saturating_sub(1)));
    let items: Vec<Json<'_>> = read.events.iter().map(Recorded::json).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

/// Reads a page from the log; blocks.
fn read(
    ledger: &Ledger,
    from: u64,
    limit: usize,
    kind: Option<&str>,
) -> Result<Read, bailiwick_ledger::Error> {
    let mut events: Vec<Recorded> = Vec::new();
    let (mut next, mut looked_at) = (from, 0);
    while looked_at < LOOKED_AT_MAX {
        let most = if kind.is_some() { READ } else { limit - events.len() };
        let read = ledger.events(next, most)?;
        if read.is_empty() {
            return Ok(Read { events, next: None });
        }
        for recorded in read {
            looked_at += 1;
            next = recorded.place.index + 1;
            if kind.is_none_or(|kind| kind == recorded.event.fact.name()) {
                events.push(recorded);
            }
            if events.len() == limit {
                return Ok(Read { events, next: Some(next) });
            }
        }
    }
    Ok(Read { events, next: Some(next) })
}

/// Get one event.
#[utoipa::path(get, path = "/v1/events/{index}", tag = "events", params(("index" = u64, Path)),
    responses((status = 200, body = Value), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let index: u64 = name
        .parse()
        .map_err(|_| INVALID_ID.with(format!("`{name}` is not the index of an event")))?;
    let ledger = desk.ledger.clone();
    let events = blocking(move || ledger.events(index, 1)).await??;
    let event = events.first().filter(|recorded| recorded.place.index == index);
    let unknown = || NOT_FOUND.with(format!("there is no event {index} yet"));
    Ok(json(StatusCode::OK, &event.ok_or_else(unknown)?.json()))
}
