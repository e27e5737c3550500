//! The newest items of the feed, laid out once as they are sent to everyone.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use axum::body::Bytes;
use bailiwick_core::feed::Item;
use bailiwick_ledger::Ledger;
use futures::FutureExt as _;
use futures::future::{Either, select};
use tokio::sync::{Semaphore, watch};

use super::{PIECE_MAX, STREAMS_MAX};

/// Items kept ready to be sent; older ones come from the committed state.
const FRAMES_MAX: usize = 4_096;

/// Where the feed stands, with its newest items as they are sent.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(super) ledger: Arc<str>,
    frames: Arc<RwLock<Frames>>,
    /// The number of the newest item; moves when there is more, or nothing ever again.
    pub(super) number: Arc<watch::Sender<u64>>,
    /// How many more streams may be opened.
    pub(super) places: Arc<Semaphore>,
}

/// Laid-out items with contiguous numbers, the newest last.
#[derive(Debug, Default)]
struct Frames {
    last: u64,
    kept: VecDeque<Bytes>,
    /// Nobody adds any more: whoever listens must not take silence for peace.
    ended: bool,
}

/// What comes behind a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Frames up to a number.
    Piece(Vec<u8>, u64),
    /// Nothing yet.
    Nothing,
    /// Items that are not among the newest.
    Older,
    /// Nothing ever again.
    End,
}

impl Frames {
    fn push(&mut self, number: u64, frame: Bytes) {
        debug_assert_eq!(number, self.last + 1, "the feed has no gaps");
        self.last = number;
        self.kept.push_back(frame);
        if self.kept.len() > FRAMES_MAX {
            self.kept.pop_front();
        }
    }

    fn after(&self, number: u64) -> Next {
        if self.ended {
            return Next::End;
        }
        let Some(behind) = self.last.checked_sub(number).filter(|behind| *behind > 0) else {
            return Next::Nothing;
        };
        let behind = usize::try_from(behind).unwrap_or(usize::MAX);
        let Some(skip) = self.kept.len().checked_sub(behind) else { return Next::Older };
        let piece: Vec<&[u8]> =
            self.kept.iter().skip(skip).take(PIECE_MAX).map(AsRef::as_ref).collect();
        Next::Piece(piece.concat(), number + piece.len() as u64)
    }
}

impl Position {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        let last = ledger.read(|state| state.feed().last());
        Self {
            ledger: ledger.info().name.into(),
            frames: Arc::new(RwLock::new(Frames { last, ..Frames::default() })),
            number: Arc::new(watch::Sender::new(last)),
            places: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// Follows the ledger until the server closes; blocks.
    pub(crate) fn follow(&self, ledger: &Ledger, mut closing: watch::Receiver<bool>) {
        let _ends = Ends(self);
        let mut committed = ledger.committed();
        loop {
            let last = *self.number.borrow();
            let head = *committed.borrow_and_update();
            let (new, next_index) = ledger.read(|state| {
                let feed = state.feed();
                let new = feed.after(last).map(|items| items.cloned().collect());
                (new.map_err(|_| feed.last()), state.next_index())
            });
            match new {
                Ok(items) => self.take(items),
                Err(last) => self.skip(last),
            }
            if next_index < head.next_index && !*closing.borrow() {
                // The state that is read has not come as far as the ledger: reading waits for it.
                continue;
            }
            let closes = closing.wait_for(|closing| *closing).boxed();
            let commits = committed.changed().boxed();
            match futures::executor::block_on(select(commits, closes)) {
                Either::Left((Ok(()), _)) => {}
                Either::Left((Err(_), _)) | Either::Right(_) => return,
            }
        }
    }

    /// The ledger's name.
    pub(crate) fn ledger(&self) -> &str {
        &self.ledger
    }

    /// The number of the newest item; none when nobody follows the ledger any more.
    pub(crate) fn stands_at(&self) -> Option<u64> {
        let frames = self.frames.read().unwrap_or_else(PoisonError::into_inner);
        (!frames.ended).then_some(frames.last)
    }

    fn frames(&self) -> RwLockWriteGuard<'_, Frames> {
        self.frames.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, items: Vec<Item>) {
        let Some(last) = items.last().map(|item| item.number) else { return };
        let mut frames = self.frames();
        for item in &items {
            frames.push(item.number, frame(&self.ledger, item));
        }
        drop(frames);
        self.number.send_replace(last);
    }

    /// Goes on at a later number. Streams look for what comes before it in the committed state and
    /// end where it is no longer there.
    fn skip(&self, last: u64) {
        tracing::error!(last, "the revocation stream fell behind what the feed keeps");
        *self.frames() = Frames { last, ..Frames::default() };
        self.number.send_replace(last);
    }

    /// What comes behind a number.
    pub(super) fn after(&self, number: u64) -> Next {
        self.frames.read().unwrap_or_else(PoisonError::into_inner).after(number)
    }
}

/// Ends every stream when the thread that follows the feed does, however it does.
struct Ends<'a>(&'a Position);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.frames().ended = true;
        self.0.number.send_modify(|_| {});
    }
}

pub(super) fn frame(ledger: &str, item: &Item) -> Bytes {
    // JSON on one line has no line breaks.
    let data = item.to_json(ledger);
    format!("id: {}\nevent: revocation\ndata: {data}\n\n", item.number).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(from: u64, to: u64) -> Frames {
        let mut frames = Frames { last: from, ..Frames::default() };
        for number in from + 1..=to {
            frames.push(number, format!("{number};").into());
        }
        frames
    }

    #[test]
    fn what_comes_behind_a_number_comes_in_order_and_in_pieces() {
        let frames = frames(10, 13);
        assert_eq!(frames.after(10), Next::Piece(b"11;12;13;".to_vec(), 13));
        assert_eq!(frames.after(12), Next::Piece(b"13;".to_vec(), 13));
        assert_eq!(frames.after(13), Next::Nothing);
        assert_eq!(frames.after(14), Next::Nothing);
        assert_eq!(frames.after(9), Next::Older);
        let many = self::frames(0, 1_000);
        let Next::Piece(_, last) = many.after(0) else { panic!("nothing came") };
        assert_eq!(last, PIECE_MAX as u64);
    }

    #[test]
    fn only_the_newest_are_kept_ready() {
        let most = FRAMES_MAX as u64;
        let frames = frames(0, most + 5);
        assert_eq!(frames.after(4), Next::Older);
        assert!(matches!(frames.after(5), Next::Piece(..)));
    }

    #[test]
    fn a_feed_that_nobody_follows_ends() {
        let mut frames = frames(0, 3);
        frames.ended = true;
        assert_eq!(frames.after(0), Next::End);
    }

    #[test]
    fn an_item_is_one_event_with_its_number() {
        let item: Item = serde_json::from_value(serde_json::json!({
            "number": 3, "index": 9, "link": "ab".repeat(32), "time": 5, "kind": "revocation.issued",
            "selector": "all", "suspend": true, "reason_code": "operator", "reason": "a\nb",
            "by": "system", "cause": null,
        }))
        .unwrap();
        let frame = String::from_utf8(frame("default", &item).to_vec()).unwrap();
        let lines: Vec<_> = frame.lines().collect();
        assert_eq!(lines[..2], ["id: 3", "event: revocation"]);
        let data: serde_json::Value =
            serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&data["ledger"], &data["number"]), (&"default".into(), &3.into()));
        assert_eq!(lines[3..], [""]);
    }
}
