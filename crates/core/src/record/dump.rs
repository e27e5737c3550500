//! A ledger as one run of bytes: each entry behind its length, a big-endian `u32`.

use crate::record::entry::{Bodies, ENTRY_BYTES_MAX, ENTRY_BYTES_MIN, EntryRef};
use crate::record::fault::{Fault, FaultKind};
use crate::record::frame::FrameRef;
use crate::record::hash::{LedgerId, Link, PublicKey, Root};
use crate::record::keys::KeyRing;
use crate::record::tree::CompactRange;
use crate::record::verify::{self, Position, Signatures};
use crate::time::Time;

/// Bytes of the length in front of each entry.
pub const LENGTH_BYTES: usize = 4;

/// What stands in front of `entry` in a dump.
///
/// # Errors
/// [`FaultKind::EntryLength`] when no entry has this many bytes.
pub fn length_prefix(entry: &[u8]) -> Result<[u8; LENGTH_BYTES], FaultKind> {
    let refused = || FaultKind::EntryLength(entry.len() as u64);
    let length = u32::try_from(entry.len()).map_err(|_| refused())?;
    if length_allowed(entry.len()) { Ok(length.to_be_bytes()) } else { Err(refused()) }
}

/// The first entry of a dump and what comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split<'a> {
    /// The entry, without its length.
    pub entry: &'a [u8],
    /// The bytes after it.
    pub rest: &'a [u8],
}

/// Splits the first entry off a dump. None when more bytes are needed, so at most
/// [`LENGTH_BYTES`] + [`ENTRY_BYTES_MAX`] ever have to be held.
///
/// # Errors
/// [`FaultKind::EntryLength`] when no entry has the length given.
pub fn split_one(bytes: &[u8]) -> Result<Option<Split<'_>>, FaultKind> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    if !length_allowed(length as usize) {
        return Err(FaultKind::EntryLength(length.into()));
    }
    Ok(rest.split_at_checked(length as usize).map(|(entry, rest)| Split { entry, rest }))
}

const fn length_allowed(bytes: usize) -> bool {
    bytes >= ENTRY_BYTES_MIN && bytes <= ENTRY_BYTES_MAX
}

/// What a reader of a dump knows beforehand.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The keys that are trusted because they were given: the genesis key and, for a copy without
    /// bodies, which cannot tell of rotations, every later one.
    pub keys: KeyRing,
    /// The ledger, where it is known; otherwise the one that the first entry names, which the
    /// genesis link and the signature confirm.
    pub ledger: Option<LedgerId>,
    /// Whether the copy holds bodies.
    pub bodies: Bodies,
}

/// What a verified dump holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The ledger.
    pub ledger: LedgerId,
    /// How many entries.
    pub entries: u64,
    /// How many events.
    pub events: u64,
    /// The time of the first event.
    pub first_time: Time,
    /// The time of the last event.
    pub last_time: Time,
    /// The link of the last event.
    pub last_link: Link,
    /// The root of the Merkle tree over all events.
    pub root: Root,
}

/// Verifies a dump from the first entry on, fed in pieces of any size.
///
/// `learn` is shown kind, schema and body of every event of a verified entry and gives the public
/// key if the event adds one; the key counts from the next entry.
#[derive(Debug)]
pub struct Verifier<L> {
    expected: Expected,
    learn: L,
    /// None before the first entry.
    reached: Option<Reached>,
    tree: CompactRange,
    /// The beginning of an entry whose end has not been fed yet.
    pending: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Reached {
    ledger: LedgerId,
    first_time: Time,
    position: Position,
}

impl<L: FnMut(u16, u8, &[u8]) -> Option<PublicKey>> Verifier<L> {
    /// A reader before the first entry.
    #[must_use]
    pub const fn new(expected: Expected, learn: L) -> Self {
        Self { expected, learn, reached: None, tree: CompactRange::new(), pending: Vec::new() }
    }

    /// Verifies every entry that `bytes` completes.
    ///
    /// # Errors
    /// [`Fault`] with the first thing that is wrong. The reader is of no further use then, except
    /// to say how far it came.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while !self.pending.is_empty() {
            let missing = self.missing();
            let (now, later) = rest.split_at(missing.min(rest.len()));
            self.pending.extend_from_slice(now);
            rest = later;
            let mut pending = std::mem::take(&mut self.pending);
            if let Some(split) = split_one(&pending).map_err(|what| self.fault(what))? {
                self.entry(split.entry)?;
                pending.clear();
            }
            self.pending = pending;
            if rest.is_empty() {
                return Ok(());
            }
        }
        while let Some(split) = split_one(rest).map_err(|what| self.fault(what))? {
            self.entry(split.entry)?;
            rest = split.rest;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Ends the dump.
    ///
    /// # Errors
    /// [`Fault`] when it ends inside an entry or holds none. That whole entries are missing at
    /// the end only someone can tell who knows a later head: compare the summary with it.
    pub fn finish(self) -> Result<Summary, Fault> {
        if !self.pending.is_empty() {
            return Err(self.fault(FaultKind::Truncated));
        }
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

    /// How far the dump has been verified; None before the first entry.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.reached.map(|reached| reached.position)
    }

    /// Bytes that the pending entry still needs, as far as they can be told yet.
    fn missing(&self) -> usize {
        let needed = match self.pending.first_chunk::<LENGTH_BYTES>() {
            Some(length) => LENGTH_BYTES + u32::from_be_bytes(*length) as usize,
            None => LENGTH_BYTES,
        };
        needed - self.pending.len()
    }

    fn entry(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let bodies = self.expected.bodies;
        let (ledger, at) = match (self.reached, self.expected.ledger) {
            (Some(reached), _) => (reached.ledger, reached.position),
            (None, Some(ledger)) => (ledger, Position::genesis(ledger)),
            (None, None) => {
                let named = EntryRef::split(bytes, bodies).map_err(|what| self.fault(what))?;
                (named.ledger(), Position::genesis(named.ledger()))
            }
        };
        let keys = &self.expected.keys;
        let position = verify::verify(&at, ledger, keys, Signatures::Check, bytes, bodies)?;
        let entry = EntryRef::split(bytes, bodies).map_err(|what| self.fault(what))?;
        let mut first_time = self.reached.map(|reached| reached.first_time);
        for frame in entry.frames() {
            first_time.get_or_insert(frame.header.time);
            self.tree.push(frame.leaf());
            if bodies == Bodies::Present {
                self.learn_from(frame.header.index, position.entry_number, &frame)?;
            }
        }
        let first_time = first_time.unwrap_or(position.last_time);
        self.reached = Some(Reached { ledger, first_time, position });
        Ok(())
    }

    fn learn_from(&mut self, index: u64, entry: u64, frame: &FrameRef<'_>) -> Result<(), Fault> {
        match (self.learn)(frame.header.kind, frame.header.schema, frame.body) {
            None => Ok(()),
            Some(key) => self.expected.keys.trust(&key, entry + 1).map_err(|_| Fault {
                entry,
                index,
                what: FaultKind::KeyInvalid,
            }),
        }
    }

    /// A fault of the entry that comes next.
    fn fault(&self, what: FaultKind) -> Fault {
        let (entry, index) =
            self.position().map_or((0, 0), |position| (position.entry_number, position.next_index));
        Fault { entry: entry + 1, index, what }
    }
}

/// Verifies a whole dump that lies in memory. See [`Verifier`].
///
/// # Errors
/// [`Fault`] with the first thing that is wrong.
pub fn verify_dump(
    bytes: &[u8],
    expected: Expected,
    learn: impl FnMut(u16, u8, &[u8]) -> Option<PublicKey>,
) -> Result<Summary, Fault> {
    let mut verifier = Verifier::new(expected, learn);
    verifier.feed(bytes)?;
    verifier.finish()
}
