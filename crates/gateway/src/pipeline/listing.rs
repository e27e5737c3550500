//! What the gate asks the server by itself: which tools it has. A call is decided about with the
//! definition that its tool really has, whether or not the client ever looked at it.
//!
//! It is asked when a call comes whose tool is not known, or not any more since the server said that
//! its tools have changed; never before the handshake, before which a server answers nothing. The
//! calls wait for it, not for long: what is not known by then goes to the authority without a
//! definition, and the authority denies what is held to one.

use std::time::Duration;

use bailiwick_client::Authority;
use bailiwick_core::event::DenialCode;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Session;
use super::calls::{CALLS_MAX, Pending};
use super::decide::Asked;
use crate::denial::{self, Decision};
use crate::frame::{
    Frame, INVALID_PARAMS, Id, Key, Reply, ToolCall, members, parse_call, parse_lightly,
};

/// How long calls wait for the server's list. The decision has the rest of its time.
pub(super) const LISTED_WITHIN: Duration = Duration::from_secs(1);
/// The most pages of one list that are asked for.
const PAGES_MAX: usize = 256;
/// The longest cursor of a next page.
const CURSOR_BYTES_MAX: usize = 4_096;

/// A list that the server was asked for and has not given yet.
#[derive(Debug)]
pub(super) struct Listing {
    /// The request's id.
    key: Key,
    /// Since when the server has said nothing of a change.
    generation: u64,
    pages: usize,
    /// Until when calls wait for it.
    pub(super) until: Instant,
}

/// A call that waits to know its tool.
#[derive(Debug)]
pub(super) struct Unlisted {
    pub(super) id: Id,
    /// The bytes that will be passed on.
    line: Vec<u8>,
    /// Until when it is to be decided.
    until: Instant,
}

/// What becomes of a call at first.
pub(super) enum Begun {
    /// The authority is asked.
    Asked(Box<Asked>),
    /// Its tool has to be known before.
    Unlisted(Instant),
    /// It has its answer.
    Answered(Vec<u8>),
}

impl<A: Authority> Session<A> {
    /// Begins to decide about a call, which has to be decided until then.
    pub(super) fn begin(&mut self, id: &Id, params: Option<&RawValue>, until: Instant) -> Begun {
        let call = match parse_call(params) {
            Ok(call) => call,
            Err(why) => {
                return Begun::Answered(denial::error(Some(id), INVALID_PARAMS, &why, None));
            }
        };
        if self.requests.calls() >= CALLS_MAX {
            let decision = Decision::new(DenialCode::Overloaded);
            let why = format!("more than {CALLS_MAX} calls are in flight");
            return Begun::Answered(denial::undecided(id, &why, &decision));
        }
        if self.has_to_list(&call, until) {
            return Begun::Unlisted(until);
        }
        if self.catalog.is_shown_otherwise(&call.name) {
            let decision = Decision::new(DenialCode::ToolChanged);
            let why = "the server told you of another definition than it has: list its tools again";
            return Begun::Answered(denial::undecided(id, why, &decision));
        }
        match self.ask(id, &call, until) {
            Ok(asked) => Begun::Asked(Box::new(asked)),
            Err(answer) => Begun::Answered(answer),
        }
    }

    /// Goes on with a call that has begun.
    pub(super) fn go_on(&mut self, id: Id, line: Vec<u8>, begun: Begun) {
        match begun {
            Begun::Asked(asked) => self.wait_for_decision(id, *asked, line),
            Begun::Answered(answer) => self.client.send(answer),
            Begun::Unlisted(until) => {
                let key = id.key().clone();
                let call = Unlisted { id, line, until };
                self.requests.insert(key.clone(), Pending::Unlisted(Box::new(call)));
                self.unlisted.push(key);
                if self.listing.is_none() {
                    self.list(None, 0, Instant::now() + LISTED_WITHIN);
                }
            }
        }
    }

    /// Whether a call has to wait for the server's list. Not again for one that is late.
    fn has_to_list(&self, call: &ToolCall<'_>, until: Instant) -> bool {
        let now = Instant::now();
        let is_late = self.listing.as_ref().is_some_and(|listing| listing.until <= now);
        self.greeted && !is_late && now < until && !self.catalog.knows(&call.name)
    }

    /// Asks the server for a page of its list.
    fn list(&mut self, cursor: Option<&str>, pages: usize, until: Instant) {
        let key = loop {
            self.listed += 1;
            let key = Key::Text(format!("{}-tools-{}", self.id, self.listed));
            if !self.requests.contains(&key) {
                break key;
            }
        };
        let Key::Text(id) = &key else { return };
        let mut request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"});
        if let Some(cursor) = cursor {
            request["params"] = json!({"cursor": cursor});
        }
        self.server.send(request.to_string().into_bytes());
        self.listing = Some(Listing { key, generation: self.catalog.generation(), pages, until });
    }

    /// Whether this is the id of the gate's own request.
    pub(super) fn is_own(&self, key: &Key) -> bool {
        self.listing.as_ref().is_some_and(|listing| listing.key == *key)
    }

    /// The server has answered the gate's own request.
    pub(super) fn listed(&mut self, reply: &Reply<'_>) {
        let Some(Listing { generation, pages, until, .. }) = self.listing.take() else { return };
        let Reply::Result(result) = reply else {
            tracing::warn!("the server does not say which tools it has");
            self.catalog.learned_all(generation);
            return self.go_on_with_unlisted();
        };
        self.catalog.learn(generation, result.get());
        match next_page(result) {
            Some(cursor)
                if pages + 1 < PAGES_MAX
                    && cursor.len() <= CURSOR_BYTES_MAX
                    && Instant::now() < until =>
            {
                self.list(Some(&cursor), pages + 1, until);
            }
            Some(_) | None => {
                self.catalog.learned_all(generation);
                self.go_on_with_unlisted();
            }
        }
    }

    /// Lets calls go on that wait for a list which is late.
    pub(super) fn look_at_listing(&mut self) {
        let now = Instant::now();
        if self.listing.as_ref().is_some_and(|listing| listing.until <= now) {
            self.go_on_with_unlisted();
        }
    }

    fn go_on_with_unlisted(&mut self) {
        for key in std::mem::take(&mut self.unlisted) {
            if !matches!(self.requests.get_mut(&key), Some(Pending::Unlisted(_))) {
                continue;
            }
            let Some(Pending::Unlisted(call)) = self.requests.take(&key) else { continue };
            let Unlisted { id, line, until } = *call;
            if let Ok(Frame::Request { params, .. }) = parse_lightly(&line) {
                let begun = self.begin(&id, params, until);
                self.go_on(id, line, begun);
            }
        }
    }
}

fn next_page(result: &RawValue) -> Option<String> {
    let members = members(result.get()).ok()?;
    serde_json::from_str(members.get("nextCursor")?.get()).ok()
}
