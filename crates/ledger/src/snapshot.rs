//! Snapshots: a projection on disk, so that a restart reads the tail of the log and not all of it.
//! A snapshot only saves time: one that is damaged, or that is not of this chain, is passed over.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use bailiwick_core::record::tree::CompactRange;
use bailiwick_core::record::{EntryRef, KeyRing, LedgerId, Position, PublicKey};
use bailiwick_core::state::State;
use ed25519_dalek::{Signature, Signer, SigningKey};

use crate::Error;
use crate::log::Reader;
use crate::replay::Projection;

/// Changes whenever the form of the state does: then a snapshot is passed over and made anew.
const MAGIC: &[u8; 8] = b"BWKSNAP9";
const SIGNATURE_BYTES: usize = 64;

#[derive(bincode::Encode, bincode::Decode)]
struct Stored {
    ledger: LedgerId,
    position: Position,
    keys: Vec<(PublicKey, u64)>,
    tree: CompactRange,
    state: Vec<u8>,
}

/// Writes a snapshot in place of the one before: after a crash there is the old one or the new one.
///
/// # Errors
/// [`Error::File`]; [`Error::Snapshot`] when the projection does not encode.
pub fn store(path: &Path, projection: &Projection, key: &SigningKey) -> Result<(), Error> {
    let stored = Stored {
        ledger: projection.ledger,
        position: projection.position,
        keys: projection.keys.keys().collect(),
        tree: projection.tree.clone(),
        state: projection.state.to_bytes(),
    };
    let mut bytes = MAGIC.to_vec();
    bincode::encode_into_std_write(stored, &mut bytes, bincode::config::standard())
        .map_err(|e| Error::Snapshot { what: e.to_string() })?;
    let signature = key.sign(&digest(&bytes)).to_bytes();
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.write_all(&signature)?;
        file.sync_all()
    });
    written.map_err(Error::file("write", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::file("rename", &temporary))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::file("sync", dir))
}

/// Reads a snapshot, if there is one that this node signed and whose last event stands on the log.
///
/// # Errors
/// What made it unusable, to be shown and passed over.
pub fn load(
    path: &Path,
    ledger: LedgerId,
    key: &SigningKey,
    reader: &dyn Reader,
) -> Result<Option<Projection>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::file("read", path)(e)),
    };
    let bad = |what: &str| Error::Snapshot { what: what.to_owned() };
    let (body, signature) =
        bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or_else(|| bad("it is too short"))?;
    let encoded = body.strip_prefix(MAGIC).ok_or_else(|| bad("it has another form"))?;
    key.verify(&digest(body), &Signature::from_bytes(signature))
        .map_err(|_| bad("this node did not sign it"))?;
    let (stored, _): (Stored, usize) =
        bincode::decode_from_slice(encoded, bincode::config::standard())
            .map_err(|e| bad(&e.to_string()))?;
    if stored.ledger != ledger {
        return Err(bad("it is of another ledger"));
    }
    check_place(&stored.position, reader)?;
    let state = State::from_bytes(&stored.state).map_err(|e| bad(&e.to_string()))?;
    let mut keys = stored.keys.into_iter();
    let (genesis, _) = keys.next().ok_or_else(|| bad("it holds no key"))?;
    let mut ring = KeyRing::new(&genesis).map_err(Error::Key)?;
    for (key, from) in keys {
        ring.trust(&key, from).map_err(Error::Key)?;
    }
    let Stored { position, tree, .. } = stored;
    Ok(Some(Projection { ledger, position, state, tree, keys: ring }))
}

/// Checks that the snapshot's last event is the one that stands on the log.
fn check_place(position: &Position, reader: &dyn Reader) -> Result<(), Error> {
    let bad = |what: &str| Error::Snapshot { what: what.to_owned() };
    if position.entry_number == 0 {
        return Ok(());
    }
    let entry = reader.read(position.entry_number, 1, 1)?;
    let entry = entry.first().ok_or_else(|| bad("it is ahead of the log"))?;
    let entry = EntryRef::parse(entry).map_err(|e| bad(&e.to_string()))?;
    let last = entry.frames().last().map(|frame| frame.link());
    if last == Some(position.last_link) { Ok(()) } else { Err(bad("it is of another chain")) }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    blake3::derive_key("bailiwick v1 snapshot", bytes)
}
