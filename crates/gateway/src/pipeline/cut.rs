//! Taking back: what the feed says, and what it means for calls that run.

use bailiwick_client::Authority;
use bailiwick_client::guard::Beat;
use bailiwick_core::command::Finish;
use bailiwick_core::enforce::Ended;
use bailiwick_core::event::{DenialCode, Outcome};

use tokio::time::Instant;

use super::calls::{Pending, Running};
use super::decide::micros;
use super::{Ending, Session};
use crate::denial::{self, Decision};
use crate::frame::{INTERNAL_ERROR, Key};

impl<A: Authority> Session<A> {
    /// The feed or a ping has brought something.
    pub(super) fn beat(&mut self, beat: Beat) {
        self.pulse.take(beat, &mut self.guard);
        self.look();
        // Nothing runs any more that the guard would not let go on.
        self.pulse.acknowledge(&self.guard);
    }

    /// Looks again at everything that depends on the lease and the feed.
    pub(super) fn look(&mut self) {
        let now = self.pulse.clock().now();
        let moment = Instant::now();
        let ended = |(key, call): (&Key, &Running)| {
            let late = call.leave.is_over(moment).then_some(Ended::Late);
            let ended = self.guard.may_go_on(&call.held, now).err().or(late)?;
            Some((key.clone(), ended.code()))
        };
        let ended: Vec<(Key, DenialCode)> = self.requests.running().filter_map(ended).collect();
        for (key, code) in ended {
            self.cut(&key, code);
        }
        self.look_at_listing();
        self.admit_waiting(now);
    }

    /// Cuts a running call: tells the server and the client, and records it.
    fn cut(&mut self, key: &Key, code: DenialCode) {
        let cancellation =
            |call: &Running| denial::cancelled(&call.id, "permission was taken back");
        if let Some(call) = self.stop(key, cancellation) {
            self.client.send(cut_answer(&call, code));
        }
    }

    /// Records that a running call was cut, and drops whatever the server still says about it. What
    /// tells the server of it is sent if it has heard of the call.
    pub(super) fn stop(
        &mut self,
        key: &Key,
        cancellation: impl FnOnce(&Running) -> Vec<u8>,
    ) -> Option<Running> {
        let Some(Pending::Running(call)) = self.requests.take(key) else { return None };
        self.requests.end(key.clone());
        if !call.leave.withdraw() {
            self.server.send(cancellation(&call));
        }
        self.report(ended(&call, Outcome::Cut));
        Some(*call)
    }

    /// Answers everything that still waits when the session ends.
    pub(super) fn end_requests(&mut self, ending: Ending) {
        self.waiting.clear();
        for (key, pending) in self.requests.drain() {
            match (pending, ending) {
                (Pending::Running(call), Ending::ServerGone) => {
                    self.report(ended(&call, Outcome::Unknown));
                    let text = "the server ended before it answered; what it did is not known";
                    self.client.send(denial::error(Some(&call.id), INTERNAL_ERROR, text, None));
                }
                (Pending::Running(call), Ending::ClientGone | Ending::Stopped) => {
                    self.report(ended(&call, Outcome::Cut));
                    if !call.leave.withdraw() {
                        self.server.send(denial::cancelled(&call.id, "the gateway ends"));
                    }
                    self.client.send(cut_answer(&call, DenialCode::Unavailable));
                }
                (Pending::Deciding(call), _) if !call.cancelled => {
                    let decision = Decision::new(DenialCode::Unavailable);
                    self.client.send(denial::undecided(&call.id, "the gateway ends", &decision));
                }
                (Pending::Unlisted(call), _) => {
                    let decision = Decision::new(DenialCode::Unavailable);
                    self.client.send(denial::undecided(&call.id, "the gateway ends", &decision));
                }
                (Pending::Passed | Pending::Greeting | Pending::Listing(_), _) => {
                    let text = "the session ended before the server answered";
                    self.client.send(denial::error_to(&key, INTERNAL_ERROR, text));
                }
                (Pending::Deciding(_) | Pending::Ended, _) => {}
            }
        }
    }
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
        evaluation_id: Some(call.ask.call_id.clone()),
        receipt: Some(call.permit.receipt),
        outcome: Some(Outcome::Cut.as_str()),
        ..Decision::new(code)
    };
    let message = "the call was cut off while it ran";
    let text = denial::words(call.ask.tool.as_str(), code, message);
    denial::refused_result(&call.id, &text, &decision)
}
