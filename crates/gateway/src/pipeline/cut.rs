//! Taking back: what the feed says, and what it means for calls that run.

use std::time::Duration;

use bailiwick_client::Authority;
use bailiwick_client::authority::{AUTHORIZE_TIMEOUT, LEASE, Permit};
use bailiwick_client::revocations::Signal;
use bailiwick_core::command::Finish;
use bailiwick_core::event::{DenialCode, Outcome};
use bailiwick_core::feed::Item;
use tokio::time::Instant;

use super::calls::{Pending, Running, Subject, covers};
use super::decide::micros;
use super::{BLIND_TIME, Ending, Feed, RECENT_MAX, Session};
use crate::denial::{self, Decision};
use crate::frame::{INTERNAL_ERROR, Key};

/// How long a feed item is kept: a decision that is older than this is no longer used.
const RECENT_TIME: Duration = AUTHORIZE_TIMEOUT.saturating_add(LEASE);

impl Feed {
    /// When a call that was passed on at `forwarded` is cut if the feed stays silent.
    pub(super) fn blind_at(&self, forwarded: Instant) -> Option<Instant> {
        self.lost_since.map(|since| since.max(forwarded) + BLIND_TIME)
    }

    /// Why a call that was asked about at `asked` may no longer be passed on.
    pub(super) fn ended(
        &self,
        subject: &Subject,
        permit: &Permit,
        asked: Instant,
    ) -> Option<DenialCode> {
        if self.missed_at.is_some_and(|missed| missed >= asked) {
            return Some(DenialCode::Unavailable);
        }
        self.recent
            .iter()
            .find(|(_, item)| covers(item, subject, permit))
            .map(|(_, item)| code(item))
    }

    fn remember(&mut self, item: Item) {
        let now = Instant::now();
        while self.recent.front().is_some_and(|(heard, _)| now - *heard > RECENT_TIME) {
            self.recent.pop_front();
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
            self.missed_at = Some(now);
        }
        self.recent.push_back((now, item));
    }
}

impl<A: Authority> Session<A> {
    pub(super) fn heard(&mut self, signal: Option<Signal>) {
        match signal {
            Some(Signal::Alive) => self.feed.lost_since = None,
            Some(Signal::Item(item)) => {
                self.cut(code(&item), |call| covers(&item, &call.subject, &call.permit));
                self.feed.remember(*item);
            }
            Some(Signal::Lost { since }) => {
                self.feed.lost_since = Some(self.feed.lost_since.unwrap_or(since.into()));
            }
            Some(Signal::Missed { .. }) => {
                self.feed.missed_at = Some(Instant::now());
                self.cut(DenialCode::Unavailable, |_| true);
            }
            None => {
                tracing::error!("the revocation stream has ended");
                self.feed.lost_since = Some(self.feed.lost_since.unwrap_or_else(Instant::now));
            }
        }
    }

    /// Cuts the calls that have gone on without a sign of life from the authority for too long.
    pub(super) fn cut_the_blind(&mut self) {
        let now = Instant::now();
        let Some(since) = self.feed.lost_since else { return };
        self.cut(DenialCode::Unavailable, |call| since.max(call.forwarded) + BLIND_TIME <= now);
    }

    /// Cuts every running call that `is_hit`: tells the server and the client, and records it.
    fn cut(&mut self, code: DenialCode, is_hit: impl Fn(&Running) -> bool) {
        let hit: Vec<Key> = self
            .requests
            .running()
            .filter(|(_, call)| is_hit(call))
            .map(|(key, _)| key.clone())
            .collect();
        for key in hit {
            if let Some(call) = self.record_cut(&key) {
                self.server.send(denial::cancelled(&call.id, "permission was taken back"));
                self.client.send(cut_answer(&call, code));
            }
        }
    }

    /// Records that a running call was cut, and drops whatever the server still says about it.
    pub(super) fn record_cut(&mut self, key: &Key) -> Option<Running> {
        let Some(Pending::Running(call)) = self.requests.take(key) else { return None };
        self.requests.end(key.clone());
        self.report(ended(&call, Outcome::Cut));
        Some(*call)
    }

    /// Answers everything that still waits when the session ends.
    pub(super) fn end_requests(&mut self, ending: Ending) {
        for (key, pending) in self.requests.drain() {
            match (pending, ending) {
                (Pending::Running(call), Ending::ServerGone) => {
                    self.report(ended(&call, Outcome::Unknown));
                    let text = "the server ended before it answered; what it did is not known";
                    self.client.send(denial::error(Some(&call.id), INTERNAL_ERROR, text, None));
                }
                (Pending::Running(call), Ending::ClientGone | Ending::Stopped) => {
                    self.report(ended(&call, Outcome::Cut));
                    self.server.send(denial::cancelled(&call.id, "the gateway ends"));
                    self.client.send(cut_answer(&call, DenialCode::Unavailable));
                }
                (Pending::Deciding(call), _) if !call.cancelled => {
                    let decision = Decision::new(DenialCode::Unavailable);
                    self.client.send(denial::undecided(&call.id, "the gateway ends", &decision));
                }
                (Pending::Passed | Pending::Listing, _) => {
                    let text = "the session ended before the server answered";
                    self.client.send(denial::error_to(&key, INTERNAL_ERROR, text));
                }
                (Pending::Deciding(_) | Pending::Ended, _) => {}
            }
        }
    }
}

/// What a narrowing means for whoever is cut by it.
const fn code(item: &Item) -> DenialCode {
    if item.suspend { DenialCode::Suspended } else { DenialCode::GrantRevoked }
}

fn ended(call: &Running, outcome: Outcome) -> Finish {
    Finish {
        call: call.permit.call,
        outcome,
        latency_us: micros(call.forwarded),
        bytes_in: call.bytes_in,
        bytes_out: 0,
        result: None,
    }
}

fn cut_answer(call: &Running, code: DenialCode) -> Vec<u8> {
    let decision = Decision {
        decision_id: Some(call.permit.call),
        evaluation_id: Some(call.subject.evaluation.clone()),
        receipt: Some(call.permit.receipt),
        outcome: Some(Outcome::Cut.as_str()),
        ..Decision::new(code)
    };
    let message = "the call was cut off while it ran";
    let text = denial::words(call.subject.tool.as_str(), code, message);
    denial::refused_result(&call.id, &text, &decision)
}
