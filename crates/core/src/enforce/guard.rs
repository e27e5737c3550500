//! The enforcement point's side: what it has heard, how long its lease lasts, and whether what it
//! holds is still good.

use std::collections::VecDeque;

use super::Monotonic;
use super::narrowed::{Key, Narrowed, Narrowings};
use crate::event::{DenialCode, Selector};
use crate::feed::{Item, RECHECK};
use crate::id::{Action, AgentId, GrantId, OwnerId, Resource, TaskId, ToolId};
use crate::time::Span;

/// How many selectors a guard remembers as narrowed; beyond them, receipts from before the newest
/// item are no longer good.
pub const NARROWED_MAX: usize = 65_536;
/// How many pings may be without an answer, or wait for items, at once; the oldest are given up.
pub const PINGS_MAX: usize = 32;

/// What makes an answer the answer to one ping: drawn at random by the point, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u128);

/// Everything that a selector may name about a call. What is not known counts as named.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The grant that is used.
    pub grant: GrantId,
    /// Who acts; none for a person.
    pub agent: Option<&'a AgentId>,
    /// On whose behalf.
    pub owner: Option<&'a OwnerId>,
    /// Under which task.
    pub task: Option<TaskId>,
    /// Through which tool.
    pub tool: Option<&'a ToolId>,
    /// To do what.
    pub action: &'a Action,
    /// To what.
    pub resource: &'a Resource,
}

/// A receipt that a point holds, made ready for [`Guard::may_start`] and [`Guard::may_go_on`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    index: u64,
    asked: Monotonic,
    /// Every selector that names the call, but for owners and tasks that are not known.
    named_by: Vec<Key>,
    knows_owner: bool,
    knows_task: bool,
}

impl Held {
    /// The receipt of the event at `index`, for a question that was sent at `asked`.
    #[must_use]
    pub fn new(index: u64, asked: Monotonic, subject: &Subject<'_>) -> Self {
        let mut named_by = vec![Selector::All, Selector::Grant(subject.grant)];
        named_by.extend(subject.agent.cloned().map(Selector::Agent));
        named_by.extend(subject.owner.cloned().map(Selector::Owner));
        named_by.extend(subject.task.map(Selector::Task));
        named_by.extend(subject.tool.cloned().map(Selector::Tool));
        let acts_as = ToolId::new(subject.action.as_str()).ok();
        named_by.extend(acts_as.filter(|tool| subject.tool != Some(tool)).map(Selector::Tool));
        named_by.extend(subject.resource.prefixes().map(Selector::Resource));
        let named_by = named_by.iter().map(Key::of).collect();
        let (knows_owner, knows_task) = (subject.owner.is_some(), subject.task.is_some());
        Self { index, asked, named_by, knows_owner, knows_task }
    }

    /// The same, ended as well by whatever else it rests on.
    #[must_use]
    pub fn resting_on(mut self, selectors: &[Selector]) -> Self {
        self.named_by.extend(selectors.iter().map(Key::of));
        self
    }

    /// When the question was sent.
    #[must_use]
    pub const fn asked(&self) -> Monotonic {
        self.asked
    }
}

/// Why something that was allowed is no longer good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    /// The lease has run out, or there was none yet.
    Lease,
    /// Items are missing and have not come yet.
    Behind,
    /// The receipt is older than a lease: it starts nothing any more.
    Late,
    /// Items that may have named it were missed for good, or are no longer remembered.
    Unsure,
    /// An item named it.
    Narrowed {
        /// Whether what the item named stays suspended.
        suspend: bool,
    },
}

impl Ended {
    /// The denial code that says so.
    #[must_use]
    pub const fn code(self) -> DenialCode {
        match self {
            Self::Lease | Self::Behind | Self::Late | Self::Unsure => DenialCode::Unavailable,
            Self::Narrowed { suspend: true } => DenialCode::Suspended,
            Self::Narrowed { suspend: false } => DenialCode::GrantRevoked,
        }
    }
}

/// What an item from the feed was to a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Heard {
    /// The next one.
    Next,
    /// One that was heard before.
    Again,
    /// One that comes too early: those after this number, up to it, are missing.
    Gap {
        /// The last number before the hole.
        after: u64,
    },
}

/// A ping without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sent {
    nonce: Nonce,
    at: Monotonic,
    /// What was applied when it went out.
    applied: Option<u64>,
}

/// What one enforcement point knows. It never starts anything by itself: it can only say that what
/// was allowed is still good, or that it is not.
///
/// INVARIANT: `applied` only grows by one item at a time, or is set anew with `whole_since`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guard {
    lease: Span,
    /// Every item up to this number has been applied; none before the feed's position is known.
    applied: Option<u64>,
    /// The highest number that the feed itself has shown.
    shown: u64,
    /// Since when no item has been missed: what was asked before may have ended unheard.
    whole_since: Monotonic,
    /// When the ping was sent that the lease counts from.
    renewed: Option<Monotonic>,
    /// Pings without an answer, the newest last.
    sent: VecDeque<Sent>,
    /// Answered pings that wait until a number is applied, the newest last.
    answered: VecDeque<(u64, Monotonic)>,
    narrowed: Narrowings,
    newest: Option<Narrowed>,
    newest_owner: Option<Narrowed>,
    newest_task: Option<Narrowed>,
    /// Receipts of events up to this index are no longer good: what ended them is forgotten.
    forgotten: Option<u64>,
}

impl Guard {
    /// A guard that has heard nothing: everything is denied.
    #[must_use]
    pub const fn new(lease: Span) -> Self {
        Self {
            lease,
            applied: None,
            shown: 0,
            whole_since: Monotonic(0),
            renewed: None,
            sent: VecDeque::new(),
            answered: VecDeque::new(),
            narrowed: Narrowings::new(),
            newest: None,
            newest_owner: None,
            newest_task: None,
            forgotten: None,
        }
    }

    /// The feed stands at `number`, as a sign of life from the feed itself says. The first one is
    /// where a guard begins; a later one may show that items are missing.
    pub fn stands_at(&mut self, number: u64, now: Monotonic) {
        if self.applied.is_none() {
            self.begin(number, now);
        }
        self.shown = self.shown.max(number);
    }

    /// Items were missed and will not come: begins anew at `number`, where that is known. What was
    /// asked before is no longer good.
    pub fn missed(&mut self, number: Option<u64>, now: Monotonic) {
        self.renewed = None;
        self.answered.clear();
        // Pings on their way were sent before the miss was known, and count from then: no good.
        self.sent.clear();
        self.applied = None;
        self.shown = 0;
        self.whole_since = now;
        if let Some(number) = number {
            self.begin(number, now);
        }
    }

    fn begin(&mut self, number: u64, now: Monotonic) {
        self.applied = Some(number);
        self.shown = number;
        self.whole_since = now;
        // Only what is asked from now on is good, and the ledger knew of these when it answers. Where
        // it was set back, their indices would end what they do not name.
        self.narrowed.clear();
        (self.newest, self.newest_owner, self.newest_task) = (None, None, None);
        self.forgotten = None;
        self.renew_up_to(number);
    }

    /// Takes one item in. Whatever holds receipts looks at them again when this returns.
    pub fn hear(&mut self, item: &Item, now: Monotonic) -> Heard {
        let Some(applied) = self.applied else {
            self.begin(item.number, now);
            self.narrow(item);
            return Heard::Next;
        };
        if item.number <= applied {
            return Heard::Again;
        }
        // What it ends, it ends, even where others are missing.
        self.narrow(item);
        self.shown = self.shown.max(item.number);
        if item.number > applied + 1 {
            return Heard::Gap { after: applied };
        }
        self.applied = Some(item.number);
        self.renew_up_to(item.number);
        Heard::Next
    }

    fn narrow(&mut self, item: &Item) {
        // It asks for a new decision at the next call and ends nothing that was decided.
        if item.kind == RECHECK {
            return;
        }
        let one = Narrowed { index: item.index, suspend: item.suspend };
        let newest = [
            Some(&mut self.newest),
            matches!(item.selector, Selector::Owner(_)).then_some(&mut self.newest_owner),
            matches!(item.selector, Selector::Task(_)).then_some(&mut self.newest_task),
        ];
        for newest in newest.into_iter().flatten() {
            *newest = (*newest).max(Some(one));
        }
        self.narrowed.hear(Key::of(&item.selector), one);
        if self.narrowed.len() > NARROWED_MAX {
            self.narrowed.clear();
            self.forgotten = self.newest.map(|newest| newest.index);
        }
    }

    /// Every item up to this number has been applied: what to acknowledge.
    #[must_use]
    pub const fn applied(&self) -> Option<u64> {
        self.applied
    }

    /// Whether the feed has shown a number whose item has not come.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.applied.is_none_or(|applied| applied < self.shown)
    }

    /// A ping goes out.
    pub fn pinged(&mut self, nonce: Nonce, now: Monotonic) {
        self.sent.push_back(Sent { nonce, at: now, applied: self.applied });
        if self.sent.len() > PINGS_MAX {
            self.sent.pop_front();
        }
    }

    /// A ping was answered by the writer, whose feed stood at `number`. False when it renews nothing:
    /// it was not ours, was given up, or is from a writer that knows less than this point did when it
    /// asked, because it was overtaken or has lost a part of the ledger.
    pub fn ponged(&mut self, nonce: Nonce, number: u64) -> bool {
        let Some(at) = self.sent.iter().position(|sent| sent.nonce == nonce) else { return false };
        let Some(Sent { at: sent, applied, .. }) = self.sent.remove(at) else { return false };
        if applied.is_some_and(|applied| applied > number) {
            return false;
        }
        if self.applied.is_some_and(|applied| applied >= number) {
            self.renew(sent);
            return true;
        }
        let at = self.answered.partition_point(|(waits, _)| *waits <= number);
        self.answered.insert(at, (number, sent));
        if self.answered.len() > PINGS_MAX {
            self.answered.pop_front();
        }
        true
    }

    /// Every item up to `number` has been applied: answers that waited for them count.
    fn renew_up_to(&mut self, number: u64) {
        while let Some((_, sent)) = self.answered.pop_front_if(|(waits, _)| *waits <= number) {
            self.renew(sent);
        }
    }

    fn renew(&mut self, sent: Monotonic) {
        self.renewed = self.renewed.max(Some(sent));
    }

    /// Until when the lease lasts; none when there is none.
    #[must_use]
    pub fn lease_ends(&self) -> Option<Monotonic> {
        self.renewed.map(|sent| sent.after(self.lease))
    }

    /// Whether the lease lasts.
    #[must_use]
    pub fn is_alive(&self, now: Monotonic) -> bool {
        self.lease_ends().is_some_and(|ends| now < ends)
    }

    /// Whether anything may be asked and started at all.
    ///
    /// # Errors
    /// [`Ended::Lease`] or [`Ended::Behind`].
    pub fn may_ask(&self, now: Monotonic) -> Result<(), Ended> {
        if !self.is_alive(now) {
            return Err(Ended::Lease);
        }
        if self.is_behind() {
            return Err(Ended::Behind);
        }
        Ok(())
    }

    /// Whether what `held` allows may be started now.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_start(&self, held: &Held, now: Monotonic) -> Result<(), Ended> {
        self.may_ask(now)?;
        if now >= held.asked.after(self.lease) {
            return Err(Ended::Late);
        }
        self.not_narrowed(held)
    }

    /// Whether what was started under `held` may go on.
    ///
    /// # Errors
    /// Why it is to be cut.
    pub fn may_go_on(&self, held: &Held, now: Monotonic) -> Result<(), Ended> {
        if !self.is_alive(now) {
            return Err(Ended::Lease);
        }
        self.not_narrowed(held)
    }

    fn not_narrowed(&self, held: &Held) -> Result<(), Ended> {
        if held.asked < self.whole_since {
            return Err(Ended::Unsure);
        }
        let since = |newest: Option<Narrowed>| newest.filter(|newest| newest.index > held.index);
        if since(self.newest).is_none() {
            return Ok(());
        }
        let unknown_owner = since(self.newest_owner).filter(|_| !held.knows_owner);
        let unknown_task = since(self.newest_task).filter(|_| !held.knows_task);
        let known = held.named_by.iter().filter_map(|key| since(self.narrowed.get(*key)));
        if let Some(by) = known.chain(unknown_owner).chain(unknown_task).max() {
            return Err(Ended::Narrowed { suspend: by.suspend });
        }
        match self.forgotten {
            Some(index) if held.index <= index => Err(Ended::Unsure),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
