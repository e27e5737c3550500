//! A call's way from the question to its record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bailiwick_client::Error;
use bailiwick_client::authority::{Ask, Authority, Denial, NewTask, Permit, Ruling};
use bailiwick_client::guard::{Ended, Held};
use bailiwick_core::command::Finish;
use bailiwick_core::enforce::{LEASE, Monotonic};
use bailiwick_core::event::{DenialCode, Outcome};
use bailiwick_core::id::{RequestId, TaskId, Text};
use bailiwick_core::record::hash::Digest;
use futures::FutureExt;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Session;
use super::calls::{Deciding, Pending, Running};
use super::people::People;
use super::writer::Leave;
use crate::denial::{self, Decision};
use crate::frame::{Id, Key, Reply, ToolCall, members};

/// Under this key a client may say in `_meta` why it calls.
pub const JUSTIFICATION: &str = "dev.bailiwick/justification";
/// Why a call is not even put to the authority.
const DEAF: &str = "revocations cannot be heard";
const RESULT_CONTEXT: &str = "bailiwick v1 tool result";
/// Waits between attempts to record an outcome.
const REPORT_WAITS: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];

/// A call that will be put to the authority as soon as its permit could be used.
pub(super) struct Waiting {
    key: Key,
    ask: Ask,
    /// Until when it is to be decided.
    pub(super) until: Instant,
    /// Set when the client does not want it any more.
    gone: Arc<AtomicBool>,
}

/// A question that was put, or waits to be.
pub(super) struct Asked {
    ask: Ask,
    gone: Arc<AtomicBool>,
}

/// A question's answer.
pub(super) struct Decided {
    key: Key,
    result: Result<(Ruling, TaskId), Error>,
}

impl<A: Authority> Session<A> {
    /// Puts a call to the authority, now or when its permit could be used; the answer for the client
    /// when it cannot even be asked about.
    pub(super) fn ask(
        &mut self,
        id: &Id,
        call: &ToolCall<'_>,
        until: Instant,
    ) -> Result<Asked, Vec<u8>> {
        let ask = self.question(call).map_err(|(code, why)| {
            let text = denial::words(&call.name, code, &why);
            denial::refused_result(id, &text, &Decision::new(code))
        })?;
        // Its arguments stand in the line already.
        let asked = Ask { arguments: None, disclosed: BTreeMap::new(), ..ask.clone() };
        let key = id.key().clone();
        let gone = Arc::new(AtomicBool::new(false));
        let waiting = Waiting { key, ask, until, gone: Arc::clone(&gone) };
        match self.guard.may_ask(self.pulse.clock().now()) {
            Ok(()) => self.put(waiting),
            Err(ended) if self.is_worth_waiting(ended) => self.waiting.push(waiting),
            Err(ended) => {
                let decision = Decision::new(ended.code());
                let text = denial::words(asked.tool.as_str(), ended.code(), DEAF);
                return Err(denial::undecided(id, &text, &decision));
            }
        }
        Ok(Asked { ask: asked, gone })
    }

    /// Whether what a call may not be asked about for will be over in a moment: the first lease is on
    /// its way, or what is missing of the feed. A lease that was lost may be so for long.
    fn is_worth_waiting(&self, ended: Ended) -> bool {
        ended == Ended::Behind || !self.had_lease
    }

    fn put(&mut self, Waiting { key, ask, until, gone }: Waiting) {
        let authority = Arc::clone(&self.authority);
        let task = Arc::clone(&self.task);
        let people = People { wait: self.config.wait_for_approval, gone };
        let decided = async move {
            let result = decide(authority.as_ref(), &task, ask.clone(), until).await;
            let result = people.answered(authority.as_ref(), ask, result).await;
            Decided { key, result }
        };
        self.deciding.push(decided.boxed());
    }

    /// Puts the calls that waited to the authority, or denies them when there is no more use in it.
    pub(super) fn admit_waiting(&mut self, now: Monotonic) {
        let may_ask = self.guard.may_ask(now);
        self.had_lease |= self.guard.lease_ends().is_some();
        for waiting in std::mem::take(&mut self.waiting) {
            let is_cancelled = match self.requests.get_mut(&waiting.key) {
                Some(Pending::Deciding(call)) => call.cancelled,
                Some(
                    Pending::Passed
                    | Pending::Greeting
                    | Pending::Listing(_)
                    | Pending::Unlisted(_)
                    | Pending::Running(_)
                    | Pending::Ended,
                )
                | None => true,
            };
            match may_ask {
                Ok(()) if !is_cancelled => self.put(waiting),
                Err(ended)
                    if !is_cancelled
                        && self.is_worth_waiting(ended)
                        && Instant::now() < waiting.until =>
                {
                    self.waiting.push(waiting);
                }
                Ok(()) | Err(_) => self.give_up(&waiting.key),
            }
        }
    }

    /// A call was not put to the authority and will not be.
    fn give_up(&mut self, key: &Key) {
        let Some(Pending::Deciding(call)) = self.requests.take(key) else { return };
        let (code, message) = (DenialCode::Unavailable, DEAF.to_owned());
        self.refuse(&call, &Denial { code, message, receipt: None, approval: None });
    }

    fn question(&mut self, call: &ToolCall<'_>) -> Result<Ask, (DenialCode, String)> {
        let definition = self.catalog.of(&call.name);
        let mapped = self
            .config
            .mapping
            .resolve(&call.name, call.arguments, definition.hints)
            .map_err(|unmapped| (unmapped.code, unmapped.message))?;
        let justification =
            justification(call.meta).map_err(|why| (DenialCode::InvalidArguments, why))?;
        self.asked += 1;
        let call_id = RequestId::new(&format!("{}-{}", self.id, self.asked))
            .expect("a session id and a number are a request id");
        Ok(Ask {
            agent: self.config.agent.clone(),
            on_behalf_of: self.config.on_behalf_of.clone(),
            task: self.config.task,
            session: Some(self.id.clone()),
            tool: mapped.tool,
            tool_hash: definition.hash,
            action: mapped.action,
            resource: mapped.resource,
            effect: mapped.effect,
            arguments: call.arguments.map(ToOwned::to_owned),
            disclosed: mapped.disclosed,
            justification,
            call_id,
            reports_outcome: true,
        })
    }

    pub(super) fn wait_for_decision(&mut self, id: Id, asked: Asked, line: Vec<u8>) {
        let key = id.key().clone();
        let Asked { ask, gone } = asked;
        let call = Deciding { id, line, ask, cancelled: false, gone };
        self.requests.insert(key, Pending::Deciding(Box::new(call)));
    }

    /// The authority has answered: the call goes through now, or never.
    pub(super) fn decided(&mut self, Decided { key, result }: Decided) {
        let Some(Pending::Deciding(call)) = self.requests.take(&key) else { return };
        let (permit, task) = match result {
            Ok((Ruling::Allowed(permit), task)) => (permit, task),
            Ok((Ruling::Denied(denial), _)) => return self.refuse(&call, &denial),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no decision");
                let (code, message) = (DenialCode::Unavailable, String::new());
                let denial = Denial { code, message, receipt: None, approval: None };
                return self.refuse(&call, &denial);
            }
        };
        let mut call = *call;
        call.ask.task = Some(task);
        let clock = self.pulse.clock();
        let asked = clock.at(permit.asked.into());
        let held = Held::new(permit.receipt.index, asked, &call.ask.subject(&permit))
            .resting_on(&permit.rests_on);
        let ended = self.guard.may_start(&held, clock.now()).err();
        if call.cancelled || ended.is_some() {
            self.report(unused(&permit));
            let code = ended.map_or(DenialCode::Unavailable, Ended::code);
            let (message, receipt) = (String::new(), Some(permit.receipt));
            let denial = Denial { code, message, receipt, approval: None };
            return self.refuse(&call, &denial);
        }
        let bytes_in = call.line.len() as u64;
        // The receipt and the lease both end while the line waits, whatever renews the lease later.
        let ends = self.guard.lease_ends().unwrap_or_default().min(asked.after(LEASE));
        let leave = Leave::until(clock.moment(ends));
        self.server.send_call(call.line, leave.clone());
        let (id, ask, forwarded) = (call.id, call.ask, Instant::now());
        let running = Running { id, ask, permit, held, leave, forwarded, bytes_in };
        self.requests.insert(key, Pending::Running(Box::new(running)));
    }

    /// The authority has answered after the session's end: what was allowed is not used.
    pub(super) fn decided_late(&mut self, decided: Decided) {
        if let Ok((Ruling::Allowed(permit), _)) = decided.result {
            self.report(unused(&permit));
        }
    }

    fn refuse(&self, call: &Deciding, no: &Denial) {
        if call.cancelled {
            return;
        }
        let decision = Decision {
            decision_id: no.call(),
            evaluation_id: Some(call.ask.call_id.clone()),
            receipt: no.receipt,
            approval: no.approval.clone(),
            ..Decision::new(no.code)
        };
        let mut text = denial::words(call.ask.tool.as_str(), no.code, &no.message);
        if no.code == DenialCode::ApprovalRequired
            && let Some(awaited) = &no.approval
        {
            text = format!("{text} {}", denial::how_to_approve(awaited));
        }
        self.client.send(if denial::is_undecided(no.code) {
            denial::undecided(&call.id, &text, &decision)
        } else {
            denial::refused_result(&call.id, &text, &decision)
        });
    }

    /// The server has answered a call.
    pub(super) fn answered(&self, call: &Running, reply: &Reply<'_>) {
        let (raw, failed) = match reply {
            Reply::Result(raw) => (raw.get(), is_error(raw)),
            Reply::Error(raw) => (raw.get(), true),
        };
        self.report(Finish {
            call: call.permit.call,
            outcome: if failed { Outcome::Error } else { Outcome::Ok },
            latency_us: micros(call.forwarded),
            bytes_in: call.bytes_in,
            bytes_out: raw.len() as u64,
            result: Some(Digest(blake3::derive_key(RESULT_CONTEXT, raw.as_bytes()))),
        });
    }

    /// Records how a call ended, without anybody waiting for it.
    pub(super) fn report(&self, finish: Finish) {
        let authority = Arc::clone(&self.authority);
        let report = async move {
            for wait in REPORT_WAITS {
                match authority.finish(finish.clone()).await {
                    Ok(()) => return,
                    Err(error @ (Error::Unavailable { .. } | Error::Answer { .. })) => {
                        tracing::debug!(%error, call = %finish.call, "outcome not recorded yet");
                    }
                    Err(error) => {
                        tracing::warn!(%error, call = %finish.call, "outcome refused");
                        return;
                    }
                }
                tokio::time::sleep(wait).await;
            }
            tracing::warn!(call = %finish.call, "outcome not recorded");
        };
        self.reports.push(report.boxed());
    }
}

/// One decision under the session's task, which is opened first if there is none. Silence is none.
async fn decide<A: Authority>(
    authority: &A,
    session_task: &OnceCell<TaskId>,
    mut ask: Ask,
    until: Instant,
) -> Result<(Ruling, TaskId), Error> {
    let decision = async {
        let task = match ask.task {
            Some(task) => task,
            None => {
                let task = NewTask { agent: ask.agent.clone(), sort: None };
                *session_task.get_or_try_init(|| authority.open_task(task)).await?
            }
        };
        ask.task = Some(task);
        Ok((authority.authorize(ask).await?, task))
    };
    match tokio::time::timeout_at(until, decision).await {
        Ok(decided) => decided,
        Err(_) => Err(Error::unavailable("authorize")),
    }
}

/// The outcome of a call that was allowed and not passed on.
fn unused(permit: &Permit) -> Finish {
    Finish {
        call: permit.call,
        outcome: Outcome::Cut,
        latency_us: 0,
        bytes_in: 0,
        bytes_out: 0,
        result: None,
    }
}

pub(super) fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Whether a tool result says that the tool failed, or is none.
fn is_error(result: &RawValue) -> bool {
    members(result.get())
        .map_or(true, |members| members.get("isError").is_some_and(|raw| raw.get() == "true"))
}

fn justification(meta: Option<&RawValue>) -> Result<Option<Text>, String> {
    let Some(meta) = meta else { return Ok(None) };
    let members = members(meta.get()).map_err(|_| "`_meta` is not an object".to_owned())?;
    let Some(raw) = members.get(JUSTIFICATION) else { return Ok(None) };
    let text: String = serde_json::from_str(raw.get())
        .map_err(|_| format!("`{JUSTIFICATION}` is not a string"))?;
    Text::new(&text).map(Some).map_err(|e| format!("`{JUSTIFICATION}`: {e}"))
}
