//! `grants`: one row a grant, as the interval in which it was good.
//!
//! `valid_to` is the earliest of its expiry and of whatever ended it, so the table needs no
//! `grant.expired`. What ended a grant is found when the table is read (see [`super::marks`]) and
//! kept per part of rows until a later mark could change it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int64Array, Int64Builder, StringDictionaryBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Int32Type, Schema, SchemaRef};
use bailiwick_core::event::{CallAuthorized, GrantIssued, Issuance, Place, Recorded};
use bailiwick_core::id::{GrantId, RevocationId, ToolId};
use bailiwick_core::time::Time;

use super::events::{actor_id, joined};
use super::grown::{Grown, Living, Part, Reach};
use super::marks::{End, How, Key, Marks, Name, Names, after};
use super::scan::Snapshot;
use super::sheet::{self, Columns, UTC, columns, micros};

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

const FIXED: usize = Fixed::LISTED.len();

/// What changes about a grant, with the keys that marks are compared with.
#[derive(Debug, Clone)]
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

    pub(crate) fn issue(&mut self, recorded: &Recorded, fact: &GrantIssued, names: &mut Names) {
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
            grant.uses = grant.uses.saturating_add(1);
            grant.last_used = Some(place.time);
        }
        if fact.uses_left == 0 {
            self.end(fact.grant, place, How::Exhausted);
        }
    }

    pub(crate) fn denied(&mut self, id: GrantId) {
        if let Some(grant) = self.rows.live_mut(id.0) {
            grant.denied = grant.denied.saturating_add(1);
        }
    }

    /// Ends one grant, unless it has ended by itself before, and all that was delegated from it.
    pub(crate) fn end(&mut self, id: GrantId, place: Place, how: How) {
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

    /// The agent, if it is not the owner in person, and the owner.
    pub(crate) fn holder(&self, id: GrantId) -> Option<(Option<Name>, Name)> {
        self.rows.live(id.0).map(|grant| (grant.agent, grant.owner))
    }

    pub(crate) fn marks_mut(&mut self) -> &mut Marks {
        Arc::make_mut(&mut self.marks)
    }

    pub(crate) fn snapshot(&self, now: Time) -> GrantsSnapshot {
        GrantsSnapshot { parts: self.rows.snapshot(), marks: Arc::clone(&self.marks), now }
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

/// `grants` as it stood at one moment, `now`.
#[derive(Debug)]
pub(crate) struct GrantsSnapshot {
    parts: Vec<Part<Grant>>,
    marks: Arc<Marks>,
    now: Time,
}

impl GrantsSnapshot {
    fn ends(&self, part: &Part<Grant>) -> Arc<Ends> {
        let scopes = part.fixed.column(Fixed::Resource.at()).as_dictionary::<Int32Type>();
        part.live
            .derived(|kept| kept.still_hold(&self.marks), |rows| derive(rows, scopes, &self.marks))
    }

    fn changing(&self, part: &Part<Grant>, column: Changing) -> ArrayRef {
        match column {
            Changing::LastUsed => moments(part.live.rows(), |g| g.last_used),
            Changing::Uses => numbers(part.live.rows(), |g| i64::from(g.uses)),
            Changing::Denied => numbers(part.live.rows(), |g| i64::from(g.denied)),
            Changing::ValidTo => moments(&self.ends(part).spans, |span| Some(span.1)),
            Changing::RevokedAt => moments(&self.ends(part).ends, |end| {
                end.filter(|e| e.how.taken_back()).map(|e| e.time)
            }),
            Changing::EndedSeq => ended_seq(&self.ends(part).ends),
            Changing::RevocationId => names(&self.ends(part), |end, _| {
                let end = end.filter(|end| end.how == How::Revoked)?;
                Some(RevocationId(end.seq).to_string().into())
            }),
            Changing::EndedBy => names(&self.ends(part), |end, span| match end {
                Some(end) => Some(end.how.as_str().into()),
                None => (span.1 <= self.now).then(|| "expired".into()),
            }),
            Changing::Status => {
                names(&self.ends(part), |end, span| Some(status(end, span, self.now).into()))
            }
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

impl Snapshot for GrantsSnapshot {
    fn schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = sheet::fields(Fixed::LISTED);
        fields.extend(sheet::fields(Changing::LISTED));
        Arc::new(Schema::new(fields))
    }

    fn parts(&self) -> Vec<Reach> {
        self.parts.iter().map(|part| part.reach).collect()
    }

    fn rows(&self, part: usize) -> usize {
        self.parts[part].fixed.num_rows()
    }

    fn column(&self, part: usize, column: usize) -> ArrayRef {
        let part = &self.parts[part];
        match column.checked_sub(FIXED) {
            None => Arc::clone(part.fixed.column(column)),
            Some(column) => self.changing(part, Changing::ALL[column]),
        }
    }
}
