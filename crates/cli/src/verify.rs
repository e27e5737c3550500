//! Reading a whole ledger in order and believing nothing, on as many threads as there are.
//!
//! Signatures and digests cost nearly all of the time and depend on one entry only. So a batch of
//! entries is cut into pieces, each piece is verified from where the piece before it *says* that it
//! ends, and the pieces count only if each did end where the next one began: then it is the same as
//! verifying one entry after the other. The first fault in the order of the chain is the one told.

use std::io;

use bailiwick_core::event::{Event, Fact, LedgerCreated};
use bailiwick_core::record::dump::Summary;
use bailiwick_core::record::entry::EntryRef;
use bailiwick_core::record::fault::FaultKind;
use bailiwick_core::record::hash::Node;
use bailiwick_core::record::tree::CompactRange;
use bailiwick_core::record::verify::{verify_entry, verify_headers};
use bailiwick_core::record::{LedgerId, Position, Signatures};
use bailiwick_core::time::Time;
use bytes::Bytes;

pub use bailiwick_core::record::entry::Bodies;
pub use bailiwick_core::record::{Fault, KeyRing, PublicKey};

mod source;

pub use source::{dump, log};

/// Entries of a piece, at least: fewer are not worth a thread.
const PIECE_MIN: usize = 16;
/// Kind number of `key.rotated`, whose body adds a key.
const KEY_ROTATED: u16 = 3;

/// Why a ledger is not verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not what it should be.
    #[error("{0}")]
    Fault(Fault),
    /// The log itself found that an entry is damaged or gone.
    #[error("entry {entry}, event {index}: the log holds no such entry")]
    Damaged {
        /// The entry.
        entry: u64,
        /// The first event that is not verified.
        index: u64,
        /// What the log said.
        source: bailiwick_ledger::Error,
    },
    /// It cannot be read.
    #[error("the ledger cannot be read")]
    Io(#[from] io::Error),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[source] bailiwick_ledger::Error),
    /// Whoever looks at verified entries gave up.
    #[error("a verified entry cannot be used")]
    Visit(#[source] anyhow::Error),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What the first event of a ledger says, from its first entry; nothing is proven by that.
#[must_use]
pub fn creation(first: &[u8]) -> Option<LedgerCreated> {
    let entry = EntryRef::parse(first).ok()?;
    let frame = entry.frames().next()?;
    let event = Event::decode_body(frame.header.kind, frame.header.schema, frame.body).ok()?;
    if let Fact::LedgerCreated(created) = event.fact { Some(created) } else { None }
}

/// A reader on its way through a ledger.
#[derive(Debug)]
pub struct Walk {
    keys: KeyRing,
    bodies: Bodies,
    threads: usize,
    tree: CompactRange,
    /// None before the first entry.
    reached: Option<Reached>,
}

#[derive(Debug, Clone, Copy)]
struct Reached {
    ledger: LedgerId,
    first_time: Time,
    position: Position,
}

/// A part of a batch.
struct Part<'a> {
    entries: &'a [Bytes],
    /// Where it was taken to begin, if that could be told.
    start: Option<Position>,
    /// What came of it then.
    found: Option<Result<Piece, Fault>>,
}

/// What entries came to.
struct Piece {
    position: Position,
    first_time: Option<Time>,
    leaves: Vec<Node>,
}

impl Walk {
    /// A reader before the first entry that trusts `keys`.
    #[must_use]
    pub fn new(keys: KeyRing, bodies: Bodies, threads: usize) -> Self {
        Self { keys, bodies, threads: threads.max(1), tree: CompactRange::new(), reached: None }
    }

    /// How far the ledger is verified; none before the first entry.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.reached.map(|reached| reached.position)
    }

    /// Verifies the entries that come next.
    ///
    /// # Errors
    /// [`Fault`] with the first thing that is wrong; the reader is of no further use then.
    pub fn take(&mut self, entries: &[Bytes]) -> Result<(), Fault> {
        let Some(first) = entries.first() else { return Ok(()) };
        let (ledger, mut at) = match self.reached {
            Some(reached) => (reached.ledger, reached.position),
            None => {
                let named = EntryRef::parse_as(first, self.bodies).map_err(|w| self.fault(w))?;
                (named.ledger(), Position::genesis(named.ledger()))
            }
        };
        let early = self.learn(entries);
        for part in self.parts(ledger, at, entries) {
            let piece = match part.found {
                Some(found) if part.start == Some(at) => found,
                // The part before ends elsewhere than it said.
                Some(_) | None => verify_piece(&self.keys, self.bodies, ledger, at, part.entries),
            }?;
            at = piece.position;
            let first_time = match (self.reached, piece.first_time) {
                (Some(reached), _) => reached.first_time,
                (None, first) => first.unwrap_or(at.last_time),
            };
            for leaf in piece.leaves {
                self.tree.push(leaf);
            }
            self.reached = Some(Reached { ledger, first_time, position: at });
        }
        early.map_or(Ok(()), Err)
    }

    /// Verifies all parts at once.
    fn parts<'a>(&self, ledger: LedgerId, at: Position, entries: &'a [Bytes]) -> Vec<Part<'a>> {
        let size = entries.len().div_ceil(self.threads).max(PIECE_MIN);
        let (keys, bodies) = (&self.keys, self.bodies);
        std::thread::scope(|scope| {
            let mut start = Some(at);
            let mut running = Vec::new();
            for entries in entries.chunks(size) {
                let work = start.map(|from| {
                    scope.spawn(move || verify_piece(keys, bodies, ledger, from, entries))
                });
                running.push((entries, start, work));
                start = entries.last().and_then(|last| end_of(last, bodies));
            }
            let ended = running.into_iter().map(|(entries, start, work)| {
                // A part whose thread could not finish is verified again by the caller.
                let found = work.and_then(|work| work.join().ok());
                Part { entries, start, found }
            });
            ended.collect()
        })
    }

    /// Trusts the keys that these entries add, each from the entry after its own. That they are
    /// looked at before their entry is verified does no harm: if it is not genuine, nothing counts.
    fn learn(&mut self, entries: &[Bytes]) -> Option<Fault> {
        if self.bodies == Bodies::Withheld {
            return None;
        }
        for entry in entries.iter().filter_map(|bytes| EntryRef::parse(bytes).ok()) {
            for frame in entry.frames().filter(|frame| frame.header.kind == KEY_ROTATED) {
                let event =
                    Event::decode_body(frame.header.kind, frame.header.schema, frame.body).ok();
                let Some(Fact::KeyRotated(rotated)) = event.map(|event| event.fact) else {
                    continue;
                };
                if self.keys.trust(&rotated.key, entry.number() + 1).is_err() {
                    let index = frame.header.index;
                    let what = FaultKind::KeyInvalid;
                    return Some(Fault { entry: entry.number(), index, what });
                }
            }
        }
        None
    }

    /// A fault of the entry that comes next.
    fn fault(&self, what: FaultKind) -> Fault {
        let (entry, index) = self.position().map_or((0, 0), |at| (at.entry_number, at.next_index));
        Fault { entry: entry + 1, index, what }
    }

    /// Ends the ledger here.
    ///
    /// # Errors
    /// [`Fault`] when there was no entry at all.
    pub fn finish(self) -> Result<Summary, Fault> {
        let Some(Reached { ledger, first_time, position }) = self.reached else {
            return Err(self.fault(FaultKind::Empty));
        };
        Ok(Summary {
            ledger,
            entries: position.entry_number,
            events: position.next_index,
            first_time,
            last_time: position.last_time,
            last_link: position.last_link,
            root: self.tree.root(),
        })
    }
}

/// Verifies entries one after the other.
fn verify_piece(
    keys: &KeyRing,
    bodies: Bodies,
    ledger: LedgerId,
    from: Position,
    entries: &[Bytes],
) -> Result<Piece, Fault> {
    let mut piece = Piece { position: from, first_time: None, leaves: Vec::new() };
    for bytes in entries {
        let at = &piece.position;
        let after = match bodies {
            Bodies::Present => verify_entry(at, ledger, keys, Signatures::Check, bytes)?,
            Bodies::Withheld => verify_headers(at, ledger, keys, Signatures::Check, bytes)?,
        };
        let (entry, index) = (at.entry_number + 1, at.next_index);
        let parsed =
            EntryRef::parse_as(bytes, bodies).map_err(|what| Fault { entry, index, what })?;
        for frame in parsed.frames() {
            piece.first_time.get_or_insert(frame.header.time);
            piece.leaves.push(frame.leaf());
        }
        piece.position = after;
    }
    Ok(piece)
}

/// Where a reader would stand after an entry, if it is what it says.
fn end_of(entry: &[u8], bodies: Bodies) -> Option<Position> {
    let entry = EntryRef::parse_as(entry, bodies).ok()?;
    let last = entry.frames().last()?;
    Some(Position {
        entry_number: entry.number(),
        next_index: last.header.index.checked_add(1)?,
        last_time: last.header.time,
        last_link: last.link(),
        epoch: entry.epoch(),
    })
}
