//! Reading a ledger in order and believing nothing.

use crate::record::entry::{Bodies, EntryRef};
use crate::record::fault::{Fault, FaultKind};
use crate::record::frame::FrameRef;
use crate::record::hash::{self, EntryHasher, LedgerId, Link};
use crate::record::keys::KeyRing;
use crate::time::Time;

/// Where a reader stands: after one entry, before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Position {
    /// The number of the last entry; 0 before the first.
    pub entry_number: u64,
    /// The index that the next event must have.
    pub next_index: u64,
    /// The time of the last event; means nothing before the first.
    pub last_time: Time,
    /// The link of the last event; the genesis link before the first.
    pub last_link: Link,
    /// The epoch of the last entry's writer; 0 before the first.
    pub epoch: u64,
}

impl Position {
    /// Before the first entry of `ledger`.
    #[must_use]
    pub fn genesis(ledger: LedgerId) -> Self {
        Self {
            entry_number: 0,
            next_index: 0,
            last_time: Time(0),
            last_link: hash::genesis_link(ledger),
            epoch: 0,
        }
    }

    /// After an entry, by the entry's own account: nothing of it is verified. None when it holds no
    /// events.
    #[must_use]
    pub fn after(entry: &EntryRef<'_>) -> Option<Self> {
        let last = entry.frames().last()?;
        Some(Self {
            entry_number: entry.number(),
            next_index: last.header.index.checked_add(1)?,
            last_time: last.header.time,
            last_link: last.link(),
            epoch: entry.epoch(),
        })
    }
}

/// Which signatures a reader checks. The chain is always checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// Every one.
    Check,
    /// Those of entries after this number. Up to it the reader has an anchor of its own for the
    /// links, and only the id of the key is looked at.
    TrustedUpTo(u64),
}

/// Checks the entry that must follow `at`: magic, ledger, number, epoch and lengths, then of each
/// frame its fixed part, index, time, previous link and body digest, then the signature. Gives
/// the position after it.
///
/// `keys` holds the keys added by entries before this one; a key that this entry adds counts from
/// the next.
///
/// # Errors
/// [`Fault`] with the first thing that is wrong.
pub fn verify_entry(
    at: &Position,
    ledger: LedgerId,
    keys: &KeyRing,
    signatures: Signatures,
    bytes: &[u8],
) -> Result<Position, Fault> {
    verify(at, ledger, keys, signatures, bytes, Bodies::Present)
}

/// As [`verify_entry`], for a copy whose bodies are withheld: each frame is its 92-byte header
/// alone, everything else is as stored (see [`crate::record::entry`]). Proves order, kinds, times
/// and count under the same signature, and which digest each body must have.
///
/// # Errors
/// [`Fault`] with the first thing that is wrong.
pub fn verify_headers(
    at: &Position,
    ledger: LedgerId,
    keys: &KeyRing,
    signatures: Signatures,
    bytes: &[u8],
) -> Result<Position, Fault> {
    verify(at, ledger, keys, signatures, bytes, Bodies::Withheld)
}

pub(crate) fn verify(
    at: &Position,
    ledger: LedgerId,
    keys: &KeyRing,
    signatures: Signatures,
    bytes: &[u8],
    bodies: Bodies,
) -> Result<Position, Fault> {
    let number = at.entry_number + 1;
    let fault = |index: u64| move |what: FaultKind| Fault { entry: number, index, what };
    let whole_entry = fault(at.next_index);

    let entry = EntryRef::split(bytes, bodies).map_err(whole_entry)?;
    check_prefix(at, ledger, &entry).map_err(whole_entry)?;

    let checked = match signatures {
        Signatures::Check => true,
        Signatures::TrustedUpTo(trusted) => number > trusted,
    };
    let mut signed = checked.then(|| EntryHasher::new(entry.prefix));
    let mut after = Position { entry_number: number, epoch: entry.epoch(), ..*at };
    let mut frames = entry.walk();
    loop {
        let in_frame = fault(after.next_index);
        match frames.next() {
            Err(FaultKind::Frames) => return Err(whole_entry(FaultKind::Frames)),
            Err(what) => return Err(in_frame(what)),
            Ok(None) => break,
            Ok(Some(frame)) => {
                check_frame(&after, &frame, bodies).map_err(in_frame)?;
                if let Some(signed) = &mut signed {
                    signed.add(frame.header_bytes);
                }
                after.next_index += 1;
                after.last_time = frame.header.time;
                after.last_link = frame.link();
            }
        }
    }
    match signed {
        Some(signed) => {
            let (key, message) = (entry.key_id(), signed.finish());
            keys.verify(key, number, &message, &entry.signature()).map_err(whole_entry)?;
        }
        None => keys.admits(entry.key_id(), number).map_err(whole_entry)?,
    }
    Ok(after)
}

fn check_prefix(at: &Position, ledger: LedgerId, entry: &EntryRef<'_>) -> Result<(), FaultKind> {
    entry.check_magic()?;
    if entry.ledger() != ledger {
        return Err(FaultKind::Ledger { expected: ledger, found: entry.ledger() });
    }
    if entry.number() != at.entry_number + 1 {
        return Err(FaultKind::Number { found: entry.number() });
    }
    if entry.epoch() < at.epoch {
        return Err(FaultKind::Epoch { before: at.epoch, found: entry.epoch() });
    }
    entry.check_lengths()
}

fn check_frame(at: &Position, frame: &FrameRef<'_>, bodies: Bodies) -> Result<(), FaultKind> {
    let header = &frame.header;
    if header.index != at.next_index {
        return Err(FaultKind::Index { found: header.index });
    }
    if at.next_index > 0 && header.time <= at.last_time {
        return Err(FaultKind::Time { before: at.last_time, found: header.time });
    }
    if header.prev != at.last_link {
        return Err(FaultKind::Prev { expected: at.last_link, found: header.prev });
    }
    if bodies == Bodies::Present && hash::body_digest(frame.body) != header.digest {
        return Err(FaultKind::Body);
    }
    Ok(())
}
