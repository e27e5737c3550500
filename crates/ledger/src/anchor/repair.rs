//! Puts back the end of a ledger that was rolled back, byte for byte, or changes nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use bailiwick_core::record::hash::{body_digest, genesis_link};
use bailiwick_core::record::{EntryRef, Link};
use bytes::Bytes;

use super::keep::KEPT_DIR;
use super::{Anchor, Fault, end, kept};
use crate::Error;
use crate::log::{Append, Log, Reader};

/// How long one entry's outcome may stay unknown.
const RESOLVED_MAX: Duration = Duration::from_secs(30);
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// What a repair did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repaired {
    /// The ledger's head before.
    pub head_before: u64,
    /// The ledger's head now.
    pub head: u64,
}

/// Where the chain stands: what the next event must have.
struct Chain {
    index: u64,
    link: Link,
}

/// Appends to `log` the entries that are missing at its end and kept beside the anchor in `dir`.
///
/// All of them are checked first: they continue what is stored, link by link, and lead to the
/// anchored link. Entries kept past the anchor are put back as well. A ledger that already reaches
/// its anchor is checked and left alone. No other writer may be at work.
///
/// # Errors
/// [`Error::Anchor`] when what is missing is not kept, does not fit, or there is no anchor;
/// otherwise what the log said. Nothing is appended unless everything fits.
pub fn repair(log: &mut dyn Log, dir: &Path) -> Result<Repaired, Error> {
    let reader = log.reader();
    let first = reader.first()?;
    if first != 1 {
        return Err(Fault::FirstMissing { first }.into());
    }
    let head = log.head()?;
    let Some(anchor) = Anchor::load(dir)? else {
        return Err(Fault::NoAnchor { head }.into());
    };
    if head >= anchor.number {
        anchor.check(&*reader)?;
        return Ok(Repaired { head_before: head, head });
    }
    let entries = kept::load(&dir.join(KEPT_DIR))?;
    let stored = read_head(&*reader, head)?;
    if let Some(kept) = entries.get(&head).filter(|kept| Some(*kept) != stored.as_ref()) {
        let what = format!("{} bytes are stored as its number that are not its own", kept.len());
        return Err(Fault::Discontinued { number: head, what }.into());
    }
    let missing: Vec<&Bytes> = (head + 1..).map_while(|number| entries.get(&number)).collect();
    let last_kept = head + missing.len() as u64;
    if last_kept < anchor.number {
        let (from, to, missing) = (head + 1, anchor.number, last_kept + 1);
        return Err(Fault::NotKept { from, to, missing }.into());
    }
    check_chain(&anchor, stored.as_ref(), head, &missing)?;
    for (head, entry) in (head..).zip(missing) {
        put_back(log, head, entry)?;
    }
    anchor.check(&*reader)?;
    Ok(Repaired { head_before: head, head: last_kept })
}

fn read_head(reader: &dyn Reader, head: u64) -> Result<Option<Bytes>, Error> {
    if head == 0 {
        return Ok(None);
    }
    Ok(reader.read(head, 1, usize::MAX)?.into_iter().next())
}

/// Checks that `missing` continue `stored`, entry `head`, up to the anchored link and beyond.
fn check_chain(
    anchor: &Anchor,
    stored: Option<&Bytes>,
    head: u64,
    missing: &[&Bytes],
) -> Result<(), Error> {
    let mut chain = match stored.map(|bytes| end(bytes)) {
        None => Chain { index: 0, link: genesis_link(anchor.ledger) },
        Some(Ok(end)) if end.ledger == anchor.ledger && end.number == head => {
            Chain { index: end.index + 1, link: end.link }
        }
        Some(Ok(_)) => return discontinued(head, "what is stored before it is not its ledger's"),
        Some(Err(what)) => {
            return discontinued(head, &format!("what is stored before it is broken: {what}"));
        }
    };
    for (number, entry) in (head + 1..).zip(missing) {
        follow(&mut chain, anchor, number, entry)?;
        let anchored = chain.link == anchor.link && chain.index == anchor.index + 1;
        if number == anchor.number && !anchored {
            return discontinued(number, "it does not lead to the anchored link");
        }
    }
    Ok(())
}

/// Takes the chain over one entry. The signature was checked before the entry was kept, and the
/// links up to the anchored one prove that it is still the same.
fn follow(chain: &mut Chain, anchor: &Anchor, number: u64, bytes: &[u8]) -> Result<(), Error> {
    let entry = match EntryRef::parse(bytes) {
        Ok(entry) => entry,
        Err(what) => return discontinued(number, &what.to_string()),
    };
    if entry.ledger() != anchor.ledger || entry.number() != number {
        return discontinued(number, "it is another entry");
    }
    for frame in entry.frames() {
        let header = &frame.header;
        if header.index != chain.index || header.prev != chain.link {
            return discontinued(number, "it follows another event");
        }
        if header.digest != body_digest(frame.body) {
            return discontinued(number, "an event's body is not the one its header names");
        }
        *chain = Chain { index: chain.index + 1, link: frame.link() };
    }
    Ok(())
}

/// Appends one entry, without a message id: a stream that lost the entry may still remember its id
/// for ten minutes and would answer `duplicate` without storing it.
fn put_back(log: &mut dyn Log, head: u64, entry: &[u8]) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        match log.append(head, entry, None) {
            Append::Committed => return Ok(()),
            Append::LostRace => {
                return discontinued(head + 1, "another writer has just stored something else");
            }
            Append::Fatal(e) => return Err(e),
            Append::Unknown(reason) if started.elapsed() > RESOLVED_MAX => {
                return Err(Error::Unavailable { what: reason.to_string() });
            }
            Append::Unknown(_) => std::thread::park_timeout(RETRY_DELAY),
        }
    }
}

fn discontinued<T>(number: u64, what: &str) -> Result<T, Error> {
    Err(Fault::Discontinued { number, what: what.to_owned() }.into())
}
