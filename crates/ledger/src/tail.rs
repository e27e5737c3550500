//! Following the chain: everyone who reads committed events (projector, SQL, streams, anchor) does
//! it the same way, from any point, at their own pace, and never holds up the writer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bailiwick_core::event::{Event, Place, Recorded};
use bailiwick_core::record::EntryRef;
use bytes::Bytes;
use tokio::sync::watch;

use crate::Error;
use crate::log::Reader;

/// Bytes of recent entries kept in memory for followers; older ones come from the log.
pub(crate) const RECENT_BYTES_MAX: usize = 32 << 20;
/// Entries and bytes read from the log at a time.
const READ_ENTRIES: usize = 64;
const READ_BYTES: usize = 8 << 20;

/// An entry that is durable.
#[derive(Debug)]
pub struct Committed {
    /// Its number.
    pub number: u64,
    /// Its bytes, as stored.
    pub bytes: Bytes,
    /// Its events, decoded.
    pub events: Vec<Recorded>,
}

impl Committed {
    /// Decodes an entry that has been verified.
    ///
    /// # Errors
    /// [`Error::Event`] when a kind is unknown to this version: a projection stops there.
    pub fn decode(bytes: Bytes) -> Result<Self, Error> {
        let entry = EntryRef::parse(&bytes)
            .map_err(|e| Error::NotAnEntry { number: 0, what: e.to_string() })?;
        let number = entry.number();
        let events = entry.frames().map(|frame| {
            let header = &frame.header;
            let event = Event::decode_body(header.kind, header.schema, frame.body)
                .map_err(|source| Error::Event { index: header.index, source })?;
            let place = Place { index: header.index, time: header.time, link: frame.link() };
            Ok(Recorded { place, event })
        });
        let events = events.collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { number, bytes, events })
    }

    /// Index after its last event.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.events.last().map_or(0, |last| last.place.index + 1)
    }
}

/// How far the chain is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Number of the last entry.
    pub entry: u64,
    /// Index after the last event.
    pub next_index: u64,
}

#[derive(Debug, Default)]
struct Recent {
    entries: VecDeque<Arc<Committed>>,
    bytes: usize,
}

/// The durable end of the chain, with its recent entries.
pub(crate) struct Tail {
    recent: Mutex<Recent>,
    /// Gone once the ledger is closed, which ends the wait of everyone who follows.
    sender: Mutex<Option<watch::Sender<Head>>>,
    head: watch::Receiver<Head>,
    reader: Arc<dyn Reader>,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("head", &*self.head.borrow()).finish_non_exhaustive()
    }
}

impl Tail {
    pub(crate) fn new(reader: Arc<dyn Reader>, head: Head) -> Self {
        let (sender, head) = watch::channel(head);
        Self { recent: Mutex::default(), sender: Mutex::new(Some(sender)), head, reader }
    }

    fn sender(&self) -> MutexGuard<'_, Option<watch::Sender<Head>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.reader)
    }

    /// Adds an entry that has become durable.
    pub(crate) fn commit(&self, committed: Committed) {
        let head = Head { entry: committed.number, next_index: committed.next_index() };
        let mut recent = self.recent();
        recent.bytes += committed.bytes.len();
        recent.entries.push_back(Arc::new(committed));
        while recent.bytes > RECENT_BYTES_MAX
            && let Some(oldest) = recent.entries.pop_front()
        {
            recent.bytes -= oldest.bytes.len();
        }
        drop(recent);
        if let Some(sender) = &*self.sender() {
            sender.send_replace(head);
        }
    }

    /// Nothing more comes. What is there can still be read.
    pub(crate) fn close(&self) {
        *self.sender() = None;
    }

    pub(crate) fn head(&self) -> Head {
        *self.head.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Head> {
        let mut head = self.head.clone();
        head.mark_unchanged();
        head
    }

    /// Durable entries after `entry`, a bounded number, none when there are none yet.
    ///
    /// # Errors
    /// [`Error`] when the log cannot be read.
    pub(crate) fn after(&self, entry: u64) -> Result<Vec<Arc<Committed>>, Error> {
        let head = self.head();
        if entry >= head.entry {
            return Ok(Vec::new());
        }
        let recent = self.recent();
        if let Some(first) = recent.entries.front()
            && first.number <= entry + 1
        {
            let skip = usize::try_from(entry + 1 - first.number).unwrap_or(usize::MAX);
            return Ok(recent.entries.iter().skip(skip).take(READ_ENTRIES).cloned().collect());
        }
        drop(recent);
        let read = self.reader.read(entry + 1, READ_ENTRIES, READ_BYTES)?;
        let durable = read.into_iter().map(Committed::decode);
        let durable = durable.collect::<Result<Vec<_>, Error>>()?;
        Ok(durable.into_iter().filter(|c| c.number <= head.entry).map(Arc::new).collect())
    }
}

/// Reads the chain in order, from any point.
#[derive(Debug)]
pub struct Follower {
    tail: Arc<Tail>,
    head: watch::Receiver<Head>,
    at: u64,
    ready: VecDeque<Arc<Committed>>,
}

impl Follower {
    pub(crate) fn new(tail: Arc<Tail>, after_entry: u64) -> Self {
        let head = tail.watch();
        Self { tail, head, at: after_entry, ready: VecDeque::new() }
    }

    /// The next durable entry, waiting for it if need be. None when the ledger is closed and
    /// everything was read.
    ///
    /// Reads from the log block; call this on a thread that may block, or from a task that reads
    /// only what is recent.
    ///
    /// # Errors
    /// [`Error`] when the log cannot be read; asking again continues at the same entry.
    pub async fn next(&mut self) -> Result<Option<Arc<Committed>>, Error> {
        loop {
            if let Some(entry) = self.try_next()? {
                return Ok(Some(entry));
            }
            let at = self.at;
            if self.head.wait_for(|head| head.entry > at).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The next durable entry, if there is one now.
    ///
    /// # Errors
    /// As [`Follower::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Committed>>, Error> {
        if self.ready.is_empty() {
            self.ready.extend(self.tail.after(self.at)?);
        }
        let next = self.ready.pop_front();
        if let Some(entry) = &next {
            self.at = entry.number;
        }
        Ok(next)
    }
}
