//! Enforcement points: they ping to hold their lease, say when they are gone, and are listed.
//! Nothing of it is recorded.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bailiwick_core::enforce::LEASE;
use bailiwick_core::event::Role;
use bailiwick_core::id::PointId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::json;
use crate::desk::Desk;
use crate::enforce::{self, Standing};
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, FEED_FUTURE, INVALID_BODY, Problem, UNAVAILABLE};

const LIST: &str = "enforcement points";
/// Roles of those who act on decisions.
const ENFORCERS: &[Role] = &[Role::Admin, Role::Enforcer, Role::Agent];
/// Hexadecimal digits of a nonce: 128 bits.
const NONCE_DIGITS: usize = 32;

/// A ping.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ping {
    /// 32 lowercase hexadecimal digits, drawn at random and never used twice.
    nonce: String,
    /// Every feed item up to this number is enforced; absent while the point does not know where
    /// the feed stands.
    #[serde(default)]
    applied: Option<u64>,
}

/// The answer to a ping: the point may act for `lease_ms` from when it *sent* the ping, once it
/// enforces every feed item up to `number`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pong<'a> {
    /// The ping's own.
    nonce: &'a str,
    /// Where the feed stands.
    number: u64,
    /// How long a lease is, in milliseconds.
    lease_ms: u64,
    /// The ledger's name.
    ledger: &'a str,
}

/// An enforcement point as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Point {
    /// Its name: one process's life.
    point: String,
    /// Every feed item up to this number is enforced there.
    applied: Option<u64>,
    /// How long ago its last ping was answered, in milliseconds.
    answered_ms_ago: u64,
    /// Whether it can still hold a lease.
    live: bool,
}

/// Ping, as an enforcement point does every 250 ms to hold its lease. Not recorded.
///
/// A point belongs to the credential that pinged it first, until it is gone.
#[utoipa::path(post, path = "/v1/enforcement-points/{id}/ping", tag = "enforcement points",
    params(("id" = String, Path)), request_body = Ping,
    responses(
        (status = 200, body = Pong),
        (status = 400, body = Details, description = "`feed_future`: no such item was given yet"),
        (status = 409, body = Details, description = "`point_taken`: another credential's point"),
        (status = 503, body = Details, description = "`unavailable`: the ledger has not been \
            reached for a lease, so nobody may act; `points_exhausted`: there are too many points"),
        (status = "default", body = Details)))]
pub(crate) async fn ping(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body: Ping { nonce, applied }, about: _ }: Told<Ping>,
) -> Result<Response, Problem> {
    caller.needs(ENFORCERS)?;
    let point = PointId::new(&name)?;
    if nonce.len() != NONCE_DIGITS || !nonce.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Err(INVALID_BODY.with("`nonce` is not 32 lowercase hexadecimal digits"));
    }
    let number = stands_at(&desk, applied).await?;
    let is_agent = caller.role == Role::Agent;
    let by = caller.actor();
    let ping = enforce::Ping { point: &point, by: &by, is_agent, applied, number };
    let number = desk.points.answer(&ping)?;
    let ledger = desk.feed.ledger();
    let pong = Pong { nonce: &nonce, number, lease_ms: LEASE.0, ledger };
    let mut response = json(StatusCode::OK, &pong);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Where the feed stands, for a point that has applied so much.
async fn stands_at(desk: &Desk, applied: Option<u64>) -> Result<u64, Problem> {
    // Where nobody reads the feed any more, its number says nothing.
    let ended = || UNAVAILABLE.with("the revocation feed has ended");
    let number = desk.feed.stands_at().ok_or_else(ended)?;
    let Some(applied) = applied.filter(|applied| *applied > number) else { return Ok(number) };
    // It may have heard of an item sooner than the streams of this server.
    let last = desk.read(|state| state.feed().last()).await?;
    if applied > last {
        // It enforces another ledger's items: what it says of this one's is worth nothing.
        let detail = format!("`applied` is {applied}, the last number that was given is {last}");
        return Err(FEED_FUTURE.with(detail));
    }
    Ok(last)
}

/// Say that a point has stopped everything and is gone: nobody waits for it any more.
#[utoipa::path(delete, path = "/v1/enforcement-points/{id}", tag = "enforcement points",
    params(("id" = String, Path)),
    responses(
        (status = 204),
        (status = 409, body = Details, description = "`point_taken`: another credential's point"),
        (status = "default", body = Details)))]
pub(crate) async fn leave(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    caller.needs(ENFORCERS)?;
    desk.points.leave(&PointId::new(&name)?, &caller.actor())?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// List the enforcement points that this server has answered lately, by name.
#[utoipa::path(get, path = "/v1/enforcement-points", tag = "enforcement points", params(PageQuery),
    responses((status = 200, body = Page<Point>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<PointId> = query.span(LIST)?;
    let points = desk.points.after(span.after.as_ref(), span.limit);
    let points = points.into_iter().map(|standing| (standing.point.clone(), standing));
    let page = page::take(LIST, span.limit, points, |_, standing| Some(show(&standing)));
    Ok(json(StatusCode::OK, &page))
}

fn show(standing: &Standing) -> Point {
    Point {
        point: standing.point.to_string(),
        applied: standing.applied,
        answered_ms_ago: u64::try_from(standing.answered_ago.as_millis()).unwrap_or(u64::MAX),
        live: standing.is_live,
    }
}
