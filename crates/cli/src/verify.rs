//! Reading a whole ledger in order and believing nothing, on as many threads as there are.
//!
//! Signatures and digests cost nearly all of the time and depend on one entry only. So a batch of
//! entries is cut into pieces, each piece is verified from where the piece before it *says* that it
//! ends, and the pieces count only if each did end where the next one began: then it is the same as
//! verifying one entry after the other. The first fault in the order of the chain is the one told.
//!
//! A checkpoint on the ledger is of the tree that the ledger had a moment before, so leaves wait that
//! long before they go into the tree: no root is made that nobody asks for.

use std::collections::VecDeque;
use std::io;

use bailiwick_core::decide::CHECKPOINT_AGE_MAX;
use bailiwick_core::event::{CheckpointSigned, DecodeError, Event, Fact, LedgerCreated};
use bailiwick_core::record::dump::Summary;
use bailiwick_core::record::entry::EntryRef;
use bailiwick_core::record::fault::FaultKind;
use bailiwick_core::record::frame::FrameRef;
use bailiwick_core::record::hash::Node;
use bailiwick_core::record::note::Checkpoint;
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
/// Kind number of `ledger.created`, which names the origin of checkpoints.
const LEDGER_CREATED: u16 = 1;
/// Kind number of `key.rotated`, whose body adds a key.
const KEY_ROTATED: u16 = 3;
/// Kind number of `checkpoint.signed`, which says what the tree was.
const CHECKPOINT_SIGNED: u16 = 4;

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
    let told = fact(&entry.frames().next()?);
    if let Ok(Some(Fact::LedgerCreated(created))) = told { Some(created) } else { None }
}

/// A reader on its way through a ledger.
#[derive(Debug)]
pub struct Walk {
    keys: KeyRing,
    bodies: Bodies,
    threads: usize,
    /// The tree, but for the leaves that wait.
    tree: CompactRange,
    waiting: VecDeque<Node>,
    /// Origin of the ledger's checkpoints, once its first event is read.
    origin: Option<String>,
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
    found: Option<Piece>,
}

/// What entries came to.
struct Piece {
    position: Position,
    first_time: Option<Time>,
    leaves: Vec<Node>,
    /// What bears on the tree, with its entry and index.
    told: Vec<(u64, u64, Fact)>,
    /// What is wrong with the entry that comes next.
    fault: Option<Fault>,
}

impl Walk {
    /// A reader before the first entry that trusts `keys`.
    #[must_use]
    pub fn new(keys: KeyRing, bodies: Bodies, threads: usize) -> Self {
        let (tree, waiting) = (CompactRange::new(), VecDeque::new());
        Self { keys, bodies, threads: threads.max(1), tree, waiting, origin: None, reached: None }
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
            };
            at = piece.position;
            let first_time = match (self.reached, piece.first_time) {
                (Some(reached), _) => reached.first_time,
                (None, first) => first.unwrap_or(at.last_time),
            };
            self.grow(piece.leaves, piece.told)?;
            self.reached = Some(Reached { ledger, first_time, position: at });
            if let Some(fault) = piece.fault {
                return Err(fault);
            }
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

    /// Adds leaves to the tree, and holds what was said of the tree against it.
    fn grow(&mut self, leaves: Vec<Node>, told: Vec<(u64, u64, Fact)>) -> Result<(), Fault> {
        self.waiting.extend(leaves);
        for (entry, index, fact) in told {
            if let Fact::LedgerCreated(created) = fact {
                self.origin.get_or_insert_with(|| created.origin.to_string());
            } else if let Fact::CheckpointSigned(signed) = fact {
                self.check(entry, index, &signed).map_err(|what| Fault { entry, index, what })?;
            }
        }
        let keep = usize::try_from(CHECKPOINT_AGE_MAX).unwrap_or(usize::MAX);
        let ripe = self.waiting.len().saturating_sub(keep);
        self.waiting.drain(..ripe).for_each(|leaf| self.tree.push(leaf));
        Ok(())
    }

    /// Whether a checkpoint is of this tree and signed by a key of this ledger.
    fn check(
        &mut self,
        entry: u64,
        index: u64,
        signed: &CheckpointSigned,
    ) -> Result<(), FaultKind> {
        let size = signed.size;
        if index.checked_sub(size).is_none_or(|age| age > CHECKPOINT_AGE_MAX) {
            return Err(FaultKind::CheckpointRoot { size });
        }
        while self.tree.size() < size
            && let Some(leaf) = self.waiting.pop_front()
        {
            self.tree.push(leaf);
        }
        let Ok(read) = Checkpoint::read(signed.note.as_str()) else {
            return Err(FaultKind::CheckpointSignature { size });
        };
        let root = self.tree.root();
        let is_ours = self.origin.as_ref() == Some(&read.origin)
            && (self.tree.size(), root) == (size, signed.root)
            && (read.size, read.root) == (size, root);
        if !is_ours {
            return Err(FaultKind::CheckpointRoot { size });
        }
        if self.keys.signer(signed.note.as_str(), &read.origin, entry).is_none() {
            return Err(FaultKind::CheckpointSignature { size });
        }
        Ok(())
    }

    /// Trusts the keys that these entries add, each from the entry after its own. That they are
    /// looked at before their entry is verified does no harm: if it is not genuine, nothing counts.
    fn learn(&mut self, entries: &[Bytes]) -> Option<Fault> {
        if self.bodies == Bodies::Withheld {
            return None;
        }
        for entry in entries.iter().filter_map(|bytes| EntryRef::parse(bytes).ok()) {
            for frame in entry.frames().filter(|frame| frame.header.kind == KEY_ROTATED) {
                let Ok(Some(Fact::KeyRotated(rotated))) = fact(&frame) else { continue };
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
    pub fn finish(mut self) -> Result<Summary, Fault> {
        self.waiting.drain(..).for_each(|leaf| self.tree.push(leaf));
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

/// Verifies entries one after the other, up to the first that is wrong.
fn verify_piece(
    keys: &KeyRing,
    bodies: Bodies,
    ledger: LedgerId,
    from: Position,
    entries: &[Bytes],
) -> Piece {
    let (leaves, told) = (Vec::new(), Vec::new());
    let mut piece = Piece { position: from, first_time: None, leaves, told, fault: None };
    for bytes in entries {
        if let Err(fault) = verify_next(&mut piece, keys, bodies, ledger, bytes) {
            piece.fault = Some(fault);
            break;
        }
    }
    piece
}

fn verify_next(
    piece: &mut Piece,
    keys: &KeyRing,
    bodies: Bodies,
    ledger: LedgerId,
    bytes: &[u8],
) -> Result<(), Fault> {
    let at = &piece.position;
    let after = match bodies {
        Bodies::Present => verify_entry(at, ledger, keys, Signatures::Check, bytes)?,
        Bodies::Withheld => verify_headers(at, ledger, keys, Signatures::Check, bytes)?,
    };
    let (entry, index) = (at.entry_number + 1, at.next_index);
    let parsed = EntryRef::parse_as(bytes, bodies).map_err(|what| Fault { entry, index, what })?;
    for frame in parsed.frames() {
        piece.first_time.get_or_insert(frame.header.time);
        piece.leaves.push(frame.leaf());
        if bodies == Bodies::Present && bears_on_tree(&frame) {
            let index = frame.header.index;
            let told = fact(&frame).map_err(|what| Fault { entry, index, what })?;
            piece.told.extend(told.map(|fact| (entry, index, fact)));
        }
    }
    piece.position = after;
    Ok(())
}

const fn bears_on_tree(frame: &FrameRef<'_>) -> bool {
    matches!(frame.header.kind, LEDGER_CREATED | CHECKPOINT_SIGNED)
}

/// What an event says; none where a later version gave its kind another schema.
fn fact(frame: &FrameRef<'_>) -> Result<Option<Fact>, FaultKind> {
    let (kind, schema) = (frame.header.kind, frame.header.schema);
    match Event::decode_body(kind, schema, frame.body) {
        Ok(event) => Ok(Some(event.fact)),
        Err(DecodeError::Unknown { .. }) => Ok(None),
        Err(DecodeError::Body { .. }) => Err(FaultKind::Unreadable),
    }
}

/// Where a reader would stand after an entry, if it is what it says.
fn end_of(entry: &[u8], bodies: Bodies) -> Option<Position> {
    Position::after(&EntryRef::parse_as(entry, bodies).ok()?)
}
