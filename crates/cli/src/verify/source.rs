//! Where entries come from: a dump, read in bounded pieces, or a log.

use std::io::Read;

use bailiwick_core::record::Fault;
use bailiwick_core::record::dump::{Summary, split_one};
use bailiwick_core::record::fault::FaultKind;
use bailiwick_ledger::log::Reader;
use bytes::Bytes;

use super::{Error, Walk};

/// Bytes of a dump that are read at a time, at least.
const READ_BYTES: usize = 8 << 20;
/// Entries and bytes read from a log at a time.
const LOG_ENTRIES: usize = 4_096;
const LOG_BYTES: usize = 16 << 20;

/// Verifies a dump to its end. `progress` hears how many bytes are verified.
///
/// # Errors
/// [`Error::Fault`] with the first thing that is wrong, or why it cannot be read.
pub fn dump(
    mut from: impl Read,
    mut walk: Walk,
    mut progress: impl FnMut(u64),
) -> Result<Summary, Error> {
    let mut left: Vec<u8> = Vec::new();
    let mut done = 0;
    loop {
        let wanted = READ_BYTES.saturating_sub(left.len()).max(READ_BYTES / 2);
        let read = from.by_ref().take(wanted as u64).read_to_end(&mut left)?;
        let is_end = read == 0;
        let whole = Bytes::from(std::mem::take(&mut left));
        let (entries, rest, fault) = split(&whole);
        walk.take(&entries)?;
        done += (whole.len() - rest.len()) as u64;
        progress(done);
        if let Some(what) = fault {
            return Err(walk.fault(what).into());
        }
        if is_end && !rest.is_empty() {
            return Err(walk.fault(FaultKind::Truncated).into());
        }
        if is_end {
            return Ok(walk.finish()?);
        }
        left.extend_from_slice(&rest);
    }
}

/// The entries at the start of `bytes`, what is left behind them, and what is wrong there.
fn split(bytes: &Bytes) -> (Vec<Bytes>, Bytes, Option<FaultKind>) {
    let mut entries = Vec::new();
    let mut rest: &[u8] = bytes;
    loop {
        match split_one(rest) {
            Ok(Some(split)) => {
                entries.push(bytes.slice_ref(split.entry));
                rest = split.rest;
            }
            Ok(None) => return (entries, bytes.slice_ref(rest), None),
            Err(what) => return (entries, bytes.slice_ref(rest), Some(what)),
        }
    }
}

/// Verifies what a log holds, up to its head. `visit` is shown each batch of verified entries.
///
/// # Errors
/// [`Error::Fault`] with the first thing that is wrong, or why it cannot be read.
pub fn log(
    reader: &dyn Reader,
    mut walk: Walk,
    mut visit: impl FnMut(&[Bytes]) -> anyhow::Result<()>,
) -> Result<Summary, Error> {
    loop {
        let next = walk.position().map_or(1, |at| at.entry_number + 1);
        let entries = match reader.read(next, LOG_ENTRIES, LOG_BYTES) {
            Ok(entries) => entries,
            Err(error) => return Err(unreadable(&walk, error)),
        };
        if entries.is_empty() {
            return Ok(walk.finish()?);
        }
        walk.take(&entries)?;
        visit(&entries).map_err(Error::Visit)?;
    }
}

/// A damaged entry is found by the log itself; it is a fault of the ledger all the same.
fn unreadable(walk: &Walk, error: bailiwick_ledger::Error) -> Error {
    use bailiwick_ledger::Error as Log;
    if let Log::Damaged { number, .. } | Log::Missing { number, .. } = error {
        let Fault { index, .. } = walk.fault(FaultKind::Truncated);
        return Error::Damaged { entry: number, index, source: error };
    }
    Error::Log(error)
}
