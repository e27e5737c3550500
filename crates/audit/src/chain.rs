//! The record itself, beside the tables: entries are read from the log and verified, so that rows can
//! be held against them.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bailiwick_core::record::entry::EntryRef;
use bailiwick_core::record::verify::verify_entry;
use bailiwick_core::record::{Fault, KeyRing, LedgerId, Link, Position, Signatures};
use bailiwick_core::time::Time;
use bailiwick_ledger::Error;
use bailiwick_ledger::log::Reader;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Entries and bytes that are read at a time.
const READ_ENTRIES: usize = 256;
pub(crate) const READ_BYTES: usize = 4 << 20;
/// Entries that are tried, one behind the other, where one cannot be read.
const PROBES: u64 = 8;

/// Where a ledger's entries are read, and under which keys they are verified. Cheap to clone.
#[derive(Clone)]
pub struct Chain {
    ledger: LedgerId,
    reader: Arc<dyn Reader>,
    keys: Arc<dyn Fn() -> KeyRing + Send + Sync>,
    turn: Arc<Semaphore>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// An event as its entry has it, without its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) link: Link,
    pub(crate) time: Time,
    pub(crate) kind: u16,
}

/// What the entries with some events came to.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// How many entries hold them.
    pub(crate) entries: u64,
    /// Link of the event before the first; none where the first is the ledger's own.
    pub(crate) before: Option<Link>,
    /// Each of the events.
    pub(crate) headers: Vec<Header>,
}

/// Why they are not verified.
#[derive(Debug)]
pub(crate) enum Broken {
    /// They are not what they should be.
    Fault {
        /// The first event that is not verified.
        index: u64,
        what: String,
    },
    /// The log does not answer.
    Log(Error),
    /// Nobody waits for it any more.
    Abandoned,
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault { index: fault.index, what: fault.to_string() }
    }
}

impl Chain {
    /// The entries of `ledger`, verified under the keys that `keys` gives whenever it is asked.
    pub fn new(
        ledger: LedgerId,
        reader: Arc<dyn Reader>,
        keys: impl Fn() -> KeyRing + Send + Sync + 'static,
    ) -> Self {
        Self { ledger, reader, keys: Arc::new(keys), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Waits for its turn: signatures are costly, and one question at a time checks them.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.turn).acquire_owned().await
    }

    /// Verifies the entries that hold these events: chain, digests and signatures. Blocks while it
    /// reads, and looks between entries whether `is_wanted`.
    ///
    /// # Errors
    /// [`Broken`] with the first thing that is wrong.
    pub(crate) fn verify(
        &self,
        events: &RangeInclusive<u64>,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Verified, Broken> {
        let keys = (self.keys)();
        let mut at = self.before(*events.start(), is_wanted)?;
        let count = usize::try_from(events.end() - events.start() + 1).unwrap_or(usize::MAX);
        let headers = Vec::with_capacity(count);
        let mut verified = Verified { headers, ..Verified::default() };
        while at.next_index <= *events.end() {
            let from = at.next_index;
            let next = at.entry_number + 1;
            let mut entries = self.read(next, from, READ_ENTRIES, READ_BYTES);
            if matches!(entries, Err(Broken::Fault { .. })) {
                // One by one, the entry that is damaged comes when its event does.
                entries = self.read(next, from, 1, 1);
            }
            let entries = entries?;
            if entries.is_empty() {
                let what = format!("the ledger ends before event {from}");
                return Err(Broken::Fault { index: from, what });
            }
            for bytes in entries {
                if !is_wanted() {
                    return Err(Broken::Abandoned);
                }
                let after = verify_entry(&at, self.ledger, &keys, Signatures::Check, &bytes)?;
                self.take(&at, &bytes, events, &mut verified)?;
                at = after;
                if at.next_index > *events.end() {
                    break;
                }
            }
        }
        // However the entries were found, these are all events of the range and no others.
        let held = verified.headers.len() as u64;
        if held != events.end() - events.start() + 1 {
            let index = events.start() + held;
            return Err(Broken::Fault { index, what: "the entries do not hold it".to_owned() });
        }
        Ok(verified)
    }

    /// Keeps the links of an entry's events.
    fn take(
        &self,
        at: &Position,
        bytes: &[u8],
        events: &RangeInclusive<u64>,
        verified: &mut Verified,
    ) -> Result<(), Broken> {
        let held = verified.headers.len();
        let mut before = (at.next_index > 0).then_some(at.last_link);
        for frame in parsed(bytes, at.entry_number + 1, at.next_index)?.frames() {
            let link = frame.link();
            if frame.header.index == *events.start() {
                verified.before = before;
            }
            if events.contains(&frame.header.index) {
                let (time, kind) = (frame.header.time, frame.header.kind);
                verified.headers.push(Header { link, time, kind });
            }
            before = Some(link);
        }
        verified.entries += u64::from(verified.headers.len() > held);
        Ok(())
    }

    /// Where a reader stands before the entry with an event, by that entry's own account: it is found
    /// by halves, since numbers and indices both ascend. What is believed here is verified with the
    /// entry, and an entry that cannot be read is passed over: it comes when its events do.
    fn before(&self, index: u64, is_wanted: &dyn Fn() -> bool) -> Result<Position, Broken> {
        let genesis = Position::genesis(self.ledger);
        let (mut low, mut start) = (1, genesis);
        let mut high = self.reader.head().map_err(Broken::Log)?;
        while low < high {
            if !is_wanted() {
                return Err(Broken::Abandoned);
            }
            // The upper one of two: it is the first that may begin behind the event.
            let middle = high - (high - low) / 2;
            let last = high.min(middle + PROBES);
            let mut readable = (middle..=last).filter_map(|entry| self.begin(entry).transpose());
            match readable.next().transpose()? {
                Some(begin) if begin.next_index <= index => {
                    (low, start) = (begin.entry_number + 1, begin);
                }
                Some(_) | None => high = middle - 1,
            }
        }
        Ok(if low == 1 { genesis } else { start })
    }

    /// Where a reader stands before an entry, if that can be read.
    fn begin(&self, entry: u64) -> Result<Option<Position>, Broken> {
        let bytes = match self.read(entry, 0, 1, 1) {
            Ok(entries) => entries.into_iter().next(),
            Err(Broken::Fault { .. }) => None,
            Err(other) => return Err(other),
        };
        let parsed = bytes.as_ref().and_then(|bytes| EntryRef::parse(bytes).ok());
        let first = parsed.as_ref().and_then(|parsed| Some((parsed, parsed.frames().next()?)));
        Ok(first.map(|(parsed, frame)| Position {
            entry_number: entry - 1,
            next_index: frame.header.index,
            last_time: Time(0),
            last_link: frame.header.prev,
            epoch: parsed.epoch(),
        }))
    }

    fn read(
        &self,
        from: u64,
        index: u64,
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<bytes::Bytes>, Broken> {
        self.reader.read(from, entries, bytes).map_err(|error| {
            if matches!(error, Error::Damaged { .. } | Error::Missing { .. }) {
                return Broken::Fault { index, what: error.to_string() };
            }
            Broken::Log(error)
        })
    }
}

fn parsed(bytes: &[u8], entry: u64, index: u64) -> Result<EntryRef<'_>, Broken> {
    EntryRef::parse(bytes).map_err(|what| Fault { entry, index, what }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bailiwick_core::record::{EntryBuilder, PublicKey};
    use bytes::Bytes;
    use ed25519_dalek::SigningKey;

    const LEDGER: LedgerId = LedgerId([3; 16]);

    /// Entries as somebody may have left them in a store that checks nothing.
    struct Entries(Vec<Bytes>);

    impl Reader for Entries {
        fn head(&self) -> Result<u64, Error> {
            Ok(self.0.len() as u64)
        }

        fn read(&self, from: u64, entries: usize, _: usize) -> Result<Vec<Bytes>, Error> {
            let from = usize::try_from(from - 1).unwrap_or(usize::MAX);
            Ok(self.0.iter().skip(from).take(entries).cloned().collect())
        }

        fn first(&self) -> Result<u64, Error> {
            Ok(1)
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    /// Entries of three events each.
    fn entries(count: u64) -> Vec<Bytes> {
        let mut at = Position::genesis(LEDGER);
        let each = (0..count).map(|entry| {
            let mut builder = EntryBuilder::new(LEDGER, &at, 1);
            for event in 0..3 {
                builder.push(110, 1, Time(1 + entry * 3 + event), &[5; 20]).unwrap();
            }
            let sealed = builder.seal(&key()).unwrap();
            at = sealed.position();
            sealed.bytes.into()
        });
        each.collect()
    }

    fn verified(entries: Vec<Bytes>, events: RangeInclusive<u64>) -> Result<Vec<Link>, Broken> {
        let public = PublicKey(key().verifying_key().to_bytes());
        let ring = KeyRing::new(&public).unwrap();
        let chain = Chain::new(LEDGER, Arc::new(Entries(entries)), move || ring.clone());
        let verified = chain.verify(&events, &|| true)?;
        Ok(verified.headers.iter().map(|header| header.link).collect())
    }

    #[test]
    fn whatever_byte_is_altered_nothing_else_than_the_events_themselves_holds() {
        let good = entries(7);
        for events in [0..=20, 0..=0, 10..=13] {
            let links = verified(good.clone(), events.clone()).unwrap();
            assert_eq!(links.len() as u64, events.end() - events.start() + 1);
            for entry in 0..good.len() {
                let own = 3 * entry as u64..=3 * entry as u64 + 2;
                let is_in_range = own.start() <= events.end() && own.end() >= events.start();
                for at in 0..good[entry].len() {
                    let mut altered = good.clone();
                    let mut bytes = altered[entry].to_vec();
                    bytes[at] ^= 1;
                    altered[entry] = bytes.into();
                    match verified(altered, events.clone()) {
                        Ok(same) => {
                            assert!(!is_in_range, "entry {entry} byte {at} of {events:?}");
                            assert_eq!(same, links, "entry {entry} byte {at} of {events:?}");
                        }
                        Err(Broken::Fault { .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn claims_about_where_events_are_lead_nobody_past_them() {
        // Where the index stands in the header of an entry's first frame, and of its last.
        let (first, last) = (44 + 8, 44 + 8 + 2 * (92 + 20));
        for (entry, offset) in [(3, last), (5, first), (4, first), (0, first)] {
            for claimed in [0_u64, 9, 14, 99, u64::MAX] {
                let mut altered = entries(9);
                let mut bytes = altered[entry].to_vec();
                bytes[offset..offset + 8].copy_from_slice(&claimed.to_be_bytes());
                altered[entry] = bytes.into();
                for events in [0..=9, 10..=13, 12..=20, 26..=26] {
                    let links = verified(entries(9), events.clone()).unwrap();
                    if let Ok(same) = verified(altered.clone(), events.clone()) {
                        assert_eq!(same, links, "entry {entry} as {claimed}, {events:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn entries_that_cannot_be_read_spoil_no_others() {
        for broken in 0..9 {
            let mut altered = entries(9);
            altered[broken] = Bytes::from_static(b"nothing");
            let first = 3 * broken as u64;
            for index in 0..27 {
                let told = verified(altered.clone(), index..=index);
                if (first..first + 3).contains(&index) {
                    let Err(Broken::Fault { index: named, .. }) = told else { panic!("{told:?}") };
                    assert_eq!(named, first, "entry {broken}, event {index}");
                } else {
                    assert_eq!(told.unwrap().len(), 1, "entry {broken}, event {index}");
                }
            }
        }
    }

    #[test]
    fn when_nobody_waits_it_ends() {
        let ring = KeyRing::new(&PublicKey(key().verifying_key().to_bytes())).unwrap();
        let chain = Chain::new(LEDGER, Arc::new(Entries(entries(9))), move || ring.clone());
        assert!(matches!(chain.verify(&(0..=26), &|| false), Err(Broken::Abandoned)));
    }
}
