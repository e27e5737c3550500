//! `calls`: one row an attempt to use a grant, with what came of it.
//!
//! A call's decision is written once; its outcome arrives later and fills the changing cells of
//! the same row. The row is found by binary search, since calls come in chain order. A call is
//! settled when it was denied, has finished, or was not heard of for [`AWAITED`].

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringDictionaryBuilder, TimestampMicrosecondArray};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use bailiwick_core::event::{
    Call, CallAuthorized, CallDenied, CallFinished, Outcome, Place, Recorded,
};
use bailiwick_core::id::{CallId, ToolId};
use bailiwick_core::time::{Span, Time};

use bincode::{Decode, Encode};

use super::events::{self, joined};
use super::grown::{Grown, Kept, Living, Part};
use super::marks::{Name, Names};
use super::sheet::{Columns, Sheet, UTC, columns, micros};
use super::standing::{self, Standing};

columns! {
    /// Cells of a call that are known when it is decided.
    Fixed {
        Seq "seq" Int always; Ts "ts" Time always; CallId "call_id" Name always;
        AgentId "agent_id" Name; OwnerId "owner_id" Name; OnBehalfOf "on_behalf_of" Name;
        TaskId "task_id" Name; SessionId "session_id" Name; RequestId "request_id" Name;
        TraceId "trace_id" Bytes16; ActorId "actor_id" Name;
        Server "server" Name; Tool "tool" Name; Action "action" Name always; Resource "resource" Name always;
        Effect "effect" Name always; Decision "decision" Name always; Reason "reason" Name;
        Justification "justification" Name; GrantId "grant_id" Name; RuleIds "rule_ids" Name;
        PolicyHash "policy_hash" Name always; ArgsCommitment "args_commitment" Bytes32;
        Disclosed "disclosed" Long;
    }
}

columns! {
    /// Cells of a call that its end fills.
    Changing {
        Outcome "outcome" Name; LatencyUs "latency_us" Int; BytesIn "bytes_in" Int;
        BytesOut "bytes_out" Int; FinishedAt "finished_at" Time; FinishedSeq "finished_seq" Int;
    }
}

/// How long a call's outcome is taken note of. The ledger itself takes none after that time.
const AWAITED: Span = Span::days(1);

/// What comes of a call, with who made it.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Ending {
    agent: Option<Name>,
    owner: Option<Name>,
    /// Until when an outcome is awaited; a denied call has none.
    awaited: Option<Time>,
    finish: Option<Finish>,
}

impl Ending {
    fn is_settled(&self, now: Time) -> bool {
        self.finish.is_some() || self.awaited.is_none_or(|until| until < now)
    }
}

#[derive(Debug, Clone, Encode, Decode)]
struct Finish {
    seq: u64,
    time: Time,
    outcome: Outcome,
    latency_us: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Living for Ending {
    type Derived = [ArrayRef; Changing::LISTED.len()];
}

impl standing::Changing for Ending {
    type Fixed = Fixed;
    type Cells = Changing;
    type Beside = ();

    fn column(part: &Part<Self>, column: Changing, (): &()) -> ArrayRef {
        Arc::clone(&part.live.derived(|_| true, derive)[column.at()])
    }
}

/// All calls.
#[derive(Debug)]
pub(crate) struct Calls(Grown<Fixed, Ending>);

impl Calls {
    pub(crate) fn new() -> Self {
        Self(Grown::new())
    }

    pub(crate) fn authorized(
        &mut self,
        recorded: &Recorded,
        fact: &CallAuthorized,
        names: &mut Names,
    ) {
        let awaited = recorded.place.time.after(AWAITED);
        self.push(recorded, &fact.call, Some(awaited), names, |row| {
            row.set(Fixed::Decision, "allow");
            row.set(Fixed::GrantId, fact.grant);
            row.set_some(Fixed::RuleIds, joined(&fact.policies));
            row.set(Fixed::PolicyHash, &fact.policy_hash);
        });
    }

    pub(crate) fn denied(&mut self, recorded: &Recorded, fact: &CallDenied, names: &mut Names) {
        self.push(recorded, &fact.call, None, names, |row| {
            row.set(Fixed::Decision, "deny");
            row.set(Fixed::Reason, fact.code.as_str());
            row.set_some(Fixed::GrantId, fact.grant);
            row.set_some(Fixed::RuleIds, joined(&fact.policies));
            row.set(Fixed::PolicyHash, &fact.policy_hash);
        });
    }

    fn push(
        &mut self,
        recorded: &Recorded,
        call: &Call,
        awaited: Option<Time>,
        names: &mut Names,
        decided: impl FnOnce(&mut Sheet<Fixed>),
    ) {
        let live = Ending {
            agent: call.agent.as_ref().map(|agent| names.take(agent.as_str())),
            owner: call.owner.as_ref().map(|owner| names.take(owner.as_str())),
            awaited,
            finish: None,
        };
        let (place, about) = (recorded.place, &recorded.event.about);
        self.0.push(place, live, |row| {
            row.set(Fixed::Seq, place.index);
            row.set(Fixed::Ts, place.time);
            row.set(Fixed::CallId, CallId(place.index));
            row.set_some(Fixed::AgentId, call.agent.as_ref());
            row.set_some(Fixed::OwnerId, call.owner.as_ref());
            row.set_some(Fixed::OnBehalfOf, about.on_behalf_of.as_ref());
            row.set_some(Fixed::TaskId, call.task);
            row.set_some(Fixed::SessionId, call.session.as_ref());
            row.set_some(Fixed::RequestId, about.request.as_ref().map(|request| &request.id));
            row.set_some(Fixed::TraceId, about.trace.as_ref().map(|trace| trace.0.as_slice()));
            row.set_some(Fixed::ActorId, events::actor_id(&about.actor));
            row.set_some(Fixed::Server, call.tool.as_ref().map(ToolId::server));
            row.set_some(Fixed::Tool, call.tool.as_ref().map(ToolId::tool));
            row.set(Fixed::Action, &call.action);
            row.set(Fixed::Resource, &call.resource);
            row.set(Fixed::Effect, call.effect.as_str());
            row.set_some(Fixed::Justification, call.justification.as_ref());
            row.set_some(Fixed::ArgsCommitment, call.arguments.as_ref());
            let disclosed = &call.disclosed;
            row.set_some(
                Fixed::Disclosed,
                (!disclosed.is_empty()).then(|| events::canonical(disclosed)),
            );
            decided(row);
        });
    }

    /// Notes how a call ended. The first report stands.
    pub(crate) fn finished(&mut self, place: Place, fact: &CallFinished) {
        let Some(ending) = self.0.live_mut(fact.call.0) else { return };
        if ending.is_settled(place.time) {
            return;
        }
        ending.finish.get_or_insert(Finish {
            seq: place.index,
            time: place.time,
            outcome: fact.outcome,
            latency_us: fact.latency_us,
            bytes_in: fact.bytes_in,
            bytes_out: fact.bytes_out,
        });
    }

    /// The agent and the owner of a call that is not settled at `now`, as far as it named them.
    pub(crate) fn caller(&self, id: CallId, now: Time) -> Option<(Option<Name>, Option<Name>)> {
        let ending = self.0.live(id.0).filter(|ending| !ending.is_settled(now))?;
        Some((ending.agent, ending.owner))
    }

    /// Takes out what is settled at `now`.
    pub(crate) fn settle(&mut self, now: Time) -> Result<Standing<Ending>, ArrowError> {
        let judge = |part: &Part<Ending>| {
            part.live.rows().iter().map(|ending| ending.is_settled(now)).collect()
        };
        Ok(Standing::of(self.0.settle(judge)?, ()))
    }

    /// All rows, with those before them that are about to be archived.
    pub(crate) fn snapshot(&self, before: &[Part<Ending>]) -> Standing<Ending> {
        Standing::new(before, &self.0, ())
    }

    pub(crate) fn kept(&mut self) -> Kept<Ending> {
        self.0.kept()
    }

    pub(crate) fn restored(kept: Kept<Ending>) -> Self {
        Self(Grown::restored(kept))
    }
}

fn derive(rows: &[Ending]) -> [ArrayRef; Changing::LISTED.len()] {
    let mut outcome = StringDictionaryBuilder::<Int32Type>::new();
    for row in rows {
        outcome.append_option(row.finish.as_ref().map(|finish| finish.outcome.as_str()));
    }
    let numbers = |of: fn(&Finish) -> u64| -> ArrayRef {
        let number =
            |row: &Ending| row.finish.as_ref().map(|f| i64::try_from(of(f)).unwrap_or(i64::MAX));
        Arc::new(rows.iter().map(number).collect::<Int64Array>())
    };
    let finished = rows.iter().map(|row| row.finish.as_ref().map(|finish| micros(finish.time)));
    [
        Arc::new(outcome.finish()),
        numbers(|finish| finish.latency_us),
        numbers(|finish| finish.bytes_in),
        numbers(|finish| finish.bytes_out),
        Arc::new(finished.collect::<TimestampMicrosecondArray>().with_timezone(UTC)),
        numbers(|finish| finish.seq),
    ]
}
