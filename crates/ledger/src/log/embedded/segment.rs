//! One segment file: a header block, then slots, then zeros that were written beforehand.
//!
//! The zeros are there because an append into blocks that exist and were written once is the
//! cheapest durable write there is (no allocation, no journal commit), and because room that is
//! taken cannot run out in the middle of an entry.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bailiwick_core::record::LedgerId;
use bytes::Bytes;

use crate::Error;
use crate::log::{place, slot};

/// Where the first slot begins: a block of its own, so that no append touches the header.
pub(crate) const DATA_START: u64 = 4_096;
/// The smallest segment: a young ledger stays small.
pub(crate) const CAPACITY_MIN: u64 = 4 << 20;
/// The largest segment; each new one doubles until it is this big.
pub(crate) const CAPACITY_MAX: u64 = 64 << 20;

const MAGIC: &[u8; 8] = b"BWKSEGM1";
const HEADER_BYTES: usize = 56;
const CHECKED_BYTES: usize = 40;

/// A segment file and where its entries lie.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) first: u64,
    pub(crate) ledger: LedgerId,
    pub(crate) capacity: u64,
    /// Where each slot begins, and where the last one ends. INVARIANT: never empty; all of them
    /// are durable.
    offsets: Mutex<Vec<u64>>,
}

/// The name of the segment whose first entry is `first`.
pub(crate) fn file_name(first: u64) -> String {
    format!("{first:020}.segment")
}

/// The first entry's number, from a segment's file name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// The header block's bytes up to the zeros.
pub(crate) fn header(ledger: LedgerId, first: u64, capacity: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..24].copy_from_slice(&ledger.0);
    header[24..32].copy_from_slice(&first.to_be_bytes());
    header[32..40].copy_from_slice(&capacity.to_be_bytes());
    let check = blake3::derive_key("bailiwick v1 segment header", &header[..CHECKED_BYTES]);
    header[CHECKED_BYTES..].copy_from_slice(&check[..16]);
    header
}

impl Segment {
    /// A segment that was just made, without entries.
    pub(crate) fn new(
        path: PathBuf,
        file: File,
        ledger: LedgerId,
        first: u64,
        capacity: u64,
    ) -> Self {
        Self { path, file, first, ledger, capacity, offsets: Mutex::new(vec![DATA_START]) }
    }

    /// Opens the file at `path`, whose name says that it begins with `first`.
    pub(crate) fn open(path: PathBuf, first: u64, writable: bool) -> Result<Self, Error> {
        let file = File::options()
            .read(true)
            .write(writable)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        let mut found = [0; HEADER_BYTES];
        file.read_exact_at(&mut found, 0).map_err(Error::file("read", &path))?;
        let mut ledger = LedgerId([0; 16]);
        ledger.0.copy_from_slice(&found[8..24]);
        let mut capacity = [0; 8];
        capacity.copy_from_slice(&found[32..40]);
        let capacity = u64::from_be_bytes(capacity);
        let size = file.metadata().map_err(Error::file("read", &path))?.len();
        if found != header(ledger, first, capacity) || size != capacity {
            let what = "the segment's own header does not fit its name, size or check".to_owned();
            return Err(Error::Damaged { number: first, path, offset: 0, what });
        }
        Ok(Self::new(path, file, ledger, first, capacity))
    }

    /// The number of the last entry known to lie here; `first - 1` when there is none.
    pub(crate) fn last(&self) -> u64 {
        self.first + count(&self.offsets()) - 1
    }

    /// Where the last entry known to lie here ends.
    pub(crate) fn end(&self) -> u64 {
        self.offsets().last().copied().unwrap_or(DATA_START)
    }

    /// Notes that one more entry lies here durably, up to `end`.
    pub(crate) fn extend(&self, end: u64) {
        self.offsets().push(end);
    }

    /// Finds the entries up to number `last` by hopping from length to length.
    ///
    /// The contents are checked when they are read, not here: this is what makes opening a large
    /// ledger quick.
    pub(crate) fn index_to(&self, last: u64) -> Result<(), Error> {
        let mut offsets = self.offsets();
        while self.first + count(&offsets) <= last {
            let number = self.first + count(&offsets);
            let at = offsets.last().copied().unwrap_or(DATA_START);
            let mut header = [0; slot::HEADER];
            let length = if at + slot::HEADER as u64 > self.capacity {
                None
            } else {
                self.file
                    .read_exact_at(&mut header, at)
                    .map_err(Error::file("read", &self.path))?;
                slot::length(&header)
            };
            let end = length.map(|length| at + (slot::HEADER + length) as u64);
            match end.filter(|end| *end <= self.capacity) {
                Some(end) => offsets.push(end),
                None => return Err(self.damaged(number, at, "its length is impossible")),
            }
        }
        Ok(())
    }

    /// Entries `from` to at most `to`, as many as fit, at least one.
    pub(crate) fn read(
        &self,
        from: u64,
        to: u64,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, Error> {
        self.index_to(to)?;
        let wanted = usize::try_from(to - from + 1).unwrap_or(usize::MAX).min(max_entries.max(1));
        let skip = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        let offsets: Vec<u64> =
            self.offsets().iter().skip(skip).take(wanted.saturating_add(1)).copied().collect();
        let Some(start) = offsets.first().copied() else { return Ok(Vec::new()) };
        let fits = |end: &&u64| usize::try_from(**end - start).is_ok_and(|size| size <= max_bytes);
        let entries = offsets[1..].iter().take_while(fits).count().max(1);
        let Some(end) = offsets.get(entries) else { return Ok(Vec::new()) };
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, start).map_err(Error::file("read", &self.path))?;
        let bytes = Bytes::from(bytes);
        offsets[..entries]
            .iter()
            .zip(from..)
            .map(|(at, number)| self.entry_in(&bytes, start, *at, number))
            .collect()
    }

    /// The whole entry `number` at offset `at` of the file, of which `bytes` starts at `start`.
    fn entry_in(&self, bytes: &Bytes, start: u64, at: u64, number: u64) -> Result<Bytes, Error> {
        let slot = usize::try_from(at - start).ok().and_then(|skip| bytes.get(skip..));
        let Some(entry) = slot.and_then(slot::decode) else {
            return Err(self.damaged(number, at, "its check does not fit"));
        };
        match place(entry) {
            Some(place) if place.number == number && place.ledger == self.ledger => {
                Ok(bytes.slice_ref(entry))
            }
            Some(_) | None => Err(self.damaged(number, at, "another entry is in its place")),
        }
    }

    pub(crate) fn damaged(&self, number: u64, offset: u64, what: &str) -> Error {
        Error::Damaged { number, path: self.path.clone(), offset, what: what.to_owned() }
    }

    fn offsets(&self) -> MutexGuard<'_, Vec<u64>> {
        // A panic elsewhere cannot leave the list half changed: it only ever grows by one push.
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(offsets: &[u64]) -> u64 {
    (offsets.len() as u64).saturating_sub(1)
}

/// Makes what happened to the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::file("sync", dir))
}
