//! `revocations`: one row a revocation, with when its suspension was lifted.
//! `findings`: one row a finding.

use bailiwick_core::event::{
    Detector, FindingRaised, Place, Recorded, RevocationEnforced, RevocationIssued, Selector,
    SuspensionLifted, Verdict,
};
use bailiwick_core::id::{FindingId, RevocationId};
use bailiwick_core::time::Time;
use bincode::{Decode, Encode};

use super::events::{actor_id, actor_kind, millionths};
use super::sheet::{Sheet, columns};
use super::whole::{Row, Whole};

columns! {
    /// The columns of `revocations`.
    RevocationColumn {
        Seq "seq" Int always; Ts "ts" Time always; RevocationId "revocation_id" Name always;
        Selector "selector" Name always; SelectorId "selector_id" Name; Suspend "suspend" Flag always;
        Status "status" Name always; ReasonCode "reason_code" Name always; Reason "reason" Name;
        ActorId "actor_id" Name; ActorKind "actor_kind" Name always; CauseSeq "cause_seq" Int;
        LiftedAt "lifted_at" Time; LiftedSeq "lifted_seq" Int; LiftedBy "lifted_by" Name;
        EnforcedAt "enforced_at" Time; EnforcedMs "enforced_ms" Int;
        PointsAcknowledged "points_acknowledged" Int; PointsExpired "points_expired" Int;
    }
}

/// A revocation as it stands.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Revocation {
    place: Place,
    fact: RevocationIssued,
    actor_id: Option<String>,
    actor_kind: String,
    cause: Option<u64>,
    lifted: Option<Lifted>,
    enforced: Option<(Time, RevocationEnforced)>,
}

#[derive(Debug, Clone, Encode, Decode)]
struct Lifted {
    place: Place,
    actor_id: Option<String>,
}

impl Revocation {
    pub(crate) fn new(recorded: &Recorded, fact: &RevocationIssued) -> Self {
        let about = &recorded.event.about;
        Self {
            place: recorded.place,
            fact: fact.clone(),
            actor_id: actor_id(&about.actor).map(str::to_owned),
            actor_kind: actor_kind(&about.actor),
            cause: about.cause,
            lifted: None,
            enforced: None,
        }
    }

    const fn suspends(&self) -> bool {
        self.fact.suspend && !matches!(self.fact.selector, Selector::Grant(_))
    }

    fn is_held(&self, selector: &Selector) -> bool {
        self.suspends() && self.lifted.is_none() && self.fact.selector == *selector
    }
}

/// A suspension ends for every revocation that left it.
pub(crate) fn lift(
    revocations: &mut Whole<Revocation>,
    recorded: &Recorded,
    fact: &SuspensionLifted,
) {
    if !revocations.rows().iter().any(|row| row.is_held(&fact.selector)) {
        return;
    }
    let actor = actor_id(&recorded.event.about.actor).map(str::to_owned);
    for row in revocations.rows_mut().iter_mut().filter(|row| row.is_held(&fact.selector)) {
        row.lifted = Some(Lifted { place: recorded.place, actor_id: actor.clone() });
    }
}

/// What was taken back is enforced everywhere.
pub(crate) fn enforce(
    revocations: &mut Whole<Revocation>,
    recorded: &Recorded,
    fact: &RevocationEnforced,
) {
    let Some(cause) = recorded.event.about.cause else { return };
    // Rows are in the order of their events; other items of the feed have none.
    let Ok(at) = revocations.rows().binary_search_by_key(&cause, |row| row.place.index) else {
        return;
    };
    revocations.rows_mut()[at].enforced = Some((recorded.place.time, fact.clone()));
}

impl Row for Revocation {
    type Columns = RevocationColumn;

    fn write(&self, _: Time, row: &mut Sheet<RevocationColumn>) {
        use RevocationColumn as C;
        row.set(C::Seq, self.place.index);
        row.set(C::Ts, self.place.time);
        row.set(C::RevocationId, RevocationId(self.place.index));
        row.set(C::Selector, self.fact.selector.scope());
        let everything = self.fact.selector == Selector::All;
        row.set_some(C::SelectorId, (!everything).then(|| self.fact.selector.id()));
        row.set(C::Suspend, self.suspends());
        row.set(
            C::Status,
            match (self.suspends(), &self.lifted) {
                (false, _) => "done",
                (true, None) => "suspended",
                (true, Some(_)) => "lifted",
            },
        );
        row.set(C::ReasonCode, &self.fact.reason_code);
        row.set_some(C::Reason, self.fact.reason.as_ref());
        row.set_some(C::ActorId, self.actor_id.as_deref());
        row.set(C::ActorKind, self.actor_kind.as_str());
        row.set_some(C::CauseSeq, self.cause);
        row.set_some(C::LiftedAt, self.lifted.as_ref().map(|lifted| lifted.place.time));
        row.set_some(C::LiftedSeq, self.lifted.as_ref().map(|lifted| lifted.place.index));
        let lifted_by = self.lifted.as_ref().and_then(|lifted| lifted.actor_id.as_deref());
        row.set_some(C::LiftedBy, lifted_by);
        if let Some((time, enforced)) = &self.enforced {
            row.set(C::EnforcedAt, *time);
            row.set(C::EnforcedMs, u64::from(enforced.milliseconds));
            row.set(C::PointsAcknowledged, u64::from(enforced.acknowledged));
            row.set(C::PointsExpired, u64::from(enforced.expired));
        }
    }
}

columns! {
    /// The columns of `findings`.
    FindingColumn {
        Seq "seq" Int always; Ts "ts" Time always; FindingId "finding_id" Name always; Detector "detector" Name always;
        Verdict "verdict" Name always; AgentId "agent_id" Name always; OwnerId "owner_id" Name;
        TaskId "task_id" Name; Score "score" Float always; Evidence "evidence" Long always;
        Summary "summary" Name always;
    }
}

/// A finding.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Finding {
    pub(crate) place: Place,
    pub(crate) fact: FindingRaised,
    pub(crate) owner: Option<String>,
}

impl Row for Finding {
    type Columns = FindingColumn;

    fn write(&self, _: Time, row: &mut Sheet<FindingColumn>) {
        use FindingColumn as C;
        row.set(C::Seq, self.place.index);
        row.set(C::Ts, self.place.time);
        row.set(C::FindingId, FindingId(self.place.index));
        row.set(
            C::Detector,
            match self.fact.detector {
                Detector::Probing => "probing",
                Detector::BreakGlass => "break_glass",
            },
        );
        row.set(
            C::Verdict,
            match self.fact.verdict {
                Verdict::Note => "note",
                Verdict::Hold => "hold",
                Verdict::Revoke => "revoke",
            },
        );
        row.set(C::AgentId, &self.fact.agent);
        row.set_some(C::OwnerId, self.owner.as_deref());
        row.set_some(C::TaskId, self.fact.task);
        row.set(C::Score, millionths(self.fact.score));
        row.set(C::Evidence, super::events::canonical(&self.fact.evidence));
        row.set(C::Summary, &self.fact.summary);
    }
}
