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

/// One narrowing event with its number.
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

/// One narrowing event as subscribers hear it, whichever way it comes.
// INVARIANT: publishers compare what is stored with these, so the bytes of a line never change.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[schemars(title = "Item")]
pub struct Line<'a> {
    /// 1-based, contiguous over the ledger: a gap means something was missed.
    pub number: u64,
    /// Index of the event.
    pub index: u64,
    /// Link of the event.
    pub link: Link,
    /// Time of the event, Unix nanoseconds.
    pub time: Time,
    /// The ledger's name.
    pub ledger: &'a str,
    /// The event's kind, or `recheck` where policy or registry may have narrowed something.
    pub kind: &'a str,
    /// What is narrowed.
    pub selector: &'a Selector,
    /// Whether it stays suspended until lifted.
    pub suspend: bool,
    /// A word for programs.
    pub reason_code: Option<&'a Text>,
    /// Words for people.
    pub reason: Option<&'a Text>,
    /// Who did it.
    pub by: &'a Actor,
    /// Index of the event that led to it.
    pub cause: Option<u64>,
}

impl Item {
    /// The item of an event that is the `number`-th to narrow something; none when it does not.
    #[must_use]
    pub fn of(number: u64, place: Place, event: &Event) -> Option<Self> {
        let narrowing = narrowing(&event.fact)?;
        Some(Self {
            number,
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
        })
    }

    /// `<scope>.<id>`: what a subscriber of a subject-based feed filters by. An id that a subject
    /// cannot hold stands there as `h-` and the first 32 digits of its BLAKE3, `_` for everything.
    #[must_use]
    pub fn subject(&self) -> String {
        let id = self.selector.id();
        let token = match &self.selector {
            Selector::All => "_".to_owned(),
            Selector::Grant(_)
            | Selector::Agent(_)
            | Selector::Owner(_)
            | Selector::Task(_)
            | Selector::Tool(_)
            | Selector::Resource(_) => token(id),
        };
        format!("{}.{token}", self.selector.scope())
    }

    /// The item as subscribers of the ledger called `ledger` get it.
    #[must_use]
    pub fn line<'a>(&'a self, ledger: &'a str) -> Line<'a> {
        Line {
            number: self.number,
            index: self.index,
            link: self.link,
            time: self.time,
            ledger,
            kind: &self.kind,
            selector: &self.selector,
            suspend: self.suspend,
            reason_code: self.reason_code.as_ref(),
            reason: self.reason.as_ref(),
            by: &self.by,
            cause: self.cause,
        }
    }

    /// [`Item::line`] as JSON on one line.
    #[must_use]
    pub fn to_json(&self, ledger: &str) -> String {
        // An item has nothing that JSON cannot hold.
        serde_json::to_string(&self.line(ledger)).unwrap_or_default()
    }
}

/// Longest id that stands in a subject as it is.
const TOKEN_BYTES_MAX: usize = 64;
/// Hexadecimal digits of the hash of any other.
const TOKEN_HASH_DIGITS: usize = 32;

fn token(id: String) -> String {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=TOKEN_BYTES_MAX).contains(&id.len()) && id.bytes().all(allowed) {
        return id;
    }
    let hash = blake3::hash(id.as_bytes()).to_hex();
    format!("h-{}", &hash[..TOKEN_HASH_DIGITS])
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
        let Some(item) = Item::of(self.last + 1, place, event) else { return };
        self.last = item.number;
        self.kept.push_back(item);
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
        Fact::PoliciesActivated(_) | Fact::ConfigChanged(_) | Fact::SchemaPut(_) => {
            recheck(Selector::All)
        }
        Fact::AgentReassigned(fact) => {
            ends(Selector::Agent(fact.agent.clone()), false, &fact.reason)
        }
        Fact::DelegateRemoved(fact) => recheck(Selector::Owner(fact.owner.clone())),
        Fact::ToolPinned(fact) => recheck(Selector::Tool(fact.tool.clone())),
        Fact::ToolUnpinned(fact) => recheck(Selector::Tool(fact.tool.clone())),
        Fact::RiskChanged(fact) => recheck(Selector::Agent(fact.agent.clone())),
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
        | Fact::DelegateAdded(_)
        // The revocation beside it says what it ends.
        | Fact::ToolChanged(_)
        | Fact::AccessReviewed(_)
        | Fact::BreakglassUsed(_)
        | Fact::ApprovalRequested(_)
        | Fact::ApprovalGranted(_)
        | Fact::ApprovalDenied(_)
        | Fact::ApprovalExpired(_)
        | Fact::ApprovalWithdrawn(_)
        | Fact::AgentRegistered(_)
        | Fact::AgentReinstated(_)
        | Fact::PolicyPut(_)
        | Fact::PolicyRemoved(_)
        | Fact::CredentialIssued(_)
        | Fact::CredentialRevoked(_)
        | Fact::CredentialLimited(_)
        | Fact::TaskOpened(_)
        | Fact::GrantRequested(_)
        | Fact::GrantIssued(_)
        | Fact::GrantDenied(_)
        | Fact::GrantExpired(_)
        | Fact::GrantExhausted(_)
        | Fact::CallAuthorized(_)
        | Fact::CallDenied(_)
        | Fact::CallFinished(_)
        | Fact::DenialsAggregated(_)
        | Fact::QueryRun(_)
        | Fact::SegmentSealed(_)
        | Fact::CheckpointSigned(_)
        | Fact::SuspensionLifted(_)
        | Fact::RevocationEnforced(_)
        | Fact::FindingRaised(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Role;
    use crate::id::{AgentId, CredentialId, GrantId, OwnerId, Resource, TaskId, ToolId};

    fn item(selector: Selector) -> Item {
        Item {
            number: 3,
            index: 9,
            link: Link([0xab; 32]),
            time: Time(5),
            kind: "revocation.issued".to_owned(),
            selector,
            suspend: true,
            reason_code: Some(Text::new("operator").unwrap()),
            reason: None,
            by: Actor::System,
            cause: None,
        }
    }

    fn agent(id: &str) -> Selector {
        Selector::Agent(AgentId::new(id).unwrap())
    }

    #[test]
    fn a_plain_id_stands_in_the_subject_as_it_is() {
        let longest = "x".repeat(64);
        for (selector, subject) in [
            (Selector::Grant(GrantId(17)), "grant.grant_17".to_owned()),
            (agent("bot-1_A"), "agent.bot-1_A".to_owned()),
            (agent(&longest), format!("agent.{longest}")),
            (Selector::Owner(OwnerId::new("alice").unwrap()), "owner.alice".to_owned()),
            (Selector::Task(TaskId(4)), "task.task_4".to_owned()),
            (Selector::All, "all._".to_owned()),
        ] {
            assert_eq!(item(selector).subject(), subject);
        }
    }

    #[test]
    fn an_id_that_a_subject_cannot_hold_stands_there_as_its_hash() {
        // `printf crm://case/17 | b3sum`
        let resource = Selector::Resource(Resource::new("crm://case/17").unwrap());
        assert_eq!(item(resource).subject(), "resource.h-a4c2c18062bdd46529a5661553c4aaf7");
        let long = "x".repeat(65);
        let tool = |id: &str| Selector::Tool(ToolId::new(id).unwrap());
        for selector in [
            Selector::Owner(OwnerId::new("alice@example.com").unwrap()),
            agent("a.b"),
            agent(&long),
            tool("crm/read_case"),
        ] {
            let subject = item(selector.clone()).subject();
            let (scope, token) = subject.split_once('.').unwrap();
            assert_eq!(scope, selector.scope());
            let digits = token.strip_prefix("h-").unwrap();
            let hash = blake3::hash(selector.id().as_bytes()).to_hex();
            assert_eq!(digits, &hash[..32]);
        }
    }

    #[test]
    fn the_bytes_of_an_item_never_change() {
        let everything = item(Selector::All).to_json("default");
        let link = "ab".repeat(32);
        assert_eq!(
            everything,
            format!(
                r#"{{"number":3,"index":9,"link":"{link}","time":5,"ledger":"default","kind":"revocation.issued","selector":"all","suspend":true,"reason_code":"operator","reason":null,"by":"system","cause":null}}"#
            )
        );
        let by = Actor::Credential { id: CredentialId::new("desk").unwrap(), role: Role::Operator };
        let reason = Some(Text::new("a \"word\"\nand more").unwrap());
        let one = Item { by, reason, cause: Some(8), suspend: false, ..item(agent("bot")) };
        assert_eq!(
            one.to_json("eu-1"),
            format!(
                r#"{{"number":3,"index":9,"link":"{link}","time":5,"ledger":"eu-1","kind":"revocation.issued","selector":{{"agent":"bot"}},"suspend":false,"reason_code":"operator","reason":"a \"word\"\nand more","by":{{"credential":{{"id":"desk","role":"operator"}}}},"cause":8}}"#
            )
        );
    }

    #[test]
    fn a_line_is_read_as_the_item_it_was() {
        let one = item(agent("bot"));
        let read: Item = serde_json::from_str(&one.to_json("default")).unwrap();
        assert_eq!(read, one);
    }
}
