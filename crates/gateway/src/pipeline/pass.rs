//! What passes, in both directions.

use std::sync::atomic::Ordering;

use bailiwick_client::Authority;
use bailiwick_client::authority::AUTHORIZE_TIMEOUT;
use tokio::time::Instant;

use super::Session;
use super::calls::{Pending, REQUESTS_MAX};
use crate::denial;
use crate::frame::{
    CLIENT_FRAME_BYTES_MAX, Frame, INTERNAL_ERROR, INVALID_REQUEST, Id, Line, METHOD_NOT_FOUND,
    Reply, members, parse_lightly, parse_strictly, twin,
};

const TOOLS_CALL: &str = "tools/call";
const TOOLS_LIST: &str = "tools/list";
const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
const INITIALIZE: &str = "initialize";
const CANCELLED: &str = "notifications/cancelled";
const NOTIFICATIONS: &str = "notifications/";

/// Further requests of the 2025-11-25 revision and older that a client may make.
const PASSED: [&str; 16] = [
    INITIALIZE,
    "ping",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/cancel",
    TOOLS_LIST,
];

impl<A: Authority> Session<A> {
    pub(super) fn client_said(&mut self, line: Line) {
        let line = match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => return,
            Line::Whole(line) => line,
            Line::TooLong => {
                let why = format!("a message of more than {CLIENT_FRAME_BYTES_MAX} bytes");
                self.client.send(denial::error(None, INVALID_REQUEST, &why, None));
                return;
            }
        };
        match parse_strictly(&line) {
            Err(bad) => self.client.send(denial::bad(&bad)),
            Ok(Frame::Response { .. }) => self.server.send(line),
            Ok(Frame::Notification { method, params }) => {
                if method == CANCELLED {
                    let id = params.and_then(|params| cancelled_id(params.get()));
                    self.cancelled(id, line);
                } else if method.starts_with(NOTIFICATIONS) {
                    self.server.send(line);
                } else {
                    tracing::warn!("a request without an id was dropped");
                }
            }
            Ok(Frame::Request { id, method, params }) => {
                if let Err((code, why)) = self.admit(&id, &method) {
                    self.client.send(denial::error(Some(&id), code, &why, None));
                } else if method == TOOLS_CALL {
                    let begun = self.begin(&id, params, Instant::now() + AUTHORIZE_TIMEOUT);
                    self.go_on(id, line, begun);
                } else {
                    let pending = match method.as_str() {
                        TOOLS_LIST => Pending::Listing(self.catalog.generation()),
                        INITIALIZE => Pending::Greeting,
                        _ => Pending::Passed,
                    };
                    self.requests.insert(id.key().clone(), pending);
                    self.server.send(line);
                }
            }
        }
    }

    /// Whether a request may be looked at; if not, the error's code and words.
    fn admit(&self, id: &Id, method: &str) -> Result<(), (i32, String)> {
        if self.requests.contains(id.key()) || self.is_own(id.key()) {
            return Err((INVALID_REQUEST, "the id is in use".to_owned()));
        }
        if self.requests.waiting() >= REQUESTS_MAX {
            return Err((INTERNAL_ERROR, format!("more than {REQUESTS_MAX} requests wait")));
        }
        if method != TOOLS_CALL && !PASSED.contains(&method) {
            let method: String = method.chars().take(80).collect();
            return Err((METHOD_NOT_FOUND, format!("no method `{method}`")));
        }
        Ok(())
    }

    /// The client no longer wants a request.
    fn cancelled(&mut self, id: Option<Id>, line: Vec<u8>) {
        let Some(id) = id else {
            tracing::warn!("a cancellation that names no request was dropped");
            return;
        };
        match self.requests.get_mut(id.key()) {
            Some(Pending::Deciding(call)) => {
                call.cancelled = true;
                call.gone.store(true, Ordering::Relaxed);
            }
            Some(Pending::Passed | Pending::Greeting | Pending::Listing(_)) => {
                self.server.send(line);
                self.requests.end(id.key().clone());
            }
            Some(Pending::Unlisted(_)) => {
                self.requests.take(id.key());
                // The id is free again: what comes under it next is another call.
                self.unlisted.retain(|waiting| waiting != id.key());
            }
            Some(Pending::Running(_)) => {
                self.stop(id.key(), |_| line);
            }
            Some(Pending::Ended) | None => {}
        }
    }

    pub(super) fn server_said(&mut self, line: Vec<u8>) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let (id, outcome) = match parse_lightly(&line) {
            Ok(Frame::Response { id, outcome }) => (id, outcome),
            Ok(Frame::Notification { method, .. }) => {
                if method == TOOLS_CHANGED {
                    self.catalog.changed();
                }
                self.client.send(line);
                return;
            }
            Ok(Frame::Request { .. }) => {
                self.client.send(line);
                return;
            }
            Err(bad) => {
                tracing::warn!(code = bad.code, "the server said something that is no message");
                return;
            }
        };
        if self.is_own(id.key()) {
            return self.listed(&outcome);
        }
        match self.requests.take(id.key()) {
            Some(Pending::Passed) => self.client.send(line),
            Some(Pending::Greeting) => {
                self.greeted |= matches!(outcome, Reply::Result(_));
                self.client.send(line);
            }
            Some(Pending::Listing(generation)) => {
                if let Reply::Result(result) = outcome {
                    self.catalog.show(generation, result.get());
                }
                self.client.send(line);
            }
            Some(Pending::Running(call)) => {
                self.answered(&call, &outcome);
                self.client.send(line);
            }
            Some(waiting @ (Pending::Unlisted(_) | Pending::Deciding(_))) => {
                tracing::warn!("the server answered a call that it was not given");
                self.requests.insert(id.key().clone(), waiting);
            }
            Some(Pending::Ended) | None => {
                tracing::debug!("an answer that nobody waits for was dropped");
            }
        }
    }
}

fn cancelled_id(params: &str) -> Option<Id> {
    const REQUEST_ID: &str = "requestId";
    let members = members(params).ok()?;
    if twin(&members, &[REQUEST_ID]).is_some() {
        return None;
    }
    members.get(REQUEST_ID).and_then(|raw| Id::parse(raw))
}
