//! Calls: how an authorized one ended.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bailiwick_core::command::{Command, Finish};
use bailiwick_core::event::Outcome;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::body::{Named, Told};
use crate::command::{Recorded, changed};
use crate::desk::Desk;
use crate::problem::{Details, INVALID_BODY, Problem};

/// How a call ended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finished {
    /// `ok`, `error`, `cut` or `unknown`.
    #[schema(value_type = String)]
    outcome: Outcome,
    /// From forwarding to the answer, in microseconds.
    #[serde(default)]
    latency_us: u64,
    /// Bytes sent to the tool.
    #[serde(default)]
    bytes_in: u64,
    /// Bytes the tool answered.
    #[serde(default)]
    bytes_out: u64,
    /// Digest of the answer, in hexadecimal.
    #[serde(default)]
    result: Option<String>,
}

/// Report how an authorized call ended.
#[utoipa::path(post, path = "/v1/calls/{id}/finish", tag = "calls", params(("id" = String, Path)),
    request_body = Finished,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn finish(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Finished>,
) -> Result<Response, Problem> {
    // Only the ledger knows that a permission was never delivered.
    if body.outcome == Outcome::NotDelivered {
        return Err(INVALID_BODY.with("`not_delivered` is not an outcome that a caller can see"));
    }
    let finish = Finish {
        call: name.parse()?,
        outcome: body.outcome,
        latency_us: body.latency_us,
        bytes_in: body.bytes_in,
        bytes_out: body.bytes_out,
        result: body.result.as_deref().map(str::parse).transpose()?,
    };
    let outcome = desk.submit(&caller, about, Command::Finish(finish)).await?;
    Ok(changed(&outcome, name))
}
