//! What a node itself remembers of the ledger, so that no store can quietly hand it another one.
//!
//! The [`Anchor`] is a small file next to the configuration: the last entry this node verified, with
//! its last event's index and link. Beside it lie the last 64 MB of entries. A [`Keeper`] writes
//! both, off the answer path, at most [`BEHIND_MAX`] behind. When a ledger is opened, [`check`]
//! refuses one that is shorter than the anchor or holds something else there, and [`repair`] puts
//! back, byte for byte, what is missing at its end and still kept here.

mod keep;
mod kept;
mod repair;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bailiwick_core::record::fault::FaultKind;
use bailiwick_core::record::{EntryRef, LedgerId, Link};

pub use self::keep::Keeper;
pub use self::repair::{Repaired, repair};

use crate::Error;
use crate::log::Reader;

/// How far the anchor may be behind the last entry that was handed to the keeper.
pub const BEHIND_MAX: Duration = Duration::from_millis(100);

const NAME: &str = "anchor";
const TEMPORARY: &str = "anchor.tmp";
const MAGIC: &[u8; 8] = b"BWKANCH1";
const FIXED_BYTES: usize = 8 + 16 + 8 + 8 + 32 + 4;
const CHECK_BYTES: usize = 32;
/// A checkpoint is a short signed note; this leaves room for many witnesses.
const CHECKPOINT_BYTES_MAX: usize = 64 << 10;

/// The last entry that this node verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The ledger.
    pub ledger: LedgerId,
    /// The entry's number.
    pub number: u64,
    /// The index of the entry's last event.
    pub index: u64,
    /// That event's link.
    pub link: Link,
    /// The last signed checkpoint, a C2SP note, where there is one.
    pub checkpoint: Option<String>,
}

/// Why a ledger is not served, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The ledger is shorter than it was.
    #[error(
        "the ledger ends at entry {head}, but this node has verified it up to entry {anchored}: \
         it was rolled back; run `bailiwick ledger repair`"
    )]
    HeadBelow {
        /// The last entry stored.
        head: u64,
        /// The last entry verified.
        anchored: u64,
    },
    /// The ledger says something else than it did.
    #[error(
        "event {index} (entry {number}) is another than this node has verified: its link is \
         {found}, not {anchored}; the history was replaced, restore the ledger from a copy that \
         has the anchored link"
    )]
    OtherLink {
        /// The anchored entry.
        number: u64,
        /// The anchored event.
        index: u64,
        /// What is stored there: a link, or what else.
        found: String,
        /// The anchored link.
        anchored: Link,
    },
    /// The ledger's beginning is gone.
    #[error(
        "the ledger begins with entry {first}, not 1: its beginning was removed; restore it from a \
         copy, `bailiwick ledger repair` can only put back the end"
    )]
    FirstMissing {
        /// The first entry stored.
        first: u64,
    },
    /// A ledger that this node has never seen.
    #[error(
        "this node has no anchor, but the ledger has {head} entries: compare its checkpoint with \
         another node's, then start once with `--trust-head`"
    )]
    NoAnchor {
        /// The last entry stored.
        head: u64,
    },
    /// The anchor file itself is not whole.
    #[error(
        "the anchor `{path}` is damaged: {what}; compare the ledger's checkpoint with another \
         node's, remove the file, then start once with `--trust-head`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// What is missing is not kept here any more.
    #[error(
        "entries {from} to {to} are missing and entry {missing} is not kept on this node: restore \
         the ledger from another node's kept entries or from a copy"
    )]
    NotKept {
        /// The first entry missing.
        from: u64,
        /// The last entry verified.
        to: u64,
        /// The first one that is not kept.
        missing: u64,
    },
    /// What is kept does not continue what is stored.
    #[error(
        "the kept entry {number} does not continue the ledger: {what}; nothing was changed, restore \
         the ledger from a copy"
    )]
    Discontinued {
        /// The first entry that does not fit.
        number: u64,
        /// What is wrong.
        what: String,
    },
}

/// The end of one entry: what an anchor remembers of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) ledger: LedgerId,
    pub(crate) number: u64,
    pub(crate) index: u64,
    pub(crate) link: Link,
}

/// The end of the entry in `bytes`, whose frames must parse; the chain is the reader's to check.
pub(crate) fn end(bytes: &[u8]) -> Result<End, FaultKind> {
    let entry = EntryRef::parse(bytes)?;
    let last = entry.frames().last().ok_or(FaultKind::Frames)?;
    Ok(End {
        ledger: entry.ledger(),
        number: entry.number(),
        index: last.header.index,
        link: last.link(),
    })
}

/// Checks, on start, that the ledger behind `reader` is the one that this node knows.
///
/// Without an anchor a ledger that has entries is accepted only if `trust_head` is set: somebody
/// has to say that this one is right.
///
/// # Errors
/// [`Error::Anchor`] to refuse to serve; [`Error::Unavailable`] and the like when reading failed.
pub fn check(anchor: Option<&Anchor>, reader: &dyn Reader, trust_head: bool) -> Result<(), Error> {
    let first = reader.first()?;
    if first != 1 {
        return Err(Fault::FirstMissing { first }.into());
    }
    match anchor {
        Some(anchor) => anchor.check(reader),
        None => match reader.head()? {
            0 => Ok(()),
            _ if trust_head => Ok(()),
            head => Err(Fault::NoAnchor { head }.into()),
        },
    }
}

impl Anchor {
    /// Reads the anchor in `dir`; none when there is no such file.
    ///
    /// # Errors
    /// [`Fault::Damaged`] in [`Error::Anchor`] when the file is not whole, [`Error::File`].
    pub fn load(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::file("read", &path)(e)),
        };
        match Self::decode(&bytes) {
            Ok(anchor) => Ok(Some(anchor)),
            Err(what) => Err(Fault::Damaged { path, what }.into()),
        }
    }

    /// Puts this anchor in the place of the one in `dir`: after a crash there is the old one or
    /// the new one, whole.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn store(&self, dir: &Path) -> Result<(), Error> {
        let (path, temporary) = (dir.join(NAME), dir.join(TEMPORARY));
        let written = File::create(&temporary)
            .and_then(|mut file| file.write_all(&self.encode()).and_then(|()| file.sync_all()));
        written.map_err(Error::file("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(Error::file("rename", &temporary))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::file("sync", dir))
    }

    /// Checks that the ledger reaches the anchored entry and holds the same event there.
    ///
    /// # Errors
    /// As [`check`].
    pub fn check(&self, reader: &dyn Reader) -> Result<(), Error> {
        let head = reader.head()?;
        if head < self.number {
            return Err(Fault::HeadBelow { head, anchored: self.number }.into());
        }
        let stored = reader.read(self.number, 1, usize::MAX)?;
        let found = match stored.first().map(|bytes| end(bytes)) {
            Some(Ok(end)) if end == self.end() => return Ok(()),
            Some(Ok(end)) if end.ledger != self.ledger => format!("one of ledger {}", end.ledger),
            Some(Ok(end)) => end.link.to_string(),
            Some(Err(what)) => format!("unreadable ({what})"),
            None => "not there".to_owned(),
        };
        let (number, index, anchored) = (self.number, self.index, self.link);
        Err(Fault::OtherLink { number, index, found, anchored }.into())
    }

    pub(crate) fn end(&self) -> End {
        End { ledger: self.ledger, number: self.number, index: self.index, link: self.link }
    }

    fn encode(&self) -> Vec<u8> {
        let note = self.checkpoint.as_deref().unwrap_or_default().as_bytes();
        let mut bytes = Vec::with_capacity(FIXED_BYTES + note.len() + CHECK_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.ledger.0);
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.index.to_be_bytes());
        bytes.extend_from_slice(&self.link.0);
        bytes.extend_from_slice(&u32::try_from(note.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(note);
        let check = blake3::derive_key("bailiwick v1 anchor", &bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "it is too short";
        let (body, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(SHORT)?;
        if blake3::derive_key("bailiwick v1 anchor", body) != *check {
            return Err("its check does not fit");
        }
        let fixed = body.first_chunk::<FIXED_BYTES>().ok_or(SHORT)?;
        if !fixed.starts_with(MAGIC) {
            return Err("it is not an anchor");
        }
        let note = str::from_utf8(&body[FIXED_BYTES..]).map_err(|_| "its note is not text")?;
        if u32::from_be_bytes(part(fixed, 72)) as usize != note.len() {
            return Err("its length does not fit");
        }
        Ok(Self {
            ledger: LedgerId(part(fixed, 8)),
            number: u64::from_be_bytes(part(fixed, 24)),
            index: u64::from_be_bytes(part(fixed, 32)),
            link: Link(part(fixed, 40)),
            checkpoint: (!note.is_empty()).then(|| note.to_owned()),
        })
    }
}

fn part<const N: usize>(bytes: &[u8; FIXED_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

#[cfg(test)]
mod tests;
