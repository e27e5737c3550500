//! Revocations: taken, listed, and what they suspend let go again. Their stream is in `stream`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, Revoke};
use bailiwick_core::feed::{Item, ResumeError};
use bailiwick_core::id::RevocationId;
use bailiwick_core::state;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{selector, text};
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Told};
use crate::command::{Recorded, changed, json};
use crate::desk::Desk;
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, Problem};

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
#[utoipa::path(post, path = "/v1/revocations", tag = "revocations", request_body = NewRevocation,
    responses(
        (status = 201, body = Recorded),
        (status = 202, body = Recorded, description = "in force, not on the ledger yet"),
        (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<NewRevocation>,
) -> Result<Response, Problem> {
    let revoke = Revoke {
        selector: selector(&body.selector)?,
        grants_only: body.grants_only,
        reason_code: text(body.reason_code.as_deref())?,
        reason: text(body.reason.as_deref())?,
    };
    let outcome = desk.submit(&caller, about, Command::Revoke(revoke)).await?;
    // The number that an unrecorded revocation will get is not known yet.
    let id = outcome.durable.then(|| RevocationId(outcome.done.index).to_string());
    let status = if outcome.durable { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let (receipt, durable) = (outcome.receipt, outcome.durable);
    Ok(json(status, &Recorded { id, receipt, durable, in_force: Some(true) }))
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
