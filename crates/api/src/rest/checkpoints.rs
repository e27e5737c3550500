//! Checkpoints: what the ledger's tree was, signed, in a form that other tools verify.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bailiwick_core::event::Role;
use bailiwick_core::record::Root;
use bailiwick_core::record::note::verifier_key;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::command::json;
use crate::desk::Desk;
use crate::problem::{CHECKPOINT_NONE, Details, INTERNAL, Problem};

/// Who may have a checkpoint signed at once.
const SIGNERS: &[Role] = &[Role::Admin, Role::Operator];

/// A checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checkpoint {
    /// Index of the event that records it.
    index: u64,
    /// How many events the tree has.
    size: u64,
    /// The tree's root (RFC 6962), in hexadecimal.
    #[schema(value_type = String)]
    root: Root,
    /// The signed note (C2SP tlog-checkpoint).
    note: String,
    /// The key that signed it, as verifiers of notes are given it.
    verifier_key: String,
}

/// Sign the tree of all events so far, without waiting until it is time to.
///
/// Where nothing was recorded since but checkpoints and sealed segments, the last one is the answer.
#[utoipa::path(post, path = "/v1/checkpoints", tag = "checkpoints",
    responses((status = 200, body = Checkpoint), (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.needs(SIGNERS)?;
    let (index, signed) = desk.ledger.checkpoint().await?;
    let note = signed.note.to_string();
    let origin = desk.ledger.info().origin;
    let key = desk.ledger.key_ring().signer(&note, &origin, u64::MAX);
    let key = key.ok_or_else(|| INTERNAL.with("no key of the ledger verifies it"))?;
    let verifier_key = verifier_key(&origin, &key).map_err(|e| INTERNAL.with(e.to_string()))?;
    let told = Checkpoint { index, size: signed.size, root: signed.root, note, verifier_key };
    Ok(json(StatusCode::OK, &told))
}

/// The last checkpoint: a signed note, for everybody.
#[utoipa::path(get, path = "/ledger/checkpoint", tag = "checkpoints", security(()),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = "default", body = Details)))]
pub(crate) async fn last(State(desk): State<Arc<Desk>>) -> Result<Response, Problem> {
    let note = desk.ledger.read(|state| state.checkpoint().map(|(_, last)| last.note.to_string()));
    let note = note.ok_or_else(|| CHECKPOINT_NONE.with("have one signed, or wait a while"))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("max-age=5")),
    ];
    Ok((headers, note).into_response())
}
