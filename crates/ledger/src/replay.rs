//! From stored entries back to state: verifies the chain, decodes, applies.

use bailiwick_core::event::Fact;
use bailiwick_core::record::tree::CompactRange;
use bailiwick_core::record::verify::verify_entry;
use bailiwick_core::record::{KeyRing, LedgerId, Position, PublicKey, Signatures};
use bailiwick_core::state::State;
use bytes::Bytes;

use crate::Error;
use crate::log::Reader;
use crate::tail::Committed;

/// Entries and bytes read at a time.
const READ_ENTRIES: usize = 256;
const READ_BYTES: usize = 16 << 20;
/// Batches of verified entries that wait to be applied.
const AHEAD: usize = 4;

/// Everything that follows from the entries up to a position.
#[derive(Debug, Clone)]
pub struct Projection {
    /// Which ledger.
    pub ledger: LedgerId,
    /// Up to where.
    pub position: Position,
    /// What the events add up to.
    pub state: State,
    /// The Merkle tree over their headers.
    pub tree: CompactRange,
    /// The keys that may sign the next entry.
    pub keys: KeyRing,
}

impl Projection {
    /// Before the first entry.
    ///
    /// # Errors
    /// [`Error::Key`] when the genesis key is none.
    pub fn genesis(ledger: LedgerId, key: &PublicKey) -> Result<Self, Error> {
        Ok(Self {
            ledger,
            position: Position::genesis(ledger),
            state: State::new(),
            tree: CompactRange::new(),
            keys: KeyRing::new(key).map_err(Error::Key)?,
        })
    }

    /// Takes in an entry that was verified as the next one.
    pub fn apply(&mut self, entry: &Committed, position: Position) {
        for recorded in &entry.events {
            self.state.apply(recorded.place, &recorded.event);
        }
        self.grow_tree(entry);
        self.position = position;
    }

    fn grow_tree(&mut self, entry: &Committed) {
        if let Ok(entry) = bailiwick_core::record::EntryRef::parse(&entry.bytes) {
            entry.frames().for_each(|frame| self.tree.push(frame.leaf()));
        }
    }
}

/// Learns keys that an entry adds.
///
/// # Errors
/// [`Error::Key`] when one is of no use.
pub fn learn(keys: &mut KeyRing, entry: &Committed) -> Result<(), Error> {
    for recorded in &entry.events {
        if let Fact::KeyRotated(fact) = &recorded.event.fact {
            keys.trust(&fact.key, entry.number + 1).map_err(Error::Key)?;
        }
    }
    Ok(())
}

/// Brings `projection` up to the head of the log. Entries up to `anchored` have their chain checked
/// and not every signature again. `progress` hears the number of each batch's last entry.
///
/// Verifying runs ahead on a thread of its own while this one applies.
///
/// # Errors
/// [`Error::Chain`] with the first fault, [`Error::Event`] for a kind that is unknown, or why the
/// log could not be read. The projection is then of no use.
pub fn catch_up(
    projection: &mut Projection,
    reader: &dyn Reader,
    anchored: u64,
    mut progress: impl FnMut(u64),
) -> Result<(), Error> {
    let from = (projection.ledger, projection.position, projection.keys.clone());
    let (sender, verified) = std::sync::mpsc::sync_channel(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let send = |batch| sender.send(batch).is_ok();
            if let Err(error) = verify_all(from, reader, anchored, &send) {
                send(Err(error));
            }
        });
        for batch in verified {
            let batch: Vec<Verified> = batch?;
            for Verified { entry, position, keys } in batch {
                projection.apply(&entry, position);
                if let Some(keys) = keys {
                    projection.keys = keys;
                }
            }
            progress(projection.position.entry_number);
        }
        Ok(())
    })
}

/// An entry that was verified as the next one.
pub(crate) struct Verified {
    pub(crate) entry: Committed,
    /// Where a reader stands after it.
    pub(crate) position: Position,
    /// The ring after this entry, if it changed.
    keys: Option<KeyRing>,
}

fn verify_all(
    (ledger, mut position, mut keys): (LedgerId, Position, KeyRing),
    reader: &dyn Reader,
    anchored: u64,
    send: &dyn Fn(Result<Vec<Verified>, Error>) -> bool,
) -> Result<(), Error> {
    let signatures = Signatures::TrustedUpTo(anchored);
    loop {
        let batch = read_on(ledger, &mut position, &mut keys, signatures, reader)?;
        if batch.is_empty() || !send(Ok(batch)) {
            return Ok(());
        }
    }
}

/// Reads and verifies entries after `position`, a bounded number, and moves `position` and `keys`
/// on. None when there are none.
///
/// # Errors
/// As [`catch_up`]; `position` and `keys` are then of no use, unless the log could not be read.
pub(crate) fn read_on(
    ledger: LedgerId,
    position: &mut Position,
    keys: &mut KeyRing,
    signatures: Signatures,
    reader: &dyn Reader,
) -> Result<Vec<Verified>, Error> {
    let read = reader.read(position.entry_number + 1, READ_ENTRIES, READ_BYTES)?;
    let mut batch = Vec::with_capacity(read.len());
    for bytes in read {
        let verified = verify_one(ledger, position, keys, signatures, bytes)?;
        *position = verified.position;
        batch.push(verified);
    }
    Ok(batch)
}

fn verify_one(
    ledger: LedgerId,
    at: &Position,
    keys: &mut KeyRing,
    signatures: Signatures,
    bytes: Bytes,
) -> Result<Verified, Error> {
    let position = verify_entry(at, ledger, keys, signatures, &bytes).map_err(Error::Chain)?;
    let entry = Committed::decode(bytes)?;
    let rotates = entry.events.iter().any(|r| matches!(r.event.fact, Fact::KeyRotated(_)));
    if rotates {
        learn(keys, &entry)?;
    }
    Ok(Verified { entry, position, keys: rotates.then(|| keys.clone()) })
}
