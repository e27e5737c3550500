//! What can be wrong with a request: RFC 9457 problem details, each with a stable code.
//!
//! `{"type": "urn:bailiwick:error:<code>", "title", "status", "code", "detail"}`. The code and the
//! status are a promise; title and detail are words for people and may change.
//!
//! | code | status | when |
//! |---|---|---|
//! | `invalid_json` | 400 | not JSON, not UTF-8, a member twice, too deep, a number beyond 2^53 |
//! | `invalid_content_type` | 400 | a body that does not say `application/json` |
//! | `invalid_body` | 400 | JSON of another shape: a member missing, unknown or of another type |
//! | `invalid_query` | 400 | a parameter unknown or not of its form |
//! | `invalid_cursor` | 400 | a cursor that this list did not give |
//! | `invalid_id` | 400 | a name, number or text that is not of its kind's form |
//! | `invalid_span` | 400 | a length of time that is none |
//! | `invalid_time` | 400 | a moment that is none |
//! | `invalid_hash` | 400 | a hash that is none |
//! | `out_of_range` | 400 | a value beyond its limits |
//! | `policy_invalid` | 400 | a policy that does not validate; the detail has positions |
//! | `feed_future` | 400 | a feed number that has not been given yet |
//! | `sql_…` | 400 | a question refused, see `bailiwick_audit::Code` |
//! | `credential_invalid` | 401 | no key or token, or one that is unknown, revoked, expired or not valid |
//! | `not_permitted` | 403 | the key's or token's role does not allow it |
//! | `not_found` | 404 | what is named is not known |
//! | `no_route` | 404 | no such path |
//! | `method_not_allowed` | 405 | the path has no such method |
//! | `not_acceptable` | 406 | no form of an answer that is accepted is offered |
//! | `request_timeout` | 408 | the body did not come in time |
//! | `already_exists` | 409 | it is there already |
//! | `wrong_state` | 409 | it is not in the state that the command needs |
//! | `id_reused` | 409 | the idempotency key came with another request before |
//! | `limit_reached` | 409 | a limit of the ledger is reached |
//! | `point_taken` | 409 | the enforcement point belongs to another credential |
//! | `feed_truncated` | 410 | a stream from a number whose successors are no longer kept |
//! | `payload_too_large` | 413 | a body of more than 1 MiB |
//! | `internal` | 500 | a fault of ours |
//! | `unavailable` | 503 | it cannot be recorded, or a ping not be answered, now; nothing was done |
//! | `overloaded` | 503 | too many commands wait; nothing was done |
//! | `clock_unsure` | 503 | the ledger's clock cannot be trusted until an operator confirms it |
//! | `streams_exhausted` | 503 | too many streams are open |
//! | `points_exhausted` | 503 | too many enforcement points are connected |
//! | `audit_behind`, `audit_broken` | 503 | the tables are not at the ledger's head |
//! | `archive_unavailable`, `archive_altered`, `archive_missing`, `archive_differs`, `archive_overtaken`, `archive_format` | 503 | the archive is not what it should be |
//! | `archive_none` | 404 | rows are kept in memory only |
//! | `checkpoint_none` | 404 | no checkpoint was signed yet |

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bailiwick_core::command::{Refusal, RefusalCode};
use bailiwick_core::id::IdError;
use bailiwick_core::json::JsonError;
use bailiwick_core::record::hash::HexError;
use bailiwick_core::time::SpanError;
use serde::Serialize;

/// Seconds after which a caller may try again what could not be done now.
const RETRY_SECONDS: u64 = 1;

/// A kind of problem: its code, status and title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) code: &'static str,
    status: StatusCode,
    title: &'static str,
}

macro_rules! kinds {
    ($($name:ident $code:literal $status:ident $title:literal;)+) => {
        $(pub(crate) const $name: Kind =
            Kind { code: $code, status: StatusCode::$status, title: $title };)+

        #[cfg(test)]
        const KINDS: &[Kind] = &[$($name),+];
    };
}

kinds! {
    INVALID_JSON "invalid_json" BAD_REQUEST "the body is not acceptable JSON";
    INVALID_CONTENT_TYPE "invalid_content_type" BAD_REQUEST "the body is not marked as JSON";
    INVALID_BODY "invalid_body" BAD_REQUEST "the body does not have the expected shape";
    INVALID_QUERY "invalid_query" BAD_REQUEST "the query does not have the expected shape";
    INVALID_CURSOR "invalid_cursor" BAD_REQUEST "the cursor is not one of this list";
    INVALID_ID "invalid_id" BAD_REQUEST "an id or text is not of its kind's form";
    INVALID_SPAN "invalid_span" BAD_REQUEST "a length of time is not of its form";
    INVALID_TIME "invalid_time" BAD_REQUEST "a moment is not of its form";
    INVALID_HASH "invalid_hash" BAD_REQUEST "a hash is not of its form";
    OUT_OF_RANGE "out_of_range" BAD_REQUEST "a value is beyond its limits";
    POLICY_INVALID "policy_invalid" BAD_REQUEST "the policy does not validate";
    FEED_FUTURE "feed_future" BAD_REQUEST "the feed has not come that far";
    SQL_REFUSED "sql_refused" BAD_REQUEST "the question is not answered";
    CREDENTIAL_INVALID "credential_invalid" UNAUTHORIZED "a valid key or token is needed";
    NOT_PERMITTED "not_permitted" FORBIDDEN "the role does not allow this";
    NOT_FOUND "not_found" NOT_FOUND "it is not known";
    NO_ROUTE "no_route" NOT_FOUND "there is no such path";
    METHOD_NOT_ALLOWED "method_not_allowed" METHOD_NOT_ALLOWED "the path has no such method";
    NOT_ACCEPTABLE "not_acceptable" NOT_ACCEPTABLE "no accepted form is offered";
    REQUEST_TIMEOUT "request_timeout" REQUEST_TIMEOUT "the body did not come in time";
    ALREADY_EXISTS "already_exists" CONFLICT "it exists already";
    WRONG_STATE "wrong_state" CONFLICT "its state does not allow this";
    ID_REUSED "id_reused" CONFLICT "the idempotency key came with another request";
    LIMIT_REACHED "limit_reached" CONFLICT "a limit of the ledger is reached";
    POINT_TAKEN "point_taken" CONFLICT "the enforcement point belongs to another credential";
    FEED_TRUNCATED "feed_truncated" GONE "the feed no longer keeps what was asked for";
    PAYLOAD_TOO_LARGE "payload_too_large" PAYLOAD_TOO_LARGE "the body is too large";
    INTERNAL "internal" INTERNAL_SERVER_ERROR "a fault of the server";
    UNAVAILABLE "unavailable" SERVICE_UNAVAILABLE "the ledger cannot be relied on now";
    OVERLOADED "overloaded" SERVICE_UNAVAILABLE "too many commands wait";
    CLOCK_UNSURE "clock_unsure" SERVICE_UNAVAILABLE "the clock cannot be trusted";
    STREAMS_EXHAUSTED "streams_exhausted" SERVICE_UNAVAILABLE "too many streams are open";
    POINTS_EXHAUSTED "points_exhausted" SERVICE_UNAVAILABLE "too many enforcement points";
    ARCHIVE_UNUSABLE "archive_unavailable" SERVICE_UNAVAILABLE "the archive cannot be relied on";
    ARCHIVE_NONE "archive_none" NOT_FOUND "there is no archive";
    CHECKPOINT_NONE "checkpoint_none" NOT_FOUND "no checkpoint is signed yet";
    AUDIT_UNAVAILABLE "audit_behind" SERVICE_UNAVAILABLE "the audit tables are not ready";
}

impl Kind {
    /// The problem with its detail.
    pub(crate) fn with(self, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { kind: self, detail: detail.into(), is_tokenless: false }
    }
}

/// Something wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) detail: Cow<'static, str>,
    /// Whether nothing was sent that could have been wrong.
    is_tokenless: bool,
}

/// Adds to a challenge where it says how to get a token for this server (RFC 9728, section 5.1).
pub(crate) fn point_to(response: &mut Response, metadata: &str) {
    let challenge = response.headers().get(WWW_AUTHENTICATE).and_then(|text| text.to_str().ok());
    let whole = challenge.map(|text| format!("{text}, resource_metadata=\"{metadata}\""));
    if let Some(whole) = whole.and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(WWW_AUTHENTICATE, whole);
    }
}

/// What may stand in a challenge's words; anything else is passed over.
const fn quotable(c: char) -> char {
    if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '?' }
}

/// Problem details on the wire (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Details<'a> {
    /// `urn:bailiwick:error:` and the code.
    r#type: String,
    /// The kind of problem, for people.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// The kind of problem, for programs: stable.
    code: &'a str,
    /// This very problem, for people.
    detail: &'a str,
}

impl Problem {
    /// The problem of a request that came without a key or token.
    pub(crate) fn without_token(self) -> Self {
        Self { is_tokenless: true, ..self }
    }

    /// How to come in (RFC 6750, section 3), where that is what is wrong.
    fn challenge(&self) -> Option<HeaderValue> {
        let error = match self.kind.status {
            StatusCode::UNAUTHORIZED if self.is_tokenless => None,
            StatusCode::UNAUTHORIZED => Some("invalid_token"),
            StatusCode::FORBIDDEN => Some("insufficient_scope"),
            _ => return None,
        };
        let mut challenge = "Bearer realm=\"bailiwick\"".to_owned();
        if let Some(error) = error {
            let words: String = self.detail.chars().map(quotable).collect();
            challenge.push_str(&format!(", error=\"{error}\", error_description=\"{words}\""));
        }
        HeaderValue::try_from(challenge).ok()
    }

    fn response(&self, media: &'static str, body: String) -> Response {
        let mut response = (self.kind.status, body).into_response();
        response.extensions_mut().insert(self.kind);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.kind.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        response
    }

    /// The problem as AuthZEN wants it: the body is a message.
    pub(crate) fn into_message(self) -> Response {
        let message = self.message();
        self.response("text/plain; charset=utf-8", message)
    }

    /// One line that begins with the code.
    pub(crate) fn message(&self) -> String {
        format!("{}: {}", self.kind.code, self.detail)
    }

    /// The status that it has.
    pub(crate) const fn status(&self) -> StatusCode {
        self.kind.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Kind { code, status, title } = self.kind;
        let details = Details {
            r#type: format!("urn:bailiwick:error:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: &self.detail,
        };
        // Five plain members have nothing to fail on.
        let body = serde_json::to_string(&details).unwrap_or_default();
        self.response("application/problem+json", body)
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        INVALID_ID.with(error.to_string())
    }
}

impl From<SpanError> for Problem {
    fn from(error: SpanError) -> Self {
        INVALID_SPAN.with(error.to_string())
    }
}

impl From<HexError> for Problem {
    fn from(error: HexError) -> Self {
        INVALID_HASH.with(error.to_string())
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::TooLong { .. } => PAYLOAD_TOO_LARGE.with(error.to_string()),
            JsonError::Invalid(why) => INVALID_JSON.with(why),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.code {
            RefusalCode::NotPermitted => NOT_PERMITTED,
            RefusalCode::CredentialInvalid => CREDENTIAL_INVALID,
            RefusalCode::NotFound => NOT_FOUND,
            RefusalCode::AlreadyExists => ALREADY_EXISTS,
            RefusalCode::WrongState => WRONG_STATE,
            RefusalCode::OutOfRange => OUT_OF_RANGE,
            RefusalCode::PolicyInvalid => POLICY_INVALID,
            RefusalCode::LimitReached => LIMIT_REACHED,
            RefusalCode::IdReused => ID_REUSED,
            RefusalCode::Unavailable => UNAVAILABLE,
            RefusalCode::Overloaded => OVERLOADED,
            RefusalCode::ClockUnsure => CLOCK_UNSURE,
        };
        kind.with(refusal.message)
    }
}

impl From<bailiwick_audit::Error> for Problem {
    fn from(error: bailiwick_audit::Error) -> Self {
        use bailiwick_audit::Error;
        let kind = match &error {
            Error::Refused { .. } => SQL_REFUSED,
            Error::Archive { .. } => ARCHIVE_UNUSABLE,
            Error::Gap { .. }
            | Error::Behind { .. }
            | Error::Broken
            | Error::Threads { .. }
            | Error::Wire { .. } => AUDIT_UNAVAILABLE,
        };
        Kind { code: error.code(), ..kind }.with(error.to_string())
    }
}

impl From<bailiwick_ledger::Error> for Problem {
    fn from(error: bailiwick_ledger::Error) -> Self {
        let kind = if error.is_unavailable() { UNAVAILABLE } else { INTERNAL };
        tracing::error!(%error, "the ledger cannot be read");
        kind.with("the ledger cannot be read now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_in_the_table_with_its_status() {
        let table = include_str!("problem.rs");
        // These stand for several codes, which share a row.
        let several = [SQL_REFUSED, AUDIT_UNAVAILABLE, ARCHIVE_UNUSABLE];
        for kind in KINDS.iter().filter(|kind| !several.contains(kind)) {
            let row = format!("//! | `{}` | {} |", kind.code, kind.status.as_u16());
            assert!(table.contains(&row), "{row}");
        }
    }

    #[test]
    fn codes_are_given_once() {
        let mut codes: Vec<_> = KINDS.iter().map(|kind| kind.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), KINDS.len());
    }
}
