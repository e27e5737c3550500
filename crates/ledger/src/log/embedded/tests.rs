//! The embedded log's own laws; those of every log are in `log::suite`.

use std::io;

use super::*;
use crate::log::suite::{self, Fault, Rig, all, commit, entry};

const LEDGER: LedgerId = LedgerId([5; 16]);

struct Directory(tempfile::TempDir);

impl Rig for Directory {
    fn open(&mut self) -> Box<dyn Log> {
        Box::new(Embedded::open(self.0.path()).unwrap())
    }

    fn open_beside(&mut self) -> Option<Box<dyn Log>> {
        let refused = Embedded::open(self.0.path()).unwrap_err();
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        None
    }

    fn crash(&mut self) {
        // The store is this process; `tests/log.rs` kills one that is not.
    }

    fn inject(&mut self, _: Fault) -> bool {
        false
    }

    fn heal(&mut self) {}
}

fn one(number: u64, bytes: usize) -> Bytes {
    entry(LEDGER, number, bytes, 0xa5)
}

/// A directory with a log of entries 1 to `count`, closed.
fn stored(count: u64, bytes: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Embedded::open(dir.path()).unwrap();
    for head in 0..count {
        commit(&mut log, head, &one(head + 1, bytes));
    }
    dir
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(segment::file_name(first))
}

/// Writes `bytes` over the first segment's file at `at`.
fn overwrite(dir: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(segment_path(dir, 1)).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn slot_at(index: u64, bytes: usize) -> u64 {
    DATA_START + index * (slot::HEADER + bytes) as u64
}

#[test]
fn the_embedded_log_passes_the_suite() {
    suite::run_all(&mut || Box::new(Directory(tempfile::tempdir().unwrap())));
}

#[test]
fn a_torn_last_write_is_cut_off_and_its_place_is_used_again() {
    let dir = stored(3, 2_000);
    let mut slot = Vec::new();
    slot::encode(&one(4, 2_000), &mut slot);
    for cut in [600, 1_100, 1_600] {
        overwrite(dir.path(), slot_at(3, 2_000), &slot[..cut]);
        let reader = Embedded::open_read_only(dir.path()).unwrap();
        assert_eq!(reader.head().unwrap(), 3);
        drop(reader);
        let mut log = Embedded::open(dir.path()).unwrap();
        assert_eq!(log.head().unwrap(), 3);
    }
    let mut log = Embedded::open(dir.path()).unwrap();
    commit(&mut log, 3, &entry(LEDGER, 4, 700, 1));
    drop(log);
    let log = Embedded::open(dir.path()).unwrap();
    assert_eq!(all(&*log.reader()).len(), 4);
}

#[test]
fn a_whole_write_that_was_not_answered_counts() {
    let dir = stored(3, 2_000);
    let mut slot = Vec::new();
    slot::encode(&one(4, 2_000), &mut slot);
    overwrite(dir.path(), slot_at(3, 2_000), &slot);
    let mut log = Embedded::open(dir.path()).unwrap();
    assert_eq!(log.head().unwrap(), 4);
    commit(&mut log, 3, &one(4, 2_000));
    commit(&mut log, 4, &one(5, 2_000));
}

#[test]
fn damage_before_the_last_entry_stops_the_log_by_name() {
    for index in 0..3 {
        let dir = stored(3, 2_000);
        overwrite(dir.path(), slot_at(index, 2_000) + 1_000, b"rot");
        let refused = Embedded::open(dir.path()).unwrap_err();
        let Error::Damaged { number, offset, .. } = refused else { panic!("{refused}") };
        assert_eq!((number, offset), (index + 1, slot_at(index, 2_000)));
        assert!(Embedded::open_read_only(dir.path()).is_err());
    }
}

#[test]
fn damage_in_an_older_segment_is_named_when_it_is_read() {
    let dir = stored(8, 900_000);
    overwrite(dir.path(), slot_at(1, 900_000) + 5_000, b"rot");
    let log = Embedded::open(dir.path()).unwrap();
    let reader = log.reader();
    assert_eq!(reader.read(1, 1, 1).unwrap().len(), 1);
    let refused = reader.read(2, 1, 1).unwrap_err();
    assert!(matches!(refused, Error::Damaged { number: 2, .. }), "{refused}");
    assert!(reader.read(1, 10, usize::MAX).is_err());
}

#[test]
fn damaged_lengths_and_headers_are_named() {
    let dir = stored(8, 900_000);
    overwrite(dir.path(), slot_at(2, 900_000), &[0xff; 4]);
    let log = Embedded::open(dir.path()).unwrap();
    let refused = log.reader().read(1, 10, usize::MAX).unwrap_err();
    assert!(matches!(refused, Error::Damaged { number: 3, .. }), "{refused}");
    drop(log);
    overwrite(dir.path(), 20, b"x");
    let refused = Embedded::open(dir.path()).unwrap_err();
    assert!(matches!(refused, Error::Damaged { number: 1, offset: 0, .. }), "{refused}");
}

#[test]
fn a_missing_segment_is_named() {
    let dir = stored(20, 900_000);
    let second = {
        let log = Embedded::open(dir.path()).unwrap();
        let segments = log.stored.segments.read().unwrap();
        assert!(segments.len() >= 3, "{} segments", segments.len());
        segments[1].first
    };
    fs::remove_file(segment_path(dir.path(), second)).unwrap();
    let log = Embedded::open(dir.path()).unwrap();
    let refused = log.reader().read(second, 1, 1).unwrap_err();
    assert!(matches!(refused, Error::Damaged { number, .. } if number == second), "{refused}");
}

#[test]
fn the_first_segment_missing_is_seen_as_a_later_first_entry() {
    let dir = stored(8, 900_000);
    fs::remove_file(segment_path(dir.path(), 1)).unwrap();
    let log = Embedded::open(dir.path()).unwrap();
    let first = log.reader().first().unwrap();
    assert!(first > 1);
    assert!(matches!(log.reader().read(1, 1, 1).unwrap_err(), Error::Missing { number: 1, .. }));
}

#[test]
fn segments_double_and_are_found_again() {
    let dir = stored(40, 900_000);
    let mut log = Embedded::open(dir.path()).unwrap();
    let sizes: Vec<_> =
        log.stored.segments.read().unwrap().iter().map(|segment| segment.capacity).collect();
    assert_eq!(sizes, [4 << 20, 8 << 20, 16 << 20, 32 << 20]);
    assert_eq!(log.head().unwrap(), 40);
    let entries = all(&*log.reader());
    assert!((1..).zip(&entries).all(|(number, found)| *found == one(number, 900_000)));
}

#[test]
fn readers_keep_writers_out_and_each_other_not() {
    let dir = stored(1, 500);
    let first = Embedded::open_read_only(dir.path()).unwrap();
    let second = Embedded::open_read_only(dir.path()).unwrap();
    assert!(matches!(Embedded::open(dir.path()), Err(Error::InUse { .. })));
    drop((first, second));
    let log = Embedded::open(dir.path()).unwrap();
    let refused = Embedded::open_read_only(dir.path()).err().unwrap().to_string();
    let holder = format!("in use by process {}", std::process::id());
    assert!(refused.contains(&holder), "{refused}");
    drop(log);
    assert!(Embedded::open_read_only(dir.path()).is_ok());
}

#[test]
fn a_directory_without_a_ledger_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Embedded::open_read_only(dir.path()).err().unwrap();
    assert!(matches!(refused, Error::NoLedger { .. }), "{refused}");
}

#[test]
fn after_a_failed_sync_nothing_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Embedded::open(dir.path()).unwrap();
    commit(&mut log, 0, &one(1, 500));
    log.sync = |_| Err(io::Error::other("the disk is gone"));
    let outcome = log.append(1, &one(2, 500), None);
    assert!(matches!(outcome, Append::Fatal(Error::File { action: "sync", .. })), "{outcome:?}");
    log.sync = File::sync_data;
    for head in 0..2 {
        let outcome = log.append(head, &one(head + 1, 500), None);
        assert!(matches!(outcome, Append::Fatal(Error::Refusing { .. })), "{outcome:?}");
    }
    assert_eq!(log.reader().head().unwrap(), 1, "what is committed can still be read");
    drop(log);
    let mut log = Embedded::open(dir.path()).unwrap();
    let head = log.head().unwrap();
    assert!((1..=2).contains(&head), "read from the disk: {head}");
}

#[test]
fn a_next_segment_that_cannot_be_made_is_waited_for() {
    let dir = stored(4, 900_000);
    let mut log = Embedded::open(dir.path()).unwrap();
    log.next = None;
    fs::remove_file(dir.path().join("next.tmp")).unwrap();
    fs::create_dir(dir.path().join("next.tmp")).unwrap();
    let outcome = log.append(4, &one(5, 900_000), None);
    assert!(matches!(outcome, Append::Unknown(Reason::Full(_))), "{outcome:?}");
    assert_eq!(log.head().unwrap(), 4);
    fs::remove_dir(dir.path().join("next.tmp")).unwrap();
    commit(&mut log, 4, &one(5, 900_000));
}
