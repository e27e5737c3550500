//! The archive of older rows.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Answer, Command, Submission};
use bailiwick_core::event::{Actor, Role, SegmentSealed};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Caller, READERS};
use crate::command::json;
use crate::desk::{Desk, blocking};
use crate::problem::{ARCHIVE_NONE, Details, Problem};

/// Who may have rows sealed at once.
const SEALERS: &[Role] = &[Role::Admin, Role::Operator];

/// How the archive stands.
#[derive(Debug, ToSchema)]
#[schema(as = Archive)]
#[expect(dead_code, reason = "describes `bailiwick_audit::Status` in the OpenAPI document")]
pub(crate) struct ArchiveBody {
    /// Where it is.
    place: String,
    /// The newest version of its manifest.
    version: u64,
    /// Segments that are kept.
    segments: usize,
    /// Segments that are not kept any more.
    dropped: usize,
    /// Index of the first event that is kept.
    first: Option<u64>,
    /// Index of the last event that is sealed.
    last: Option<u64>,
    /// Bytes of all files that are kept.
    bytes: u64,
    /// Events that are in memory only.
    recent: u64,
}

/// A segment that was sealed.
#[derive(Debug, ToSchema)]
#[schema(as = Segment)]
#[expect(dead_code, reason = "describes `SegmentSealed` in the OpenAPI document")]
pub(crate) struct SegmentBody {
    /// Index of the first event.
    first: u64,
    /// Index of the last event.
    last: u64,
    /// Rows of the file with the events.
    rows: u64,
    /// Bytes of that file.
    bytes: u64,
    /// SHA-256 of that file.
    file: String,
    /// Link of the event before the first.
    before: Option<String>,
    /// Link of the last event.
    after: String,
    /// Root of the Merkle tree over the events' links.
    root: String,
    /// SHA-256 of the segment's row in the manifest.
    manifest: String,
}

/// What sealing came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sealed {
    /// The segment; none when everything was sealed already.
    #[schema(value_type = Option<SegmentBody>)]
    segment: Option<SegmentSealed>,
}

/// See how the archive stands.
#[utoipa::path(get, path = "/v1/archive", tag = "archive",
    responses((status = 200, body = ArchiveBody), (status = "default", body = Details)))]
pub(crate) async fn status(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    match desk.audit.archive()? {
        Some(status) => Ok(json(StatusCode::OK, &status)),
        None => Err(ARCHIVE_NONE.with("rows are kept in memory only")),
    }
}

/// Seal what is in memory now, without waiting until it is time to.
#[utoipa::path(post, path = "/v1/archive/seal", tag = "archive",
    responses((status = 200, body = Sealed), (status = "default", body = Details)))]
pub(crate) async fn seal(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.needs(SEALERS)?;
    if desk.audit.archive()?.is_none() {
        return Err(ARCHIVE_NONE.with("rows are kept in memory only"));
    }
    super::sql::fresh(&desk).await?;
    let (audit, runtime) = (Arc::clone(&desk.audit), tokio::runtime::Handle::current());
    // Rows are written as they are compressed, which takes a while and no turn of other requests.
    let segment = blocking(move || runtime.block_on(audit.seal(true))).await??;
    if let Some(sealed) = &segment {
        let command = Command::RecordSegment(sealed.clone());
        let submission = Submission { actor: Actor::System, request: None, trace: None, command };
        if let Answer::Refused(refusal) = desk.ledger.submit(submission).await.answer {
            tracing::warn!(%refusal.message, "a sealed segment is not on the ledger");
        }
    }
    Ok(json(StatusCode::OK, &Sealed { segment }))
}
