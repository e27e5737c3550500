//! Audit questions in SQL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bailiwick_audit::{Limits, Table};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::{Caller, READERS};
use crate::body::Told;
use crate::command::json;
use crate::desk::Desk;
use crate::problem::{Details, Problem};

/// How long the tables may take to reach what was on the ledger when the question came.
const FRESH_MAX: Duration = Duration::from_secs(2);
/// The header that carries `as_of_seq` where the body has no place for it.
const AS_OF_SEQ: HeaderName = HeaderName::from_static("bailiwick-as-of-seq");

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
#[utoipa::path(post, path = "/v1/sql", tag = "sql", request_body = Question,
    responses(
        (status = 200, description = "with `Accept: text/csv`: CSV", content(
            (TableBody = "application/json"), (String = "text/csv"))),
        (status = "default", body = Details)))]
pub(crate) async fn ask(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    headers: HeaderMap,
    Told { body, .. }: Told<Question>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    fresh(&desk).await?;
    let table = desk.audit.run_with(&body.sql, &body.params, &Limits::INTERACTIVE).await?;
    Ok(told(&table, &headers))
}

/// Waits until the tables hold everything that is on the ledger now.
pub(super) async fn fresh(desk: &Desk) -> Result<(), Problem> {
    let head = desk.ledger.committed().borrow().next_index;
    if let Some(last) = head.checked_sub(1) {
        desk.audit.wait_for(last, FRESH_MAX).await?;
    }
    Ok(())
}

/// An answer in the form that the caller accepts.
pub(super) fn told(table: &Table, headers: &HeaderMap) -> Response {
    if !wants_csv(headers) {
        return json(StatusCode::OK, table);
    }
    let media = HeaderValue::from_static("text/csv; charset=utf-8");
    let mut response = ([(CONTENT_TYPE, media)], table.csv()).into_response();
    if let Some(seq) = table.as_of_seq {
        response.headers_mut().insert(AS_OF_SEQ, HeaderValue::from(seq));
    }
    response
}

/// Whether CSV is named before JSON, or alone.
fn wants_csv(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut medias = accepts
        .flat_map(|value| value.split(','))
        .map(|media| media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    medias
        .find(|media| matches!(media.as_str(), "text/csv" | "application/json"))
        .is_some_and(|media| media == "text/csv")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_comes_to_those_who_ask_for_it() {
        let wants = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            wants_csv(&headers)
        };
        assert!(wants("text/csv") && wants("text/html, Text/CSV;q=0.9, application/json"));
        assert!(!wants("*/*") && !wants("application/json, text/csv") && !wants(""));
        assert!(!wants_csv(&HeaderMap::new()));
    }
}
