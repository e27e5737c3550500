//! Revocations: taken, listed, and what they suspend let go again. What one would end is counted in
//! `preview`. Their stream is in `stream`, and who enforces them in `enforce`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, Revoke};
use bailiwick_core::feed::{Item, ResumeError};
use bailiwick_core::id::RevocationId;
use bailiwick_core::state;
use bailiwick_core::time::Span as Length;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{selector, text};
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Told};
use crate::command::{Outcome, Recorded, changed, json};
use crate::desk::Desk;
use crate::enforce::{Awaited, Narrowed};
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, INVALID_QUERY, OUT_OF_RANGE, Problem};

pub(crate) mod preview;

/// How long to wait until a revocation is enforced when the caller names no time.
const WAIT: Length = Length::seconds(5);
/// The longest wait: with the time that a body and the ledger may take, it stays below what a
/// connection waits for an answer.
const WAIT_MAX: Length = Length::seconds(60);

const LIST: &str = "revocations";
/// Kind of the feed items that are revocations.
const KIND: &str = "revocation.issued";

/// What to take back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRevocation {
    /// `"all"`, or one of `{"grant": …}`, `{"agent": …}`, `{"owner": …}`, `{"task": …}`,
    /// `{"tool": …}`, `{"resource": …}`.
    selector: Value,
    /// End the grants but leave what is named free to be granted anew.
    #[serde(default)]
    grants_only: bool,
    /// A word for programs; `operator` if not given.
    #[serde(default)]
    reason_code: Option<String>,
    /// Words for people.
    #[serde(default)]
    reason: Option<String>,
}

/// Whether to wait until nobody acts any more on what is taken back.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// `enforced` waits until every enforcement point has acknowledged the revocation or its lease
    /// has run out, and answers with `enforced` besides.
    #[param(inline)]
    wait: Option<WaitFor>,
    /// How long to wait at most, such as `500ms`: `5s` if not given, at most `60s`. Only with `wait`.
    timeout: Option<String>,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaitFor {
    /// Nobody acts any more on what was taken back.
    Enforced,
}

impl WaitQuery {
    /// How long to wait until it is enforced, if at all.
    fn timeout(&self) -> Result<Option<Duration>, Problem> {
        let given: Option<Length> = self.timeout.as_deref().map(str::parse).transpose()?;
        if self.wait.is_none() {
            let refused = || INVALID_QUERY.with("`timeout` is only for `wait=enforced`");
            return given.is_none().then_some(None).ok_or_else(refused);
        }
        let timeout = given.unwrap_or(WAIT);
        if timeout > WAIT_MAX {
            let detail = format!("`timeout` is {timeout}, at most {WAIT_MAX} is allowed");
            return Err(OUT_OF_RANGE.with(detail));
        }
        Ok(Some(Duration::from_millis(timeout.0)))
    }
}

/// The answer to a revocation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Revoked {
    #[serde(flatten)]
    recorded: Recorded,
    /// With `wait=enforced`: who enforces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    enforced: Option<Awaited>,
}

/// What to let go of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lift {
    /// As it was taken back.
    selector: Value,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// A revocation that was issued.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Revocation {
    /// Its id.
    #[schema(value_type = String)]
    revocation: RevocationId,
    /// Its number on the feed.
    number: u64,
    /// What was taken back.
    selector: Value,
    /// Whether it suspended what it names.
    suspend: bool,
    /// Whether that suspension still holds.
    suspended: bool,
    /// A word for programs.
    reason_code: Option<String>,
    /// Words for people.
    reason: Option<String>,
    /// Who did it.
    by: Value,
    /// Index of the event that led to it.
    cause: Option<u64>,
    /// When.
    issued_at: String,
}

/// Take back, everywhere at once. Never refused for load; in force when this answers.
///
/// With `wait=enforced` it answers when no enforcement point acts any more on what was taken back,
/// or when the time is over: `enforced` says which, and who they are. The revocation stands either
/// way.
#[utoipa::path(post, path = "/v1/revocations", tag = "revocations", params(WaitQuery),
    request_body = NewRevocation,
    responses(
        (status = 201, body = Revoked),
        (status = 202, body = Revoked, description = "in force, not on the ledger yet"),
        (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<WaitQuery>,
    Told { body, about }: Told<NewRevocation>,
) -> Result<Response, Problem> {
    let asked = Instant::now();
    let timeout = query.timeout()?;
    let revoke = Revoke {
        selector: selector(&body.selector)?,
        grants_only: body.grants_only,
        reason_code: text(body.reason_code.as_deref())?,
        reason: text(body.reason.as_deref())?,
    };
    let trace = about.trace;
    let outcome = desk.submit(&caller, about, Command::Revoke(revoke)).await?;
    // The number that an unrecorded revocation will get is not known yet.
    let id = outcome.durable.then(|| RevocationId(outcome.done.index).to_string());
    let status = if outcome.durable { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let (receipt, durable) = (outcome.receipt, outcome.durable);
    let recorded = Recorded { id, receipt, durable, in_force: Some(true) };
    let enforced = match timeout {
        Some(timeout) => {
            let narrowed = narrowed(&desk, &outcome).await;
            Some(desk.wait_enforced(narrowed, asked, timeout, trace).await)
        }
        None => None,
    };
    Ok(json(status, &Revoked { recorded, enforced }))
}

/// What enforcement points have to enforce. That it cannot be told is no error: the revocation is
/// in force, and what is not known is waited for longer.
async fn narrowed(desk: &Desk, outcome: &Outcome) -> Narrowed {
    if !outcome.durable {
        return Narrowed::UNRECORDED;
    }
    let index = outcome.done.index;
    let read = desk.read(move |state| Narrowed::of(state.feed(), state.next_index(), index));
    read.await.unwrap_or(Narrowed::UNRECORDED)
}

/// Lift the suspension that a revocation left. Grants from before stay ended.
#[utoipa::path(post, path = "/v1/revocations/lift", tag = "revocations", request_body = Lift,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn lift(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<Lift>,
) -> Result<Response, Problem> {
    let selector = selector(&body.selector)?;
    let id = selector.to_string();
    let command = Command::Lift { selector, reason: text(body.reason.as_deref())? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, id))
}

/// List revocations, oldest first, as far back as the feed keeps them; all of them are in SQL.
#[utoipa::path(get, path = "/v1/revocations", tag = "revocations", params(PageQuery),
    responses((status = 200, body = Page<Revocation>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<u64> = query.span(LIST)?;
    let page = desk.read(move |state| {
        let kept = items(state, span.after.unwrap_or(0));
        page::take(LIST, span.limit, kept.map(|item| (item.number, item)), |_, item| {
            (item.kind == KIND).then(|| show(state, item))
        })
    });
    Ok(json(StatusCode::OK, &page.await?))
}

/// Kept items after a number, from the oldest that is kept where that is later.
fn items(state: &state::State, after: u64) -> Box<dyn Iterator<Item = &Item> + '_> {
    let feed = state.feed();
    match feed.after(after) {
        Ok(items) => Box::new(items),
        Err(ResumeError::TooOld { oldest, .. }) => match feed.after(oldest.saturating_sub(1)) {
            Ok(items) => Box::new(items),
            Err(_) => Box::new(std::iter::empty()),
        },
        Err(ResumeError::Future { .. }) => Box::new(std::iter::empty()),
    }
}

fn show(state: &state::State, item: &Item) -> Revocation {
    // Neither has anything that JSON cannot hold.
    let value = |value: serde_json::Result<Value>| value.unwrap_or_default();
    Revocation {
        revocation: RevocationId(item.index),
        number: item.number,
        selector: value(serde_json::to_value(&item.selector)),
        suspend: item.suspend,
        suspended: state.marks().is_suspended(&item.selector) == Some(item.index),
        reason_code: item.reason_code.as_ref().map(ToString::to_string),
        reason: item.reason.as_ref().map(ToString::to_string),
        by: value(serde_json::to_value(&item.by)),
        cause: item.cause,
        issued_at: moment::text(item.time),
    }
}
