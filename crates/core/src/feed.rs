//! The revocation feed: every event that narrows what may be done, numbered without gaps
//! (`specs`: the record, section 6). The ledger is the truth; the feed is the fast way to hear it.

use std::collections::VecDeque;

use crate::event::{Actor, Entity, EntityPut, EntityRemoved, Event, Fact, Place, Selector};
use crate::id::Text;
use crate::record::hash::Link;
use crate::time::Time;

/// How many items are kept for those who resume.
pub const KEPT_MAX: usize = 65_536;

/// The `kind` of an item that ends nothing by itself: what it names is to be asked about again.
pub const RECHECK: &str = "recheck";

/// One narrowing event as subscribers hear it.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub struct Item {
    /// 1-based, contiguous over the ledger: a gap means something was missed.
    pub number: u64,
    /// Index of the event.
    pub index: u64,
    /// Link of the event.
    pub link: Link,
    /// Time of the event, Unix nanoseconds.
    pub time: Time,
    /// The event's kind, or `recheck` where policy or registry may have narrowed something.
    pub kind: String,
    /// What is narrowed.
    pub selector: Selector,
    /// Whether it stays suspended until lifted.
    pub suspend: bool,
    /// A word for programs.
    pub reason_code: Option<Text>,
    /// Words for people.
    pub reason: Option<Text>,
    /// Who did it.
    pub by: Actor,
    /// Index of the event that led to it.
    pub cause: Option<u64>,
}

/// The feed of one ledger.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub struct Feed {
    last: u64,
    kept: VecDeque<Item>,
}

/// A subscriber asked to resume from a number that the feed cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// Items after the number are no longer kept; start again from the current state.
    #[error("items after {after} are no longer kept, the oldest kept is {oldest}")]
    TooOld {
        /// The number asked for.
        after: u64,
        /// The oldest that is kept.
        oldest: u64,
    },
    /// The number has not been given yet.
    #[error("number {after} has not been given yet, the last is {last}")]
    Future {
        /// The number asked for.
        after: u64,
        /// The last that was given.
        last: u64,
    },
}

impl Feed {
    /// Number of the last item; 0 when there was none.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Items after a number, in order.
    ///
    /// # Errors
    /// [`ResumeError`] when they are not all there: nothing is ever skipped in silence.
    pub fn after(&self, after: u64) -> Result<impl Iterator<Item = &Item>, ResumeError> {
        if after > self.last {
            return Err(ResumeError::Future { after, last: self.last });
        }
        let oldest = self.kept.front().map_or(self.last + 1, |item| item.number);
        if after + 1 < oldest {
            return Err(ResumeError::TooOld { after, oldest });
        }
        // Numbers have no gaps, so the number is the place.
        let skipped = usize::try_from(after + 1 - oldest).unwrap_or(usize::MAX);
        Ok(self.kept.range(skipped.min(self.kept.len())..))
    }

    /// The item of the event at `index`, if that event narrowed something and is still kept.
    #[must_use]
    pub fn of_event(&self, index: u64) -> Option<&Item> {
        let at = self.kept.binary_search_by_key(&index, |item| item.index).ok()?;
        self.kept.get(at)
    }

    pub(crate) fn take(&mut self, place: Place, event: &Event) {
        let Some(narrowing) = narrowing(&event.fact) else { return };
        self.last += 1;
        self.kept.push_back(Item {
            number: self.last,
            index: place.index,
            link: place.link,
            time: place.time,
            kind: narrowing.kind.unwrap_or_else(|| event.fact.name()).to_owned(),
            selector: narrowing.selector,
            suspend: narrowing.suspend,
            reason_code: narrowing.reason_code,
            reason: narrowing.reason,
            by: event.about.actor.clone(),
            cause: event.about.cause,
        });
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
    }
}

struct Narrowing {
    kind: Option<&'static str>,
    selector: Selector,
    suspend: bool,
    reason_code: Option<Text>,
    reason: Option<Text>,
}

/// What an event narrows, if anything.
fn narrowing(fact: &Fact) -> Option<Narrowing> {
    let ends = |selector, suspend, reason: &Option<Text>| {
        let reason = reason.clone();
        Some(Narrowing { kind: None, selector, suspend, reason_code: None, reason })
    };
    let recheck = |selector| {
        let (reason_code, reason) = (None, None);
        Some(Narrowing { kind: Some(RECHECK), selector, suspend: false, reason_code, reason })
    };
    match fact {
        Fact::RevocationIssued(fact) => Some(Narrowing {
            kind: None,
            selector: fact.selector.clone(),
            suspend: fact.suspend,
            reason_code: Some(fact.reason_code.clone()),
            reason: fact.reason.clone(),
        }),
        Fact::OwnerDisabled(fact) => ends(Selector::Owner(fact.owner.clone()), true, &fact.reason),
        Fact::AgentSuspended(fact) => ends(Selector::Agent(fact.agent.clone()), true, &fact.reason),
        Fact::AgentRetired(fact) => ends(Selector::Agent(fact.agent.clone()), true, &fact.reason),
        Fact::TaskClosed(fact) => ends(Selector::Task(fact.task), true, &fact.reason),
        Fact::GrantReturned(fact) => ends(Selector::Grant(fact.grant), false, &None),
        Fact::OwnerUpdated(fact) => recheck(Selector::Owner(fact.owner.clone())),
        Fact::AgentUpdated(fact) => recheck(Selector::Agent(fact.agent.clone())),
        Fact::PoliciesActivated(_) => recheck(Selector::All),
        Fact::EntityPut(EntityPut { entity, .. })
        | Fact::EntityRemoved(EntityRemoved { entity }) => recheck(match entity {
            Entity::Owner(id) => Selector::Owner(id.clone()),
            Entity::Agent(id) => Selector::Agent(id.clone()),
            Entity::Resource(id) => Selector::Resource(id.clone()),
        }),
        Fact::LedgerCreated(_)
        | Fact::WriterStarted(_)
        | Fact::KeyRotated(_)
        | Fact::OwnerRegistered(_)
        | Fact::OwnerEnabled(_)
        | Fact::AgentRegistered(_)
        | Fact::AgentReinstated(_)
        | Fact::PolicyPut(_)
        | Fact::PolicyRemoved(_)
        | Fact::CredentialIssued(_)
        | Fact::CredentialRevoked(_)
        | Fact::TaskOpened(_)
        | Fact::GrantRequested(_)
        | Fact::GrantIssued(_)
        | Fact::GrantDenied(_)
        | Fact::GrantExpired(_)
        | Fact::GrantExhausted(_)
        | Fact::CallAuthorized(_)
        | Fact::CallDenied(_)
        | Fact::CallFinished(_)
        | Fact::SuspensionLifted(_)
        | Fact::RevocationEnforced(_)
        | Fact::FindingRaised(_) => None,
    }
}
