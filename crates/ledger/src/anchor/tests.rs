//! Anchors, the keeper and repairs, over the embedded log.

use std::time::Instant;

use bailiwick_core::record::{EntryBuilder, Position};
use bailiwick_core::time::Time;
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::*;
use crate::log::Log;
use crate::log::embedded::Embedded;
use crate::log::suite::{all, commit};

const LEDGER: LedgerId = LedgerId([4; 16]);

/// The first `count` entries of a chain whose bodies are `fill`, three events each.
fn chain_of(count: u64, fill: u8) -> Vec<Bytes> {
    let key = SigningKey::from_bytes(&[1; 32]);
    let mut at = Position::genesis(LEDGER);
    (1..=count)
        .map(|number| {
            let mut builder = EntryBuilder::new(LEDGER, &at, 1);
            for third in 0..3 {
                builder.push(1, 1, Time(number * 3 + third), &[fill; 300]).unwrap();
            }
            let sealed = builder.seal(&key).unwrap();
            at = sealed.position();
            sealed.bytes.into()
        })
        .collect()
}

fn chain(count: u64) -> Vec<Bytes> {
    chain_of(count, 7)
}

fn anchor_at(entry: &[u8]) -> Anchor {
    let end = end(entry).unwrap();
    let (ledger, number, index, link) = (end.ledger, end.number, end.index, end.link);
    Anchor { ledger, number, index, link, checkpoint: None }
}

/// A log that holds `entries`.
fn log_of(entries: &[Bytes]) -> (tempfile::TempDir, Embedded) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Embedded::open(dir.path()).unwrap();
    for (head, entry) in (0..).zip(entries) {
        commit(&mut log, head, entry);
    }
    (dir, log)
}

/// A directory with the anchor and what was kept after `entries`.
fn kept(entries: &[Bytes]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let keeper = Keeper::start(dir.path()).unwrap();
    for entry in entries {
        keeper.advance(entry.clone());
    }
    drop(keeper);
    dir
}

fn refusal(checked: Result<(), Error>) -> Fault {
    match checked {
        Err(Error::Anchor(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

fn refused_repair(log: &mut Embedded, dir: &Path) -> Fault {
    refusal(repair(log, dir).map(|_| ()))
}

#[test]
fn an_anchor_is_stored_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Anchor::load(dir.path()).unwrap(), None);
    let plain = anchor_at(&chain(2)[1]);
    let noted = Anchor { checkpoint: Some("origin\n12\nabc\n".to_owned()), ..plain.clone() };
    for anchor in [plain, noted] {
        anchor.store(dir.path()).unwrap();
        assert_eq!(Anchor::load(dir.path()).unwrap(), Some(anchor));
    }
}

#[test]
fn every_changed_or_missing_byte_of_an_anchor_is_seen() {
    let noted = Anchor { checkpoint: Some("note".to_owned()), ..anchor_at(&chain(1)[0]) };
    let whole = noted.encode();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert!(Anchor::decode(&bytes).is_err(), "byte {at}");
        assert!(Anchor::decode(&whole[..at]).is_err(), "cut at {at}");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(NAME), &whole[1..]).unwrap();
    assert!(matches!(refusal(Anchor::load(dir.path()).map(|_| ())), Fault::Damaged { .. }));
    assert!(Keeper::start(dir.path()).is_err(), "a damaged anchor is not written over");
}

#[test]
fn the_ledger_that_was_anchored_is_served() {
    let entries = chain(5);
    let (_dir, log) = log_of(&entries);
    for entry in &entries {
        check(Some(&anchor_at(entry)), &*log.reader(), false).unwrap();
    }
}

#[test]
fn a_ledger_below_its_anchor_is_refused() {
    let entries = chain(5);
    let (_dir, log) = log_of(&entries[..3]);
    let fault = refusal(check(Some(&anchor_at(&entries[4])), &*log.reader(), true));
    assert!(matches!(fault, Fault::HeadBelow { head: 3, anchored: 5 }), "{fault}");
    assert!(fault.to_string().contains("bailiwick ledger repair"));
    let (_dir, empty) = log_of(&[]);
    let fault = refusal(check(Some(&anchor_at(&entries[0])), &*empty.reader(), true));
    assert!(matches!(fault, Fault::HeadBelow { head: 0, anchored: 1 }), "{fault}");
}

#[test]
fn another_history_is_refused() {
    let (_dir, log) = log_of(&chain_of(5, 8));
    let fault = refusal(check(Some(&anchor_at(&chain(3)[2])), &*log.reader(), true));
    assert!(matches!(fault, Fault::OtherLink { number: 3, index: 8, .. }), "{fault}");
}

#[test]
fn an_unknown_ledger_has_to_be_trusted_by_somebody() {
    let (_dir, log) = log_of(&chain(2));
    let fault = refusal(check(None, &*log.reader(), false));
    assert!(matches!(fault, Fault::NoAnchor { head: 2 }), "{fault}");
    check(None, &*log.reader(), true).unwrap();
    let (_dir, empty) = log_of(&[]);
    check(None, &*empty.reader(), false).unwrap();
}

#[test]
fn a_ledger_without_its_beginning_is_refused() {
    struct Late;
    impl Reader for Late {
        fn head(&self) -> Result<u64, Error> {
            Ok(9)
        }
        fn first(&self) -> Result<u64, Error> {
            Ok(3)
        }
        fn read(&self, _: u64, _: usize, _: usize) -> Result<Vec<Bytes>, Error> {
            Ok(Vec::new())
        }
    }
    for trust in [false, true] {
        let fault = refusal(check(None, &Late, trust));
        assert!(matches!(fault, Fault::FirstMissing { first: 3 }), "{fault}");
    }
}

#[test]
fn the_keeper_goes_on_after_a_restart_and_keeps_the_checkpoint() {
    let entries = chain(6);
    let dir = tempfile::tempdir().unwrap();
    let keeper = Keeper::start(dir.path()).unwrap();
    keeper.advance(entries[0].clone());
    keeper.checkpoint("note".to_owned());
    keeper.advance(entries[1].clone());
    keeper.flush();
    assert_eq!(keeper.anchored(), 2);
    drop(keeper);
    let keeper = Keeper::start(dir.path()).unwrap();
    assert_eq!(keeper.anchored(), 2);
    for entry in &entries {
        keeper.advance(entry.clone());
    }
    drop(keeper);
    let stored = Anchor::load(dir.path()).unwrap().unwrap();
    assert_eq!(stored, Anchor { checkpoint: Some("note".to_owned()), ..anchor_at(&entries[5]) });
    let found = kept::load(&dir.path().join(keep::KEPT_DIR)).unwrap();
    assert_eq!(found.into_values().collect::<Vec<_>>(), entries);
}

#[test]
fn the_anchor_follows_by_itself() {
    let entries = chain(3);
    let dir = tempfile::tempdir().unwrap();
    let keeper = Keeper::start(dir.path()).unwrap();
    for entry in entries {
        keeper.advance(entry);
    }
    let started = Instant::now();
    while keeper.anchored() < 3 {
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", keeper.fault());
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_keeper_that_cannot_write_says_so_and_recovers() {
    let entries = chain(2);
    let dir = tempfile::tempdir().unwrap();
    let keeper = Keeper::start(dir.path()).unwrap();
    let blocked = dir.path().join(TEMPORARY);
    fs::create_dir(&blocked).unwrap();
    keeper.advance(entries[0].clone());
    keeper.flush();
    assert!(keeper.fault().is_some_and(|fault| fault.contains("anchor.tmp")));
    assert_eq!(keeper.anchored(), 0);
    fs::remove_dir(&blocked).unwrap();
    keeper.advance(entries[1].clone());
    keeper.flush();
    assert_eq!((keeper.anchored(), keeper.fault()), (2, None));
}

#[test]
fn a_cut_ledger_is_repaired_byte_for_byte() {
    let entries = chain(8);
    let dir = kept(&entries);
    for cut in 0..8 {
        let (_log_dir, mut log) = log_of(&entries[..cut]);
        let repaired = repair(&mut log, dir.path()).unwrap();
        assert_eq!(repaired, Repaired { head_before: cut as u64, head: 8 });
        assert_eq!(all(&*log.reader()), entries);
    }
}

#[test]
fn a_whole_ledger_needs_no_repair() {
    let entries = chain(8);
    let dir = kept(&entries[..5]);
    let (_log_dir, mut log) = log_of(&entries);
    let repaired = repair(&mut log, dir.path()).unwrap();
    assert_eq!(repaired, Repaired { head_before: 8, head: 8 });
}

#[test]
fn what_was_kept_past_the_anchor_is_put_back_too() {
    let entries = chain(8);
    let dir = kept(&entries);
    anchor_at(&entries[5]).store(dir.path()).unwrap();
    let (_log_dir, mut log) = log_of(&entries[..3]);
    assert_eq!(repair(&mut log, dir.path()).unwrap().head, 8);
}

#[test]
fn a_repair_without_all_that_is_missing_changes_nothing() {
    let entries = chain(8);
    let dir = tempfile::tempdir().unwrap();
    let keeper = Keeper::start(dir.path()).unwrap();
    for entry in [&entries[..3], &entries[5..]].concat() {
        keeper.advance(entry);
    }
    drop(keeper);
    let (_log_dir, mut log) = log_of(&entries[..2]);
    let fault = refused_repair(&mut log, dir.path());
    assert!(matches!(fault, Fault::NotKept { from: 3, to: 8, missing: 4 }), "{fault}");
    assert_eq!(log.head().unwrap(), 2);
}

#[test]
fn a_repair_never_continues_another_history() {
    let dir = kept(&chain(8));
    let (_log_dir, mut log) = log_of(&chain_of(3, 8));
    let fault = refused_repair(&mut log, dir.path());
    assert!(matches!(fault, Fault::Discontinued { number: 3, .. }), "{fault}");
    let (_log_dir, mut log) = log_of(&chain_of(8, 8));
    let fault = refused_repair(&mut log, dir.path());
    assert!(matches!(fault, Fault::OtherLink { number: 8, .. }), "{fault}");
    assert_eq!(log.head().unwrap(), 8);
}

#[test]
fn kept_entries_that_do_not_lead_to_the_anchor_are_not_put_back() {
    let entries = chain(4);
    let dir = kept(&entries);
    let other = anchor_at(&chain_of(4, 8)[3]);
    other.store(dir.path()).unwrap();
    let (_log_dir, mut log) = log_of(&entries[..2]);
    let fault = refused_repair(&mut log, dir.path());
    assert!(matches!(fault, Fault::Discontinued { number: 4, .. }), "{fault}");
    assert_eq!(log.head().unwrap(), 2);
}

#[test]
fn a_repair_needs_an_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let (_log_dir, mut log) = log_of(&chain(2));
    let fault = refused_repair(&mut log, dir.path());
    assert!(matches!(fault, Fault::NoAnchor { head: 2 }), "{fault}");
}
