//! `approvals`: one row a request that was put to people, with who said what and what came of it.
//!
//! An approval is settled some time after its end ([`REMEMBERED`]). One that nobody has told the end
//! of stays, also when its time is over.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringDictionaryBuilder, TimestampMicrosecondArray};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use bailiwick_core::event::{ApprovalRequested, Fact, Place};
use bailiwick_core::id::{ApprovalId, GrantId, OwnerId, Text};
use bailiwick_core::time::{Span, Time};
use bincode::{Decode, Encode};

use super::events::joined;
use super::grown::{Grown, Kept, Living, Part};
use super::sheet::{UTC, columns, micros};
use super::standing::{self, Standing};

columns! {
    /// Cells of an approval that are known when it is asked for.
    Fixed {
        Seq "seq" Int always; Ts "ts" Time always; ApprovalId "approval_id" Name always;
        RequestedAt "requested_at" Time always;
        AgentId "agent_id" Name; OwnerId "owner_id" Name always; TaskId "task_id" Name;
        Action "action" Name always; Resource "resource" Name always; Required "required" Name always;
        ExpiresAt "expires_at" Time always; GrantRequestId "grant_request_id" Name;
        RuleIds "rule_ids" Name; Justification "justification" Name;
    }
}

columns! {
    /// Cells of an approval that answers, or the passing of time, change.
    Changing {
        Status "status" Name always; ApprovedBy "approved_by" Name; DeniedBy "denied_by" Name;
        DecidedAt "decided_at" Time; WaitedMs "waited_ms" Int; GrantId "grant_id" Name;
        Reason "reason" Name;
    }
}

/// How long after its end events that name an approval still find it. The grant that comes of one
/// stands in the same entry as the last yes.
const REMEMBERED: Span = Span::minutes(10);

/// How an approval ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
enum End {
    Granted,
    Denied,
    Expired,
    Withdrawn,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What changes about an approval.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Approval {
    since: Time,
    expires_at: Time,
    yes: Vec<OwnerId>,
    no: Option<OwnerId>,
    end: Option<(End, Time)>,
    reason: Option<Text>,
    grant: Option<GrantId>,
}

impl Approval {
    fn is_settled(&self, now: Time) -> bool {
        self.end.is_some_and(|(_, at)| at.after(REMEMBERED) < now)
    }

    fn status(&self, now: Time) -> &'static str {
        match self.end {
            Some((end, _)) => end.as_str(),
            // That it expired may not be told yet.
            None if self.expires_at <= now => End::Expired.as_str(),
            None => "waiting",
        }
    }
}

impl Living for Approval {
    type Derived = ();
}

impl standing::Changing for Approval {
    type Fixed = Fixed;
    type Cells = Changing;
    /// When it is read.
    type Beside = Time;

    fn column(part: &Part<Self>, column: Changing, now: &Time) -> ArrayRef {
        let rows = part.live.rows();
        match column {
            Changing::Status => names(rows, |row| Some(row.status(*now).to_owned())),
            Changing::ApprovedBy => names(rows, |row| people(&row.yes)),
            Changing::DeniedBy => names(rows, |row| row.no.as_ref().map(ToString::to_string)),
            Changing::DecidedAt => {
                let ends = rows.iter().map(|row| row.end.map(|(_, at)| micros(at)));
                Arc::new(ends.collect::<TimestampMicrosecondArray>().with_timezone(UTC))
            }
            Changing::WaitedMs => {
                let waited = |row: &Self| i64::try_from(row.end?.1.since(row.since).0).ok();
                Arc::new(rows.iter().map(waited).collect::<Int64Array>())
            }
            Changing::GrantId => names(rows, |row| row.grant.map(|grant| grant.to_string())),
            Changing::Reason => names(rows, |row| row.reason.as_ref().map(ToString::to_string)),
        }
    }
}

fn names(rows: &[Approval], of: impl Fn(&Approval) -> Option<String>) -> ArrayRef {
    let mut column = StringDictionaryBuilder::<Int32Type>::new();
    for row in rows {
        column.append_option(of(row));
    }
    Arc::new(column.finish())
}

/// People in one cell. An id holds no space.
fn people(people: &[OwnerId]) -> Option<String> {
    let names: Vec<&str> = people.iter().map(OwnerId::as_str).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// All approvals.
#[derive(Debug)]
pub(crate) struct Approvals(Grown<Fixed, Approval>);

impl Approvals {
    pub(crate) fn new() -> Self {
        Self(Grown::new())
    }

    /// People were asked.
    pub(crate) fn ask(&mut self, place: Place, asked: &ApprovalRequested) {
        let live = Approval {
            since: place.time,
            expires_at: asked.expires_at,
            yes: Vec::new(),
            no: None,
            end: None,
            reason: None,
            grant: None,
        };
        self.0.push(place, live, |row| {
            row.set(Fixed::Seq, place.index);
            row.set(Fixed::Ts, place.time);
            row.set(Fixed::ApprovalId, ApprovalId(place.index));
            row.set(Fixed::RequestedAt, place.time);
            row.set_some(Fixed::AgentId, asked.call.agent.as_ref());
            row.set(Fixed::OwnerId, &asked.owner);
            row.set_some(Fixed::TaskId, asked.call.task);
            row.set(Fixed::Action, &asked.call.action);
            row.set(Fixed::Resource, asked.scope.to_string());
            let required: Vec<String> = asked.needs.iter().map(ToString::to_string).collect();
            row.set(Fixed::Required, required.join(", "));
            row.set(Fixed::ExpiresAt, asked.expires_at);
            row.set_some(Fixed::GrantRequestId, asked.request);
            row.set_some(Fixed::RuleIds, joined(&asked.policies));
            row.set_some(Fixed::Justification, asked.call.justification.as_ref());
        });
    }

    /// Somebody answered, or nobody did in time, or it was taken back.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the store names every kind and sends only these"
    )]
    pub(crate) fn answer(&mut self, at: Time, fact: &Fact) {
        match fact {
            Fact::ApprovalGranted(fact) => self.change(fact.approval, at, |approval| {
                approval.yes.push(fact.by.clone());
                if fact.complete {
                    approval.end = Some((End::Granted, at));
                }
            }),
            Fact::ApprovalDenied(fact) => self.change(fact.approval, at, |approval| {
                approval.no = Some(fact.by.clone());
                approval.end = Some((End::Denied, at));
                approval.reason.clone_from(&fact.reason);
            }),
            Fact::ApprovalExpired(fact) => self.change(fact.approval, at, |approval| {
                approval.end = Some((End::Expired, at));
            }),
            Fact::ApprovalWithdrawn(fact) => self.change(fact.approval, at, |approval| {
                approval.end = Some((End::Withdrawn, at));
                approval.reason.clone_from(&fact.reason);
            }),
            _ => {}
        }
    }

    /// A grant came of it. Who said yes, for the grant's own row.
    pub(crate) fn grant(&mut self, id: ApprovalId, place: Place) -> Option<String> {
        let mut approvers = None;
        self.change(id, place.time, |approval| {
            approval.grant.get_or_insert(GrantId(place.index));
            approvers = people(&approval.yes);
        });
        approvers
    }

    /// Changes an approval that is not settled, whether its row has left for the archive or not, so
    /// that a row is the same whenever that happens.
    fn change(&mut self, id: ApprovalId, now: Time, change: impl FnOnce(&mut Approval)) {
        if self.0.live(id.0).is_some_and(|approval| !approval.is_settled(now))
            && let Some(approval) = self.0.live_mut(id.0)
        {
            change(approval);
        }
    }

    /// Takes out what is settled at `now`.
    pub(crate) fn settle(&mut self, now: Time) -> Result<Standing<Approval>, ArrowError> {
        let judge = |part: &Part<Approval>| {
            part.live.rows().iter().map(|approval| approval.is_settled(now)).collect()
        };
        Ok(Standing::of(self.0.settle(judge)?, now))
    }

    /// All rows at `now`, with those before them that are about to be archived.
    pub(crate) fn snapshot(&self, before: &[Part<Approval>], now: Time) -> Standing<Approval> {
        Standing::new(before, &self.0, now)
    }

    pub(crate) fn kept(&mut self) -> Kept<Approval> {
        self.0.kept()
    }

    pub(crate) fn restored(kept: Kept<Approval>) -> Self {
        Self(Grown::restored(kept))
    }
}
