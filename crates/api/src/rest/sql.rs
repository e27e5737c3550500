//! Audit questions in SQL.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bailiwick_audit::{Form, Pieces, Question as Put};
use bailiwick_core::event::TraceId;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::asked::Asking;
use crate::auth::{Caller, READERS};
use crate::body::Told;
use crate::desk::Desk;
use crate::problem::{Details, Problem};

mod accept;

/// How long the tables may take to reach what was on the ledger when the question came.
const FRESH_MAX: Duration = Duration::from_secs(2);
/// The header that carries `as_of_seq`.
const AS_OF_SEQ: HeaderName = HeaderName::from_static("bailiwick-as-of-seq");
/// An answer that is whole is handed over in pieces of so many bytes, so that what is recorded of
/// one that nobody took to its end is near the truth.
const PIECE_BYTES: usize = 64 * 1_024;

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// One `SELECT`, `EXPLAIN`, `SHOW` or `DESCRIBE`.
    sql: String,
    /// Values for placeholders: `$agent` by its name, `$1` by its number.
    #[serde(default)]
    params: BTreeMap<String, Value>,
}

/// An answer.
#[derive(Debug, ToSchema)]
#[schema(as = Table)]
#[expect(dead_code, reason = "describes `bailiwick_audit::Table` in the OpenAPI document")]
pub(crate) struct TableBody {
    /// Name and SQL type of each column.
    columns: Vec<ColumnBody>,
    /// The rows; each has a value for every column.
    rows: Vec<Vec<Value>>,
    /// Index of the last event that the answer takes into account.
    as_of_seq: Option<u64>,
}

/// A column of an answer.
#[derive(Debug, ToSchema)]
#[schema(as = Column)]
#[expect(dead_code, reason = "describes `bailiwick_audit::Column` in the OpenAPI document")]
pub(crate) struct ColumnBody {
    /// Its name.
    name: String,
    /// Its SQL type.
    r#type: String,
}

/// Ask the record, as of everything that is on the ledger when the question comes.
///
/// The answer comes in the form that `Accept` asks for. One that breaks off, since a limit is
/// reached or something fails, ends the connection before its end.
#[utoipa::path(post, path = "/v1/sql", tag = "sql", request_body = Question,
    responses(
        (status = 200, description = "with `Accept: text/csv` CSV, with `Accept: \
            application/vnd.apache.arrow.stream` an Arrow IPC stream", content(
            (TableBody = "application/json"), (String = "text/csv"),
            (String = "application/vnd.apache.arrow.stream"))),
        (status = 406, body = Details, description = "no form that is accepted is offered"),
        (status = "default", body = Details)))]
pub(crate) async fn ask(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    headers: HeaderMap,
    Told { body, about }: Told<Question>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    answer(&desk, &caller, &headers, about.trace, &Put::Sql(&body.sql, &body.params)).await
}

/// Answers a question in the form that the caller accepts, and records that it was asked.
pub(super) async fn answer(
    desk: &Desk,
    caller: &Caller,
    headers: &HeaderMap,
    trace: Option<TraceId>,
    question: &Put<'_>,
) -> Result<Response, Problem> {
    let mut asking = Asking::begin(desk, caller, trace, question);
    let form = accept::form(headers).map_err(|problem| asking.problem(problem))?;
    fresh(desk).await.map_err(|problem| asking.problem(problem))?;
    let answer = desk.audit.answer(question, form, &desk.audit.limits()).await;
    let answer = answer.map_err(|error| asking.problem(error))?;
    asking.as_of(answer.as_of_seq());
    Ok(told(answer, form, asking).await)
}

/// Waits until the tables hold everything that is on the ledger now.
pub(super) async fn fresh(desk: &Desk) -> Result<(), Problem> {
    let head = desk.ledger.committed().borrow().next_index;
    if let Some(last) = head.checked_sub(1) {
        desk.audit.wait_for(last, FRESH_MAX).await?;
    }
    Ok(())
}

async fn told(mut answer: Pieces, form: Form, asking: Asking) -> Response {
    let seq = answer.as_of_seq();
    let (media, body, bytes) = match form {
        Form::Arrow => (accept::ARROW, streamed(answer, asking), None),
        Form::Json | Form::Csv => {
            let media =
                if form == Form::Csv { "text/csv; charset=utf-8" } else { "application/json" };
            // Its first piece is the whole of it, and has come already.
            let whole = answer.next().await.ok().flatten();
            let (rows, bytes) = whole.map_or((0, Vec::new()), |piece| (piece.rows, piece.bytes));
            let length = bytes.len();
            (media, in_pieces(bytes.into(), rows, asking), Some(length))
        }
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    if let Some(bytes) = bytes {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    if let Some(seq) = seq {
        headers.insert(AS_OF_SEQ, HeaderValue::from(seq));
    }
    response
}

/// An answer that is there, handed over piece by piece.
fn in_pieces(whole: Bytes, rows: u64, mut asking: Asking) -> Body {
    asking.rows(rows);
    let pieces = futures::stream::unfold((whole, asking), |(mut left, mut asking)| async move {
        if left.is_empty() {
            return None;
        }
        let piece = left.split_to(PIECE_BYTES.min(left.len()));
        asking.bytes(piece.len());
        if left.is_empty() {
            asking.answered();
        }
        Some((Ok::<_, Infallible>(piece), (left, asking)))
    });
    Body::from_stream(pieces)
}

/// An answer that is coming. When it breaks off, the connection does: its end is missing.
fn streamed(answer: Pieces, asking: Asking) -> Body {
    let pieces = futures::stream::unfold(Some((answer, asking)), |left| async move {
        let (mut answer, mut asking) = left?;
        match answer.next().await {
            Ok(Some(piece)) => {
                asking.rows(piece.rows);
                asking.bytes(piece.bytes.len());
                Some((Ok(Bytes::from(piece.bytes)), Some((answer, asking))))
            }
            Ok(None) => {
                asking.answered();
                None
            }
            Err(error) => {
                asking.refused(error.code());
                Some((Err(io::Error::other(error)), None))
            }
        }
    });
    Body::from_stream(pieces)
}
