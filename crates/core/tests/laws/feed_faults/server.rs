//! The ledger's side of the feed: what has happened so far, and what it can still tell.

use std::rc::Rc;

use bailiwick_core::event::{Call, Selector};
use bailiwick_core::feed::{Item, RECHECK, ResumeError};
use bailiwick_core::id::GrantId;

use super::super::history::Story;
use super::super::oracle::{allowed, lies_under};

/// Something that real commands put on a ledger and that matters here.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Narrowed(Rc<Item>),
    Authorized { index: u64, grant: GrantId, call: Rc<Call> },
}

impl Happening {
    fn index(&self) -> u64 {
        match self {
            Self::Narrowed(item) => item.index,
            Self::Authorized { index, .. } => *index,
        }
    }
}

/// What of a story's events matters here, in order.
pub(super) fn happenings(story: &Story) -> Vec<Happening> {
    let feed = story.ledger.state.feed();
    let items = feed.after(0).unwrap().cloned().map(|item| Happening::Narrowed(Rc::new(item)));
    let calls = story.ledger.log.iter().filter_map(|recorded| {
        let (call, grant) = allowed(&recorded.event.fact)?;
        let call = Rc::new(call.clone());
        Some(Happening::Authorized { index: recorded.place.index, grant, call })
    });
    let mut all: Vec<Happening> = items.chain(calls).collect();
    all.sort_by_key(Happening::index);
    all
}

/// A server with a part of a history behind it and the rest before it.
pub(super) struct Server<'a> {
    history: &'a [Happening],
    /// How much of the history has happened.
    at: usize,
    items: Vec<Rc<Item>>,
    /// The oldest number that it can still tell.
    oldest: u64,
    /// How often it was set back. What happens after is something else each time.
    pub(super) branch: usize,
}

impl<'a> Server<'a> {
    pub(super) fn new(history: &'a [Happening], at: usize) -> Self {
        let items = history[..at].iter().filter_map(|happening| match happening {
            Happening::Narrowed(item) => Some(Rc::clone(item)),
            Happening::Authorized { .. } => None,
        });
        Self { history, at, items: items.collect(), oldest: 1, branch: 0 }
    }

    /// Number of the last item.
    pub(super) fn last(&self) -> u64 {
        self.items.len() as u64
    }

    /// The next thing that would happen.
    pub(super) fn next(&self) -> Option<&'a Happening> {
        self.history.get(self.at)
    }

    /// It happens; gives the item, if it is one.
    pub(super) fn advance(&mut self) -> Option<Rc<Item>> {
        let happening = self.next()?;
        self.at += 1;
        let Happening::Narrowed(item) = happening else { return None };
        let mut item = Rc::clone(item);
        if self.branch > 0 {
            let other = Rc::make_mut(&mut item);
            other.number = self.last() + 1;
            other.selector = self.selector_elsewhere(self.at + 7 * self.branch);
        }
        self.items.push(Rc::clone(&item));
        Some(item)
    }

    fn selector_elsewhere(&self, at: usize) -> Selector {
        let items = self.history.iter().cycle().skip(at % self.history.len());
        let mut selectors = items.filter_map(|happening| match happening {
            Happening::Narrowed(item) => Some(item.selector.clone()),
            Happening::Authorized { .. } => None,
        });
        selectors.next().unwrap()
    }

    /// Items after a number, as `Feed::after` gives them.
    pub(super) fn after(&self, after: u64) -> Result<&[Rc<Item>], ResumeError> {
        if after > self.last() {
            return Err(ResumeError::Future { after, last: self.last() });
        }
        if after + 1 < self.oldest {
            return Err(ResumeError::TooOld { after, oldest: self.oldest });
        }
        Ok(&self.items[after as usize..])
    }

    /// Keeps only the newest items, at most so many.
    pub(super) fn truncate(&mut self, kept: u64) {
        self.oldest = self.oldest.max((self.last() + 1).saturating_sub(kept));
    }

    /// Loses the last items with everything that happened since; gives the index from which on
    /// everything is lost.
    pub(super) fn set_back(&mut self, items: u64) -> u64 {
        self.items.truncate(self.items.len() - items.min(self.last()) as usize);
        let after = self.items.last().map_or(0, |item| item.index);
        self.at = self.history.iter().take_while(|happening| happening.index() <= after).count();
        self.oldest = self.oldest.min(self.last() + 1);
        self.branch += 1;
        after + 1
    }

    /// The latest item that ended what was authorized at `index`, from all that there are.
    pub(super) fn ended_by(&self, index: u64, grant: GrantId, call: &Call) -> Option<&Item> {
        let later = self.items.iter().rev().take_while(|item| item.index > index);
        later.map(Rc::as_ref).find(|item| ends(item, grant, call))
    }
}

/// Whether an item ends calls like this one that were authorized before it. What is not known of a
/// call counts as named.
pub(super) fn ends(item: &Item, grant: GrantId, call: &Call) -> bool {
    let named = match &item.selector {
        Selector::Grant(id) => *id == grant,
        Selector::Agent(id) => call.agent.as_ref() == Some(id),
        Selector::Owner(id) => call.owner.as_ref().is_none_or(|owner| owner == id),
        Selector::Task(id) => call.task.is_none_or(|task| task == *id),
        Selector::Tool(id) => call.tool.as_ref() == Some(id) || call.action.as_str() == id.as_str(),
        Selector::Resource(root) => lies_under(&call.resource, root),
        Selector::All => true,
    };
    named && item.kind != RECHECK
}
