//! The feed's items by number: the newest as the committed state keeps them, older ones made again
//! from the ledger's events.

use std::collections::VecDeque;
use std::sync::Arc;

use bailiwick_core::feed::{Item, ResumeError};
use tokio::sync::watch;

use crate::Error;
use crate::tail::{Follower, Tail};

/// Reads items after a number from the committed state, a bounded number of them.
pub(crate) type Kept = Box<dyn Fn(u64, usize) -> Result<Vec<Item>, ResumeError> + Send>;

/// Where items come from.
pub(super) struct Items {
    kept: Kept,
    tail: Arc<Tail>,
    /// Where making items again has got to, if it is being done.
    again: Option<Again>,
    stopping: watch::Receiver<bool>,
}

/// Items that are made again: a number is the ordinal of an event that narrows something, so they
/// are counted from the ledger's first event.
struct Again {
    follower: Follower,
    /// How many were counted.
    counted: u64,
    /// The last of them that were not asked for yet.
    ready: VecDeque<Item>,
}

impl Items {
    pub(super) fn new(kept: Kept, tail: Arc<Tail>, stopping: watch::Receiver<bool>) -> Self {
        Self { kept, tail, again: None, stopping }
    }

    /// Durable items after `number`, in order, at most `most`; none when there are none yet.
    ///
    /// # Errors
    /// [`Error`] when the log cannot be read, or the wait is over because the ledger closes.
    pub(super) fn after(&mut self, number: u64, most: usize) -> Result<Vec<Item>, Error> {
        match (self.kept)(number, most) {
            Ok(items) => {
                self.again = None;
                Ok(items)
            }
            Err(ResumeError::Future { .. }) => Ok(Vec::new()),
            Err(ResumeError::TooOld { .. }) => self.made_again(number, most),
        }
    }

    /// The item with a number, at least 1; none when it has not been given yet.
    ///
    /// # Errors
    /// As [`Items::after`].
    pub(super) fn at(&mut self, number: u64) -> Result<Option<Item>, Error> {
        Ok(self.after(number.saturating_sub(1), 1)?.pop())
    }

    fn made_again(&mut self, number: u64, most: usize) -> Result<Vec<Item>, Error> {
        let tail = &self.tail;
        let from_start = || Again {
            follower: Follower::new(Arc::clone(tail), 0),
            counted: 0,
            ready: VecDeque::new(),
        };
        let again = self.again.get_or_insert_with(from_start);
        if again.next() > number + 1 {
            *again = from_start();
        }
        again.ready.retain(|item| item.number > number);
        while again.ready.len() < most {
            if *self.stopping.borrow() {
                return Err(Error::Unavailable { what: "the ledger closes".to_owned() });
            }
            if !again.read_on(number)? {
                break;
            }
        }
        Ok(again.ready.iter().take(most).cloned().collect())
    }
}

impl Again {
    /// The first number that can still be served.
    fn next(&self) -> u64 {
        self.ready.front().map_or(self.counted + 1, |item| item.number)
    }

    /// Counts an entry's items and keeps those after `number`; false when there is no further entry.
    fn read_on(&mut self, number: u64) -> Result<bool, Error> {
        let Some(entry) = self.follower.try_next()? else { return Ok(false) };
        for recorded in &entry.events {
            let item = Item::of(self.counted + 1, recorded.place, &recorded.event);
            self.counted += u64::from(item.is_some());
            self.ready.extend(item.filter(|item| item.number > number));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_core::command::{Answer, Command, Revoke, Submission};
    use bailiwick_core::event::{Actor, Selector};
    use bailiwick_core::id::Resource;

    use super::*;
    use crate::home::Home;
    use crate::log::Log;
    use crate::log::embedded::Embedded;
    use crate::tail::Head;
    use crate::{Config, Ledger, Store};

    const ITEMS: usize = 60;

    /// A closed ledger with [`ITEMS`] items among other events, and its items.
    async fn ledger(dir: &std::path::Path) -> (Arc<Tail>, Vec<Item>) {
        let config = Config {
            home: dir.to_owned(),
            store: Store::Embedded,
            name: "test".parse().unwrap(),
            trust_head: false,
            trust_clock: false,
            linger: std::time::Duration::ZERO,
        };
        let ledger = Ledger::open(&config, |_| {}).unwrap();
        let submit = async |command| {
            let (actor, request, trace) = (Actor::System, None, None);
            let submission = Submission { actor, request, trace, command };
            assert!(matches!(ledger.submit(submission).await.answer, Answer::Done(_)));
        };
        for number in 0..ITEMS {
            let resource = Resource::new(&format!("crm://case/{number}")).unwrap();
            let selector = Selector::Resource(resource);
            let (grants_only, reason_code, reason) = (false, None, None);
            let revoke = Revoke { selector: selector.clone(), grants_only, reason_code, reason };
            submit(Command::Revoke(revoke)).await;
            submit(Command::Lift { selector, reason: None }).await;
        }
        let items = ledger.read(|state| state.feed().after(0).unwrap().cloned().collect());
        let head = *ledger.committed().borrow();
        ledger.close();
        drop(ledger);
        let log = Embedded::open(&Home::open(dir).unwrap().log_dir()).unwrap();
        let head = Head { entry: log.reader().head().unwrap(), ..head };
        (Arc::new(Tail::new(log.reader(), head)), items)
    }

    /// As a committed state that keeps only what comes after `oldest`.
    fn kept_after(items: &[Item], dropped: usize) -> Kept {
        let items = items.to_vec();
        Box::new(move |after, most| {
            let (last, from) = (items.len() as u64, usize::try_from(after).unwrap());
            if after > last {
                return Err(ResumeError::Future { after, last });
            }
            if from < dropped {
                return Err(ResumeError::TooOld { after, oldest: dropped as u64 + 1 });
            }
            Ok(items[from..].iter().take(most).cloned().collect())
        })
    }

    #[tokio::test]
    async fn items_that_are_not_kept_are_made_again_from_the_events() {
        let dir = tempfile::tempdir().unwrap();
        let (tail, items) = ledger(dir.path()).await;
        assert_eq!(items.len(), ITEMS);
        for dropped in [0, 1, 7, ITEMS - 1, ITEMS] {
            let (_stopping, stop) = watch::channel(false);
            let kept = kept_after(&items, dropped);
            let mut source = Items::new(kept, Arc::clone(&tail), stop);
            // In order, by pieces, as a publisher goes on.
            let mut found: Vec<Item> = Vec::new();
            loop {
                let piece = source.after(found.len() as u64, 8).unwrap();
                if piece.is_empty() {
                    break;
                }
                assert!(piece.len() <= 8);
                found.extend(piece);
            }
            assert_eq!(found, items, "{dropped}");
            // And from anywhere, backwards too.
            for at in [3_usize, 60, 1, 30, 2, 59] {
                let found = source.at(at as u64).unwrap();
                assert_eq!(found.as_ref(), items.get(at - 1), "{at}");
            }
            assert_eq!(source.at(ITEMS as u64 + 1).unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_ledger_that_closes_does_not_wait_for_items_to_be_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (tail, items) = ledger(dir.path()).await;
        let (stopping, stop) = watch::channel(false);
        let mut source = Items::new(kept_after(&items, ITEMS), tail, stop);
        stopping.send_replace(true);
        assert!(source.after(0, 8).is_err());
    }
}
