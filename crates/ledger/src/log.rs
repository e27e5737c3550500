//! Where entries are stored: one append at a time, at an expected place, read from anywhere.
//!
//! Two stores, [`embedded`] on one machine's disk and [`jetstream`] on NATS, behave alike; one
//! [`suite`] says how. A log treats an entry as bytes: it looks at the header to see that the
//! entry belongs at its place, and leaves frames, links and signatures to `bailiwick_core::record`.
//! It knows nothing of commands, state and clocks.

pub mod embedded;
pub mod jetstream;
#[doc(hidden)]
pub mod suite;

pub(crate) mod slot;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_core::record::entry::{ENTRY_BYTES_MAX, PREFIX_BYTES, SUFFIX_BYTES};
use bailiwick_core::record::{LedgerId, Link};
use bytes::Bytes;

use crate::Error;

/// The longest time one [`Log::append`] may take.
pub const ATTEMPT_MAX: Duration = Duration::from_millis(500);

/// Between attempts when a store does not answer; the last for all that follow.
pub(crate) const BACKOFF: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

const MAGIC: &[u8; 4] = b"BWK1";

/// One ledger's entries, for its one writer.
pub trait Log: Send {
    /// The number of the last entry that is durably stored; 0 when there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store does not answer in time.
    fn head(&mut self) -> Result<u64, Error>;

    /// Appends `entry` as number `expected_head + 1`: one attempt of at most [`ATTEMPT_MAX`].
    ///
    /// After [`Append::Unknown`] the caller comes again with the same bytes and the same expected
    /// head until the outcome is known. `message_id`, the link of the entry's last frame, lets a
    /// store that can do so recognise the repetition; only `ledger repair` goes without, because
    /// a store that lost an entry may still remember its id.
    fn append(&mut self, expected_head: u64, entry: &[u8], message_id: Option<&Link>) -> Append;

    /// A reader for followers; it stays good while the log is appended to, on any thread.
    fn reader(&self) -> Arc<dyn Reader>;
}

/// Reads durable entries. Calls block: on an async runtime, use its blocking threads.
pub trait Reader: Send + Sync {
    /// The number of the last entry that is durably stored; 0 when there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store does not answer in time.
    fn head(&self) -> Result<u64, Error>;

    /// The entries from number `from` (at least 1) on, in order and without a gap.
    ///
    /// Up to `max_entries` and `max_bytes`, but at least one where there is one: an answer may be
    /// shorter than what is stored, and only an empty one says that `from` is past the head.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Missing`] for an entry that is stored but not whole: nothing
    /// is skipped. [`Error::Unavailable`] when the store does not answer in time.
    fn read(&self, from: u64, max_entries: usize, max_bytes: usize) -> Result<Vec<Bytes>, Error>;

    /// The number of the first entry stored, 1 in every whole ledger and in an empty one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store does not answer in time.
    fn first(&self) -> Result<u64, Error>;
}

/// What became of one attempt to append.
#[derive(Debug)]
#[must_use]
pub enum Append {
    /// The entry is durably stored at its place.
    Committed,
    /// It may be stored or not, now or later: come again with the same bytes.
    Unknown(Reason),
    /// Other bytes are stored at that number: another writer won.
    LostRace,
    /// The log can go no further. Nothing was changed that a reader could see.
    Fatal(Error),
}

/// Why an outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No answer in time.
    Timeout,
    /// No connection to the store.
    Disconnected,
    /// The store refused for now, in its own words.
    Refused(String),
    /// There is no room to write.
    Full(String),
    /// The store is shorter than it was; for how long decides what it means.
    Shorter {
        /// Where it ends.
        head: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Disconnected => f.write_str("no connection to the store"),
            Self::Refused(text) => write!(f, "the store refused: {text}"),
            Self::Full(text) => write!(f, "no room to write: {text}"),
            Self::Shorter { head } => write!(f, "the store ends at entry {head}"),
        }
    }
}

/// What an entry's header says of its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ledger: LedgerId,
    pub(crate) number: u64,
    /// Bytes of the whole entry.
    pub(crate) bytes: usize,
}

/// Reads the header at the start of `bytes`, which may go on after the entry.
pub(crate) fn place(bytes: &[u8]) -> Option<Place> {
    let header = bytes.first_chunk::<PREFIX_BYTES>()?;
    if !header.starts_with(MAGIC) {
        return None;
    }
    let size = u32::from_be_bytes(*header[40..].first_chunk()?);
    Some(Place {
        ledger: LedgerId(*header[4..].first_chunk()?),
        number: u64::from_be_bytes(*header[20..].first_chunk()?),
        bytes: usize::try_from(size).ok()?.saturating_add(PREFIX_BYTES + SUFFIX_BYTES),
    })
}

/// Checks that `entry` is an entry of the right number and size, for `ledger` if that is known.
pub(crate) fn check_place(
    entry: &[u8],
    number: u64,
    ledger: Option<LedgerId>,
) -> Result<LedgerId, Error> {
    let refuse = |what: String| Err(Error::NotAnEntry { number, what });
    if entry.len() > ENTRY_BYTES_MAX {
        let bytes = entry.len();
        return refuse(format!("it has {bytes} bytes, at most {ENTRY_BYTES_MAX} are allowed"));
    }
    let Some(place) = place(entry) else {
        return refuse("it does not start as an entry does".to_owned());
    };
    if place.bytes != entry.len() {
        return refuse(format!("it has {} bytes, its header says {}", entry.len(), place.bytes));
    }
    if place.number != number {
        return refuse(format!("its header says number {}", place.number));
    }
    match ledger {
        Some(ledger) if ledger != place.ledger => {
            refuse(format!("it is of ledger {}, not {ledger}", place.ledger))
        }
        Some(_) | None => Ok(place.ledger),
    }
}
