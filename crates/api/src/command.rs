//! From a command to an answer, the same way for every route.

use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bailiwick_core::command::{Answer, Command, Done, Submission};
use bailiwick_core::record::Link;
use bailiwick_ledger::Reply;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::body::About;
use crate::desk::Desk;
use crate::problem::{INTERNAL, Problem, UNAVAILABLE};

/// Where an event stands on the chain.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// Index of the event.
    pub(crate) index: u64,
    /// Hash of its header, in hexadecimal.
    #[schema(value_type = String)]
    pub(crate) link: Link,
}

/// The answer to a command.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Recorded {
    /// Id of what was created or changed; none while a revocation waits to be recorded.
    pub(crate) id: Option<String>,
    /// Where it is recorded; none while a revocation waits to be.
    pub(crate) receipt: Option<Receipt>,
    /// Whether it is on the ledger.
    pub(crate) durable: bool,
    /// With revocations: whether it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_force: Option<bool>,
}

/// What the ledger did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) done: Done,
    pub(crate) receipt: Option<Receipt>,
    pub(crate) durable: bool,
}

impl Outcome {
    /// The answer for something with this id.
    pub(crate) fn recorded(&self, id: impl Into<String>) -> Recorded {
        let id = Some(id.into());
        Recorded { id, receipt: self.receipt, durable: self.durable, in_force: None }
    }
}

impl Desk {
    /// Submits a command and answers with what the ledger did.
    pub(crate) async fn submit(
        &self,
        caller: &Caller,
        about: About,
        command: Command,
    ) -> Result<Outcome, Problem> {
        let actor = caller.actor();
        let is_revocation = matches!(command, Command::Revoke(_));
        let submission = Submission { actor, request: about.request, trace: about.trace, command };
        let Reply { answer, receipt, durable } = self.ledger.submit(submission).await;
        let receipt = receipt.map(|r| Receipt { index: r.index, link: r.link });
        match answer {
            Answer::Done(done) if durable || is_revocation => {
                Ok(Outcome { done, receipt, durable })
            }
            Answer::Done(_) => Err(UNAVAILABLE.with("it could not be recorded")),
            Answer::Refused(refusal) => Err(refusal.into()),
            Answer::Decided(_) => Err(INTERNAL.with("a command was answered as a call is")),
        }
    }
}

/// An answer as JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let media = HeaderValue::from_static("application/json");
            (status, [(CONTENT_TYPE, media)], body).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            INTERNAL.with("the answer cannot be written").into_response()
        }
    }
}

/// The answer to a command that changed something.
pub(crate) fn changed(outcome: &Outcome, id: impl Into<String>) -> Response {
    json(StatusCode::OK, &outcome.recorded(id))
}

/// The answer to a command that created something, which is found below `list`.
pub(crate) fn created(outcome: &Outcome, list: &str, id: impl Into<String>) -> Response {
    let recorded = outcome.recorded(id);
    let place = recorded.id.as_deref().map(|id| format!("{list}/{}", segment(id)));
    let mut response = json(StatusCode::CREATED, &recorded);
    if let Some(place) = place.and_then(|place| HeaderValue::try_from(place).ok()) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// A name as one segment of a path.
fn segment(name: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(segment("alice@example.com"), "alice@example.com");
        assert_eq!(segment("spiffe://a/b?c#d"), "spiffe:%2F%2Fa%2Fb%3Fc%23d");
    }
}
