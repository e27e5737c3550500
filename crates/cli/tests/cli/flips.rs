//! No byte of a ledger can be changed without `verify` saying where.

use bailiwick_cli::verify::{self, Bodies, Error, Fault, KeyRing, PublicKey, Walk};
use bailiwick_core::record::dump::{length_prefix, split_one};
use bailiwick_core::record::{EntryBuilder, LedgerId, Position};
use bailiwick_core::time::Time;
use ed25519_dalek::SigningKey;

use crate::bailiwick::{bailiwick, demo, text};

/// Entries of the demo's dump that are looked at byte by byte.
const SMALL: usize = 3;

/// Bytes, events and place of one entry within a dump.
#[derive(Clone, Copy)]
struct Span {
    end: usize,
    number: u64,
    next_index: u64,
}

fn check(bytes: &[u8], key: &PublicKey, bodies: Bodies) -> Result<u64, Fault> {
    let walk = Walk::new(KeyRing::new(key).unwrap(), bodies, 2);
    match verify::dump(bytes, walk, |_| ()) {
        Ok(summary) => Ok(summary.events),
        Err(Error::Fault(fault)) => Err(fault),
        Err(other) => panic!("{other}"),
    }
}

/// Where each entry of a good dump ends, and which event comes after it.
fn spans(bytes: &[u8]) -> Vec<Span> {
    let mut rest = bytes;
    let (mut spans, mut next_index) = (Vec::new(), 0);
    while let Some(split) = split_one(rest).unwrap() {
        let entry = bailiwick_core::record::EntryRef::parse(split.entry).unwrap();
        next_index += u64::from(entry.count());
        rest = split.rest;
        spans.push(Span { end: bytes.len() - rest.len(), number: entry.number(), next_index });
    }
    spans
}

/// The fault lies in the entry of the changed byte, and at an event of it.
fn assert_found(bytes: &mut [u8], spans: &[Span], at: usize, mask: u8, key: &PublicKey) {
    bytes[at] ^= mask;
    let fault = check(bytes, key, Bodies::Present).expect_err("a flipped byte was not found");
    bytes[at] ^= mask;
    let place = spans.iter().position(|span| at < span.end).unwrap();
    let from = place.checked_sub(1).map_or(0, |before| spans[before].next_index);
    assert_eq!(fault.entry, spans[place].number, "byte {at}: {fault}");
    assert!((from..=spans[place].next_index).contains(&fault.index), "byte {at}: {fault}");
}

#[test]
fn every_flipped_byte_of_a_small_dump_is_found_where_it_is() {
    let mut bytes = std::fs::read(&demo().dump).unwrap();
    let key: PublicKey = demo().key.parse().unwrap();
    let spans: Vec<Span> = spans(&bytes).into_iter().take(SMALL).collect();
    bytes.truncate(spans[SMALL - 1].end);
    assert_eq!(check(&bytes, &key, Bodies::Present), Ok(spans[SMALL - 1].next_index));
    for at in 0..bytes.len() {
        assert_found(&mut bytes, &spans, at, 0x01, &key);
        assert_found(&mut bytes, &spans, at, 0xff, &key);
    }
}

#[test]
fn a_thousand_flipped_bytes_of_a_large_dump_are_found_where_they_are() {
    let signing = SigningKey::from_bytes(&[7; 32]);
    let key = PublicKey(signing.verifying_key().to_bytes());
    let mut bytes = large(&signing, 40, 40);
    let spans = spans(&bytes);
    assert_eq!(check(&bytes, &key, Bodies::Present), Ok(1_600));
    // Any numbers would do; these are the same in every run.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..1_000 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = usize::try_from(seed % bytes.len() as u64).unwrap();
        let mask = (seed >> 40) as u8;
        assert_found(&mut bytes, &spans, at, if mask == 0 { 1 } else { mask }, &key);
    }
}

/// A dump of so many entries with so many events each.
fn large(signing: &SigningKey, entries: u64, events: u64) -> Vec<u8> {
    let ledger = LedgerId([3; 16]);
    let mut at = Position::genesis(ledger);
    let mut bytes = Vec::new();
    for entry in 0..entries {
        let mut builder = EntryBuilder::new(ledger, &at, 1);
        for event in 0..events {
            let body = [event as u8; 300];
            builder.push(110, 1, Time(1 + entry * events + event), &body).unwrap();
        }
        let sealed = builder.seal(signing).unwrap();
        at = sealed.position();
        bytes.extend(length_prefix(&sealed.bytes).unwrap());
        bytes.extend(sealed.bytes);
    }
    bytes
}

#[test]
fn threads_find_what_one_thread_finds() {
    let signing = SigningKey::from_bytes(&[7; 32]);
    let key = PublicKey(signing.verifying_key().to_bytes());
    let mut bytes = large(&signing, 200, 3);
    let whole = |bytes: &[u8], threads| {
        let walk = Walk::new(KeyRing::new(&key).unwrap(), Bodies::Present, threads);
        verify::dump(bytes, walk, |_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(whole(&bytes, 1), whole(&bytes, 7));
    assert_eq!(whole(&bytes, 7).unwrap().events, 600);
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        bytes[at] ^= 0x10;
        assert_eq!(whole(&bytes, 1), whole(&bytes, 7), "byte {at}");
        bytes[at] ^= 0x10;
    }
}

#[test]
fn the_binary_says_entry_and_event_and_exits_4() {
    let bytes = std::fs::read(&demo().dump).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changed");
    for at in (0..bytes.len()).step_by(bytes.len() / 7) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        std::fs::write(&path, changed).unwrap();
        let number = spans(&bytes).iter().find(|span| at < span.end).unwrap().number;
        let refused = bailiwick(&["verify", text(&path), "--key", &demo().key]).ends_with(4);
        let named = format!("verification failed: entry {number}, event ");
        assert!(refused.err.contains(&named), "byte {at}: {refused:?}");
        let args = ["verify", "--json", text(&path), "--key", &demo().key];
        let told = bailiwick(&args).ends_with(4).json();
        assert_eq!((&told["verified"], &told["entry"]), (&false.into(), &number.into()));
        assert!(told["event"].is_u64() && told["what"].is_string());
    }
}
