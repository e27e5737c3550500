//! `grants`: one row a grant, as the interval in which it was good.
//!
//! `valid_to` is the earliest of its expiry and of whatever ended it, so the table needs no
//! `grant.expired`. What ended a grant is found when the table is read (see [`super::marks`]) and
//! kept per part of rows until a later mark could change it.
//!
//! A grant is settled some time after its end ([`REMEMBERED`]): until then events may still name
//! it, such as `grant.expired` or the denial of a call that came too late.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int64Array, Int64Builder, StringDictionaryBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use bailiwick_core::event::{CallAuthorized, GrantIssued, Issuance, Place, Recorded};
use bailiwick_core::id::{GrantId, RevocationId, ToolId};
use bailiwick_core::time::{Span, Time};
use bincode::{Decode, Encode};

use super::events::{actor_id, joined};
use super::grown::{Grown, Kept, Living, Part};
use super::marks::{End, How, Key, Marks, Name, Names, after};
use super::sheet::{Columns, UTC, columns, micros};
use super::standing::{self, Standing};

mod family;

pub(crate) use family::Family;

columns! {
    /// Cells of a grant that never change.
    Fixed {
        Seq "seq" Int always; Ts "ts" Time always; GrantId "grant_id" Name always;
        AgentId "agent_id" Name; OwnerId "owner_id" Name always; TaskId "task_id" Name;
        Server "server" Name; Tool "tool" Name; Action "action" Name always; Resource "resource" Name always;
        ValidFrom "valid_from" Time always; ExpiresAt "expires_at" Time always; MaxUses "max_uses" Int always;
        Issuance "issuance" Name always; GrantRequestId "grant_request_id" Name; ActorId "actor_id" Name;
        ApproverId "approver_id" Name; ApprovalId "approval_id" Name;
        ParentGrantId "parent_grant_id" Name; RootGrantId "root_grant_id" Name always;
        Depth "depth" Tiny always; RuleIds "rule_ids" Name; PolicyHash "policy_hash" Name always;
        Justification "justification" Name;
    }
}

columns! {
    /// Cells of a grant that later events or the passing of time change.
    Changing {
        Status "status" Name always; ValidTo "valid_to" Time always; RevokedAt "revoked_at" Time;
        RevocationId "revocation_id" Name; EndedBy "ended_by" Name; EndedSeq "ended_seq" Int;
        LastUsed "last_used" Time; Uses "uses" Int always; Denied "denied" Int always;
    }
}

/// How long after its end events that name a grant still find it. The ledger itself forgets one
/// a minute after its end and says so in an event of low priority.
const REMEMBERED: Span = Span::minutes(10);

/// What changes about a grant, with the keys that marks are compared with.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Grant {
    seq: u64,
    valid_from: Time,
    expires_at: Time,
    agent: Option<Name>,
    owner: Name,
    tool: Option<Name>,
    task: Option<u64>,
    uses: u32,
    denied: u32,
    last_used: Option<Time>,
    /// What ended this grant alone, or one that it was delegated from.
    ended: Option<End>,
    /// What it was delegated from and what was from it, if anything.
    family: Option<Box<Family>>,
}

impl Grant {
    /// What ends grants by naming something settles none of them before its time: a mark is looked
    /// up when the table is read.
    fn is_settled(&self, now: Time) -> bool {
        let over = self.ended.map_or(self.expires_at, |end| end.time.min(self.expires_at));
        over.after(REMEMBERED) < now
    }
}

impl Living for Grant {
    type Derived = Ends;
}

/// How the grants of a part ended, as far as the first `marks` say.
#[derive(Debug)]
pub(crate) struct Ends {
    marks: usize,
    /// No later mark changes anything: every grant is over by then.
    over_at: Time,
    ends: Vec<Option<End>>,
    /// When each begins and stops being good.
    spans: Vec<(Time, Time)>,
}

impl Ends {
    /// Whether `marks` say the same. They may be older than these ends, when a query reads an
    /// earlier snapshot of the same rows.
    fn still_hold(&self, marks: &Marks) -> bool {
        self.marks <= marks.count()
            && marks.next_after(self.marks).is_none_or(|next| self.over_at <= next)
    }
}

/// All grants.
#[derive(Debug)]
pub(crate) struct Grants {
    rows: Grown<Fixed, Grant>,
    marks: Arc<Marks>,
}

impl Grants {
    pub(crate) fn new() -> Self {
        Self { rows: Grown::new(), marks: Arc::default() }
    }

    pub(crate) fn issue(
        &mut self,
        recorded: &Recorded,
        fact: &GrantIssued,
        approvers: Option<String>,
        names: &mut Names,
    ) {
        let place = recorded.place;
        let valid_from = fact.not_before.max(place.time);
        let live = Grant {
            seq: place.index,
            valid_from,
            expires_at: fact.expires_at,
            agent: fact.agent.as_ref().map(|agent| names.take(agent.as_str())),
            owner: names.take(fact.owner.as_str()),
            tool: fact.tool.as_ref().map(|tool| names.take(tool.as_str())),
            task: fact.task.map(|task| task.0),
            uses: 0,
            denied: 0,
            last_used: None,
            ended: None,
            family: fact.parent.map(|parent| Box::new(family::below(&self.rows, parent))),
        };
        let id = GrantId(place.index);
        let root = live.family.as_ref().map_or(id, |family| GrantId(family.root));
        let depth = live.family.as_ref().map_or(0, |family| family.depth);
        if let Some(parent) = fact.parent {
            family::adopt(&mut self.rows, parent, place.index);
        }
        self.rows.push(place, live, |row| {
            row.set(Fixed::Seq, place.index);
            row.set(Fixed::Ts, place.time);
            row.set(Fixed::GrantId, id);
            row.set_some(Fixed::AgentId, fact.agent.as_ref());
            row.set(Fixed::OwnerId, &fact.owner);
            row.set_some(Fixed::TaskId, fact.task);
            row.set_some(Fixed::Server, fact.tool.as_ref().map(ToolId::server));
            row.set_some(Fixed::Tool, fact.tool.as_ref().map(ToolId::tool));
            row.set(Fixed::Action, &fact.action);
            row.set(Fixed::Resource, fact.scope.to_string());
            row.set(Fixed::ValidFrom, valid_from);
            row.set(Fixed::ExpiresAt, fact.expires_at);
            row.set(Fixed::MaxUses, fact.max_uses);
            row.set(Fixed::Issuance, issuance(fact.issuance));
            row.set_some(Fixed::GrantRequestId, fact.request);
            row.set_some(Fixed::ActorId, actor_id(&recorded.event.about.actor));
            row.set_some(Fixed::ParentGrantId, fact.parent);
            row.set_some(Fixed::ApprovalId, fact.approval);
            row.set_some(Fixed::ApproverId, approvers);
            row.set(Fixed::RootGrantId, root);
            row.set(Fixed::Depth, depth);
            row.set_some(Fixed::RuleIds, joined(&fact.policies));
            row.set(Fixed::PolicyHash, &fact.policy_hash);
            row.set_some(Fixed::Justification, fact.justification.as_ref());
        });
    }

    pub(crate) fn used(&mut self, place: Place, fact: &CallAuthorized) {
        // A use of a grant is one of each that it was delegated from.
        for seq in family::line(&self.rows, fact.grant.0) {
            let Some(grant) = self.rows.live_mut(seq) else { return };
            if grant.is_settled(place.time) {
                return;
            }
            grant.uses = grant.uses.saturating_add(1);
            grant.last_used = Some(place.time);
        }
        if fact.uses_left == 0 {
            self.end(fact.grant, place, How::Exhausted);
        }
    }

    pub(crate) fn denied(&mut self, id: GrantId, now: Time) {
        if !self.is_known(id, now) {
            return;
        }
        if let Some(grant) = self.rows.live_mut(id.0) {
            grant.denied = grant.denied.saturating_add(1);
        }
    }

    /// Ends one grant, unless it has ended by itself before, and all that was delegated from it.
    pub(crate) fn end(&mut self, id: GrantId, place: Place, how: How) {
        if !self.is_known(id, place.time) {
            return;
        }
        for seq in family::descendants(&self.rows, id.0) {
            if let Some(grant) = self.rows.live_mut(seq) {
                grant.ended.get_or_insert(End { seq: place.index, time: place.time, how });
            }
        }
    }

    /// Root and depth of a grant that is being delegated from `parent`.
    pub(crate) fn below(&self, parent: GrantId) -> (GrantId, u8) {
        let family = family::below(&self.rows, parent);
        (GrantId(family.root), family.depth)
    }

    /// The agent, if it is not the owner in person, and the owner of a grant that is not settled
    /// at `now`.
    pub(crate) fn holder(&self, id: GrantId, now: Time) -> Option<(Option<Name>, Name)> {
        let known = self.is_known(id, now);
        self.rows.live(id.0).filter(|_| known).map(|grant| (grant.agent, grant.owner))
    }

    /// Whether events at `now` still find a grant. It does not depend on whether its row has left
    /// for the archive, so that a row is the same whenever that happens.
    fn is_known(&self, id: GrantId, now: Time) -> bool {
        self.rows.live(id.0).is_some_and(|grant| !grant.is_settled(now))
    }

    /// Takes out what is settled at `now`.
    pub(crate) fn settle(&mut self, now: Time) -> Result<Standing<Grant>, ArrowError> {
        let judge = |part: &Part<Grant>| {
            part.live.rows().iter().map(|grant| grant.is_settled(now)).collect()
        };
        let parts = self.rows.settle(judge)?;
        Ok(Standing::of(parts, self.seen(now)))
    }

    pub(crate) fn kept(&mut self) -> (Kept<Grant>, Arc<Marks>) {
        (self.rows.kept(), Arc::clone(&self.marks))
    }

    pub(crate) fn restored(kept: Kept<Grant>, marks: Marks) -> Self {
        Self { rows: Grown::restored(kept), marks: Arc::new(marks) }
    }

    pub(crate) fn marks_mut(&mut self) -> &mut Marks {
        Arc::make_mut(&mut self.marks)
    }

    /// All rows, with those before them that are about to be archived.
    pub(crate) fn snapshot(&self, before: &[Part<Grant>], now: Time) -> Standing<Grant> {
        Standing::new(before, &self.rows, self.seen(now))
    }

    fn seen(&self, now: Time) -> Seen {
        Seen { marks: Arc::clone(&self.marks), now }
    }
}

const fn issuance(issuance: Issuance) -> &'static str {
    match issuance {
        Issuance::JustInTime => "just_in_time",
        Issuance::Policy => "policy",
        Issuance::Operator => "operator",
        Issuance::Approved => "approved",
        Issuance::Delegated => "delegated",
        Issuance::BreakGlass => "break_glass",
    }
}

/// What ended each grant of a part. Marks on a scope's resource, or the prefix that it is written
/// with before `/**`, are looked up once for each scope.
fn derive(rows: &[Grant], scopes: &DictionaryArray<Int32Type>, marks: &Marks) -> Ends {
    let by_scope: Vec<Vec<&[End]>> = scopes
        .values()
        .as_string::<i32>()
        .iter()
        .map(|scope| scope.unwrap_or_default())
        .map(|scope| marks.on_resource(scope.strip_suffix("/**").unwrap_or(scope)))
        .collect();
    let mut ends = Vec::with_capacity(rows.len());
    let mut spans = Vec::with_capacity(rows.len());
    let mut over_at = Time(0);
    for (at, grant) in rows.iter().enumerate() {
        let scope = scopes.key(at).and_then(|key| by_scope.get(key));
        let keys = [
            Some(Key::All),
            grant.agent.map(Key::Agent),
            Some(Key::Owner(grant.owner)),
            grant.task.map(Key::Task),
            grant.tool.map(Key::Tool),
        ];
        let of_line = grant.family.iter().flat_map(|family| family.keys.iter().copied());
        let keys = keys.into_iter().flatten().chain(of_line);
        let by_key = keys.filter_map(|key| marks.first_after(key, grant.seq));
        let by_scope = scope.into_iter().flatten().filter_map(|list| after(list, grant.seq));
        let first = by_key.chain(by_scope).chain(grant.ended).min_by_key(|end| end.seq);
        let end = first.filter(|end| end.time < grant.expires_at);
        let valid_to = end.map_or(grant.expires_at, |end| end.time);
        over_at = over_at.max(valid_to);
        ends.push(end);
        spans.push((grant.valid_from, valid_to));
    }
    Ends { marks: marks.count(), over_at, ends, spans }
}

/// What grants are seen with: every mark that may end them, at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    marks: Arc<Marks>,
    now: Time,
}

/// How the grants of a part ended.
fn ends(part: &Part<Grant>, marks: &Marks) -> Arc<Ends> {
    let scopes = part.fixed.column(Fixed::Resource.at()).as_dictionary::<Int32Type>();
    part.live.derived(|kept| kept.still_hold(marks), |rows| derive(rows, scopes, marks))
}

impl standing::Changing for Grant {
    type Fixed = Fixed;
    type Cells = Changing;
    type Beside = Seen;

    fn column(part: &Part<Self>, column: Changing, Seen { marks, now }: &Seen) -> ArrayRef {
        let ends = || ends(part, marks);
        match column {
            Changing::LastUsed => moments(part.live.rows(), |g| g.last_used),
            Changing::Uses => numbers(part.live.rows(), |g| i64::from(g.uses)),
            Changing::Denied => numbers(part.live.rows(), |g| i64::from(g.denied)),
            Changing::ValidTo => moments(&ends().spans, |span| Some(span.1)),
            Changing::RevokedAt => {
                moments(&ends().ends, |end| end.filter(|e| e.how.taken_back()).map(|e| e.time))
            }
            Changing::EndedSeq => ended_seq(&ends().ends),
            Changing::RevocationId => names(&ends(), |end, _| {
                let end = end.filter(|end| end.how == How::Revoked)?;
                Some(RevocationId(end.seq).to_string().into())
            }),
            Changing::EndedBy => names(&ends(), |end, span| match end {
                Some(end) => Some(end.how.as_str().into()),
                None => (span.1 <= *now).then(|| "expired".into()),
            }),
            Changing::Status => names(&ends(), |end, span| Some(status(end, span, *now).into())),
        }
    }
}

fn status(end: Option<End>, (from, to): (Time, Time), now: Time) -> &'static str {
    match end {
        Some(end) => end.how.as_str(),
        None if to <= now => "expired",
        None if now < from => "not_yet_valid",
        None => "live",
    }
}

fn moments<T>(rows: &[T], of: impl Fn(&T) -> Option<Time>) -> ArrayRef {
    let moments = rows.iter().map(|row| of(row).map(micros));
    Arc::new(moments.collect::<TimestampMicrosecondArray>().with_timezone(UTC))
}

fn numbers<T>(rows: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(of(row))).collect::<Int64Array>())
}

fn ended_seq(ends: &[Option<End>]) -> ArrayRef {
    let mut column = Int64Builder::with_capacity(ends.len());
    for end in ends {
        column.append_option(end.and_then(|end| i64::try_from(end.seq).ok()));
    }
    Arc::new(column.finish())
}

fn names(
    ends: &Ends,
    of: impl Fn(Option<End>, (Time, Time)) -> Option<std::borrow::Cow<'static, str>>,
) -> ArrayRef {
    let mut column = StringDictionaryBuilder::<Int32Type>::new();
    for (end, span) in ends.ends.iter().zip(&ends.spans) {
        column.append_option(of(*end, *span));
    }
    Arc::new(column.finish())
}
