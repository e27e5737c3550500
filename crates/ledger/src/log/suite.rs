//! What every log does, as functions over any log. The embedded log, JetStream and simulated ones
//! pass it; a failed law panics with what it saw.
//!
//! A [`Rig`] is the log under test with the means to break it. Laws that need a fault which a rig
//! cannot make are left out for that rig.

use std::time::{Duration, Instant};

use bailiwick_core::record::entry::{ENTRY_BYTES_MAX, ENTRY_BYTES_MIN, PREFIX_BYTES, SUFFIX_BYTES};
use bailiwick_core::record::{LedgerId, Link};
use bytes::Bytes;

use super::{ATTEMPT_MAX, Append, Log, MAGIC, Reader};
use crate::Error;

/// How long an outcome may stay unknown once a fault is healed.
const RESOLVED_MAX: Duration = Duration::from_secs(30);
/// What a loaded machine may add to a bounded wait.
const SLACK: Duration = Duration::from_secs(1);

/// A store of its own, empty at first, and the faults it can have.
pub trait Rig {
    /// Opens the log over what is stored now. No other log of this rig is open.
    fn open(&mut self) -> Box<dyn Log>;

    /// Opens one more log beside the open ones, where the store allows several writers.
    fn open_beside(&mut self) -> Option<Box<dyn Log>>;

    /// Ends whatever stores without warning and starts it again over what is on disk.
    fn crash(&mut self);

    /// Makes `fault` happen from now on; false where this rig cannot.
    fn inject(&mut self, fault: Fault) -> bool;

    /// Ends every fault.
    fn heal(&mut self);
}

/// What a rig can be asked to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next append is stored, but its answer does not arrive.
    LostAck,
    /// Nothing gets through.
    Unreachable,
    /// There is no room.
    Full,
}

/// Runs every law, each on a rig of its own.
pub fn run_all(make: &mut dyn FnMut() -> Box<dyn Rig>) {
    let laws: [fn(&mut dyn Rig); 13] = [
        an_empty_log_has_no_entries,
        entries_are_read_back_as_they_were_written,
        any_point_can_be_followed_from,
        only_the_next_number_is_appended,
        the_same_bytes_again_are_committed_once,
        other_bytes_lose_the_race,
        of_two_writers_one_wins,
        what_is_no_entry_is_refused,
        a_reopened_log_goes_on,
        a_crash_loses_nothing_committed,
        a_lost_ack_is_resolved,
        an_outage_is_unknown_in_bounded_time,
        a_full_store_recovers,
    ];
    for law in laws {
        law(&mut *make());
    }
}

/// An empty log: head 0, first 1, nothing to read.
pub fn an_empty_log_has_no_entries(rig: &mut dyn Rig) {
    let mut log = rig.open();
    assert_eq!(log.head().expect("head"), 0);
    let reader = log.reader();
    assert_eq!(reader.head().expect("head"), 0);
    assert_eq!(reader.first().expect("first"), 1);
    assert_eq!(read(&*reader, 1), Vec::<Bytes>::new());
}

/// The smallest, the largest and some between come back byte for byte, to a reader that is older.
pub fn entries_are_read_back_as_they_were_written(rig: &mut dyn Rig) {
    let mut log = rig.open();
    let reader = log.reader();
    let sizes = [ENTRY_BYTES_MIN, 330, 4_096, 40_000, ENTRY_BYTES_MAX];
    let entries: Vec<_> = (1..).zip(sizes).map(|(number, size)| some(number, size)).collect();
    for (head, bytes) in (0..).zip(&entries) {
        commit(&mut *log, head, bytes);
        assert_eq!(log.head().expect("head"), head + 1);
        assert_eq!(reader.head().expect("head"), head + 1);
    }
    assert_eq!(all(&*reader), entries);
    assert_eq!(reader.first().expect("first"), 1);
}

/// Reading starts at any number and keeps both limits, but always gets somewhere.
pub fn any_point_can_be_followed_from(rig: &mut dyn Rig) {
    let mut log = rig.open();
    let entries: Vec<_> = (1..=40).map(|number| some(number, 5_000)).collect();
    for (head, bytes) in (0..).zip(&entries) {
        commit(&mut *log, head, bytes);
    }
    let reader = log.reader();
    for from in 1..=40 {
        let found = read(&*reader, from);
        assert_eq!(found.first(), entries.get(usize::try_from(from - 1).expect("small")));
        let few = reader.read(from, 3, usize::MAX).expect("read");
        assert!((1..=3).contains(&few.len()), "{} entries from {from}", few.len());
        let small = reader.read(from, 100, 12_000).expect("read");
        assert!((1..=2).contains(&small.len()), "{} entries from {from}", small.len());
        let one = reader.read(from, 100, 1).expect("read");
        assert_eq!(one.len(), 1, "one entry even if it alone is past the limit");
    }
    assert_eq!(read(&*reader, 41), Vec::<Bytes>::new());
    assert_eq!(read(&*reader, u64::MAX), Vec::<Bytes>::new());
}

/// An entry that leaves a gap is not taken, whatever is said about it.
pub fn only_the_next_number_is_appended(rig: &mut dyn Rig) {
    let mut log = rig.open();
    refused(&mut *log, 1, &some(2, 500));
    commit(&mut *log, 0, &some(1, 500));
    refused(&mut *log, 2, &some(3, 500));
    assert_eq!(log.head().expect("head"), 1);
    assert_eq!(all(&*log.reader()), [some(1, 500)]);
}

/// A repetition, with or without the message's id, is committed and stored once.
pub fn the_same_bytes_again_are_committed_once(rig: &mut dyn Rig) {
    let mut log = rig.open();
    let entries = [some(1, 500), some(2, 500)];
    commit(&mut *log, 0, &entries[0]);
    commit(&mut *log, 0, &entries[0]);
    commit(&mut *log, 1, &entries[1]);
    for (head, bytes) in (0..).zip(&entries) {
        commit(&mut *log, head, bytes);
        assert!(matches!(log.append(head, bytes, None), Append::Committed));
    }
    assert_eq!(all(&*log.reader()), entries);
}

/// Other bytes at a number that is taken are told so and change nothing.
pub fn other_bytes_lose_the_race(rig: &mut dyn Rig) {
    let mut log = rig.open();
    let entries = [some(1, 500), some(2, 500)];
    for (head, bytes) in (0..).zip(&entries) {
        commit(&mut *log, head, bytes);
    }
    for head in 0..2 {
        let other = entry(LEDGER, head + 1, 600, 0x5a);
        let outcome = log.append(head, &other, Some(&message_id(&other)));
        assert!(matches!(outcome, Append::LostRace), "{outcome:?}");
    }
    assert_eq!(all(&*log.reader()), entries);
    commit(&mut *log, 2, &some(3, 500));
}

/// Two writers at one head: one is committed, the other hears that it lost.
pub fn of_two_writers_one_wins(rig: &mut dyn Rig) {
    let mut first = rig.open();
    let Some(mut second) = rig.open_beside() else { return };
    for head in 0..20 {
        let (ours, theirs) = (some(head + 1, 700), entry(LEDGER, head + 1, 700, 0x5a));
        let outcomes = std::thread::scope(|scope| {
            let other = scope.spawn(|| settle(&mut *second, head, &theirs));
            [settle(&mut *first, head, &ours), other.join().expect("the second writer")]
        });
        let won = outcomes.iter().filter(|o| matches!(o, Append::Committed)).count();
        let lost = outcomes.iter().filter(|o| matches!(o, Append::LostRace)).count();
        assert_eq!((won, lost), (1, 1), "{outcomes:?}");
        let stored = read(&*first.reader(), head + 1);
        let winner = if matches!(outcomes[0], Append::Committed) { &ours } else { &theirs };
        assert_eq!(stored.first(), Some(winner));
    }
}

/// Oversize, cut, misnumbered and foreign bytes are refused; the log goes on.
pub fn what_is_no_entry_is_refused(rig: &mut dyn Rig) {
    let mut log = rig.open();
    let oversize = some(1, ENTRY_BYTES_MAX + 1);
    let mut cut = some(1, 500).to_vec();
    cut.pop();
    for bad in [oversize.to_vec(), cut, some(2, 500).to_vec(), Vec::new(), vec![0; 500]] {
        let outcome = log.append(0, &bad, None);
        assert!(matches!(outcome, Append::Fatal(Error::NotAnEntry { .. })), "{outcome:?}");
    }
    commit(&mut *log, 0, &some(1, 500));
    let foreign = entry(LedgerId([9; 16]), 2, 500, 0);
    let outcome = log.append(1, &foreign, None);
    assert!(matches!(outcome, Append::Fatal(Error::NotAnEntry { .. })), "{outcome:?}");
    commit(&mut *log, 1, &some(2, 500));
    assert_eq!(all(&*log.reader()).len(), 2);
}

/// Opening again finds everything and goes on behind it; another ledger's entry is still refused.
pub fn a_reopened_log_goes_on(rig: &mut dyn Rig) {
    let entries: Vec<_> = (1..=9).map(|number| some(number, 20_000)).collect();
    for third in 0..3 {
        let mut log = rig.open();
        let head = log.head().expect("head");
        assert_eq!(head, third * 3);
        for head in head..head + 3 {
            commit(&mut *log, head, &entries[usize::try_from(head).expect("small")]);
        }
    }
    let mut log = rig.open();
    assert_eq!(all(&*log.reader()), entries);
    let outcome = log.append(9, &entry(LedgerId([9; 16]), 10, 500, 0), None);
    assert!(matches!(outcome, Append::Fatal(Error::NotAnEntry { .. })), "{outcome:?}");
}

/// After a crash everything committed is there, and the log goes on.
pub fn a_crash_loses_nothing_committed(rig: &mut dyn Rig) {
    let mut entries = Vec::new();
    for round in 0..3 {
        let mut log = rig.open();
        let head = log.head().expect("head");
        assert_eq!(head, round * 5, "head after a crash");
        for head in head..head + 5 {
            entries.push(some(head + 1, 30_000));
            commit(&mut *log, head, &entries[entries.len() - 1]);
        }
        rig.crash();
        drop(log);
    }
    assert_eq!(all(&*rig.open().reader()), entries);
}

/// Stored but not answered: the repetition finds it, and it is there once.
pub fn a_lost_ack_is_resolved(rig: &mut dyn Rig) {
    let mut log = rig.open();
    let entries: Vec<_> = (1..=6).map(|number| some(number, 3_000)).collect();
    for (head, bytes) in (0..).zip(&entries) {
        if head % 2 == 1 {
            if !rig.inject(Fault::LostAck) {
                return;
            }
            let outcome = timed(&mut *log, head, bytes);
            assert!(matches!(outcome, Append::Unknown(_)), "{outcome:?}");
            rig.heal();
        }
        commit(&mut *log, head, bytes);
    }
    assert_eq!(all(&*log.reader()), entries);
}

/// While nothing gets through, every call ends in time; afterwards the same bytes are committed.
pub fn an_outage_is_unknown_in_bounded_time(rig: &mut dyn Rig) {
    let mut log = rig.open();
    let entries = [some(1, 3_000), some(2, 3_000)];
    commit(&mut *log, 0, &entries[0]);
    if !rig.inject(Fault::Unreachable) {
        return;
    }
    for _ in 0..3 {
        let outcome = timed(&mut *log, 1, &entries[1]);
        assert!(matches!(outcome, Append::Unknown(_)), "{outcome:?}");
    }
    assert!(log.head().expect_err("no head").is_unavailable());
    let reader = log.reader();
    assert!(reader.read(1, 1, 1).expect_err("no entry").is_unavailable());
    rig.heal();
    commit(&mut *log, 1, &entries[1]);
    assert_eq!(all(&*reader), entries);
}

/// Without room the outcome is unknown; with room again the same bytes are committed.
pub fn a_full_store_recovers(rig: &mut dyn Rig) {
    let mut log = rig.open();
    let entries = [some(1, 3_000), some(2, 3_000)];
    commit(&mut *log, 0, &entries[0]);
    if !rig.inject(Fault::Full) {
        return;
    }
    for _ in 0..3 {
        let outcome = timed(&mut *log, 1, &entries[1]);
        assert!(matches!(outcome, Append::Unknown(_)), "{outcome:?}");
    }
    assert_eq!(all(&*log.reader()), entries[..1]);
    rig.heal();
    commit(&mut *log, 1, &entries[1]);
    assert_eq!(all(&*log.reader()), entries);
}

const LEDGER: LedgerId = LedgerId([3; 16]);

/// An entry of `bytes` bytes with a true header; frames, key id and signature are `fill`.
#[must_use]
pub fn entry(ledger: LedgerId, number: u64, bytes: usize, fill: u8) -> Bytes {
    let size = bytes.saturating_sub(PREFIX_BYTES + SUFFIX_BYTES);
    let mut entry = Vec::with_capacity(bytes);
    entry.extend_from_slice(MAGIC);
    entry.extend_from_slice(&ledger.0);
    entry.extend_from_slice(&number.to_be_bytes());
    entry.extend_from_slice(&1_u64.to_be_bytes());
    entry.extend_from_slice(&1_u32.to_be_bytes());
    entry.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
    entry.resize(bytes, fill);
    entry.into()
}

/// The id under which the suite appends an entry.
#[must_use]
pub fn message_id(entry: &[u8]) -> Link {
    Link(*blake3::hash(entry).as_bytes())
}

/// Appends until it is committed, as the engine does.
///
/// # Panics
/// When it is not committed, or not within half a minute.
pub fn commit(log: &mut dyn Log, head: u64, entry: &[u8]) {
    let outcome = settle(log, head, entry);
    assert!(matches!(outcome, Append::Committed), "entry {}: {outcome:?}", head + 1);
}

/// Appends until the outcome is known.
///
/// # Panics
/// When it is not known within half a minute.
pub fn settle(log: &mut dyn Log, head: u64, entry: &[u8]) -> Append {
    let started = Instant::now();
    loop {
        match log.append(head, entry, Some(&message_id(entry))) {
            Append::Unknown(reason) => {
                assert!(started.elapsed() < RESOLVED_MAX, "still unknown: {reason}");
                std::thread::park_timeout(Duration::from_millis(10));
            }
            known @ (Append::Committed | Append::LostRace | Append::Fatal(_)) => return known,
        }
    }
}

/// Every entry of the log, however many reads it takes.
///
/// # Panics
/// When a read fails or the entries end before the head.
#[must_use]
pub fn all(reader: &dyn Reader) -> Vec<Bytes> {
    let mut entries = Vec::new();
    let head = reader.head().expect("head");
    while (entries.len() as u64) < head {
        let found = read(reader, entries.len() as u64 + 1);
        assert!(!found.is_empty(), "{} entries up to head {head}", entries.len());
        entries.extend(found);
    }
    entries
}

fn some(number: u64, bytes: usize) -> Bytes {
    entry(LEDGER, number, bytes, 0xa5)
}

fn read(reader: &dyn Reader, from: u64) -> Vec<Bytes> {
    reader.read(from, 1_000, 8 << 20).expect("read")
}

fn timed(log: &mut dyn Log, head: u64, entry: &[u8]) -> Append {
    let started = Instant::now();
    let outcome = log.append(head, entry, Some(&message_id(entry)));
    let took = started.elapsed();
    assert!(took < ATTEMPT_MAX + SLACK, "one attempt took {took:?}");
    outcome
}

fn refused(log: &mut dyn Log, head: u64, entry: &[u8]) {
    let outcome = timed(log, head, entry);
    assert!(matches!(outcome, Append::Unknown(_) | Append::Fatal(_)), "{outcome:?}");
}
