//! Laws of the record: whatever is altered is found, and the fault names where.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::dump::{self, Expected, LENGTH_BYTES, Summary, Verifier};
use super::entry::{Bodies, EntryBuilder, EntryRef, PREFIX_BYTES, Sealed};
use super::fault::{Fault, FaultKind};
use super::frame::HEADER_BYTES;
use super::hash::{LedgerId, PublicKey};
use super::keys::KeyRing;
use super::tree;
use super::verify::{self, Position, Signatures};
use crate::time::Time;

const LEDGER: LedgerId = LedgerId([0x42; 16]);
/// The kind whose body is, after its salt, a new public key.
const ROTATED: u16 = 3;

#[test]
fn every_flipped_byte_of_a_dump_is_found_in_its_entry() {
    let ledger = ledger(&[&[30, 16], &[100], &[17, 18, 19]]);
    for flip in [1, 0x80, 0xff] {
        for at in 0..dump_of(&ledger).len() {
            check_flip(&ledger, at, flip);
        }
    }
}

#[test]
fn every_flipped_byte_of_a_dump_without_bodies_is_found_in_its_entry() {
    let ledger = ledger(&[&[30, 16], &[100], &[17, 18, 19]]);
    let entries = ledger.iter().map(|s| EntryRef::parse(&s.bytes).unwrap().without_bodies());
    let cut: Vec<Vec<u8>> = entries.collect();
    let (number_of, dump) = numbered(&cut);
    let whole = verify(&dump_of(&ledger)).unwrap();
    assert_eq!(dump::verify_dump(&dump, expected(Bodies::Withheld), learn), Ok(whole));
    for at in 0..dump.len() {
        let mut altered = dump.clone();
        altered[at] ^= 0x10;
        let fault = dump::verify_dump(&altered, expected(Bodies::Withheld), learn).unwrap_err();
        assert_eq!(fault.entry, number_of[at], "{at}: {fault}");
    }
    assert!(verify(&dump).is_err());
    assert!(dump::verify_dump(&dump_of(&ledger), expected(Bodies::Withheld), learn).is_err());
}

#[test]
fn a_flipped_byte_of_a_body_is_found_in_its_event() {
    let ledger = ledger(&[&[30, 16], &[40, 50, 60]]);
    let dump = dump_of(&ledger);
    let second = LENGTH_BYTES + ledger[0].bytes.len();
    let body_of_event_3 = second + LENGTH_BYTES + PREFIX_BYTES + 2 * HEADER_BYTES + 40;
    for at in body_of_event_3..body_of_event_3 + 50 {
        let mut altered = dump.clone();
        altered[at] ^= 1;
        let fault = verify(&altered).unwrap_err();
        assert_eq!(fault, Fault { entry: 2, index: 3, what: FaultKind::Body });
        assert_eq!(fault.to_string(), "entry 2, event 3: the body does not match its digest");
    }
}

#[test]
fn a_dump_that_ends_inside_an_entry_is_a_fault_there() {
    let ledger = ledger(&[&[30], &[40, 16]]);
    let dump = dump_of(&ledger);
    let first = LENGTH_BYTES + ledger[0].bytes.len();
    for end in 0..dump.len() {
        let fault = verify(&dump[..end]);
        match end {
            0 => assert_eq!(fault, Err(Fault { entry: 1, index: 0, what: FaultKind::Empty })),
            _ if end < first => {
                assert_eq!(fault, Err(Fault { entry: 1, index: 0, what: FaultKind::Truncated }));
            }
            _ if end == first => assert_eq!(fault.unwrap().entries, 1),
            _ => assert_eq!(fault, Err(Fault { entry: 2, index: 1, what: FaultKind::Truncated })),
        }
    }
}

#[test]
fn a_length_that_no_entry_has_is_refused_before_it_is_read() {
    for length in [0, 203, 1_000_001, u32::MAX] {
        let mut verifier = Verifier::new(expected(Bodies::Present), learn);
        let what = FaultKind::EntryLength(length.into());
        assert_eq!(
            verifier.feed(&length.to_be_bytes()),
            Err(Fault { entry: 1, index: 0, what: what.clone() })
        );
        let entry = vec![0; length.min(2_000_000) as usize];
        assert!(dump::length_prefix(&entry).is_err());
    }
}

#[test]
fn a_ledger_signed_by_another_key_or_of_another_id_is_refused() {
    let ledger = ledger(&[&[30], &[40]]);
    let dump = dump_of(&ledger);
    let other = KeyRing::new(&public(&key(9))).unwrap();
    let keys = Expected { keys: other, ..expected(Bodies::Present) };
    let fault = dump::verify_dump(&dump, keys, learn).unwrap_err();
    assert!(matches!(fault, Fault { entry: 1, index: 0, what: FaultKind::KeyUnknown(_) }));

    let id = Some(LedgerId([0; 16]));
    let elsewhere = Expected { ledger: id, ..expected(Bodies::Present) };
    let fault = dump::verify_dump(&dump, elsewhere, learn).unwrap_err();
    assert!(matches!(fault, Fault { entry: 1, index: 0, what: FaultKind::Ledger { .. } }));
}

#[test]
fn a_rotated_key_counts_from_the_next_entry_and_only_by_its_event() {
    let add = [&[0; 16][..], &public(&key(2)).0].concat();
    let start = Position::genesis(LEDGER);
    let first = seal(&start, 1, &[(1, vec![0; 20]), (ROTATED, add)]);
    let second = seal(&first.position(), 2, &[(1, vec![1; 20])]);
    let ledger = [first, second];
    assert_eq!(verify(&dump_of(&ledger)).unwrap().events, 3);

    let unheard = dump::verify_dump(&dump_of(&ledger), expected(Bodies::Present), |_, _, _| None);
    let fault = unheard.unwrap_err();
    assert!(matches!(fault, Fault { entry: 2, index: 2, what: FaultKind::KeyUnknown(_) }));

    let nonsense = dump::verify_dump(&dump_of(&ledger), expected(Bodies::Present), |kind, _, _| {
        (kind == ROTATED).then_some(PublicKey([0; 32]))
    });
    assert_eq!(nonsense, Err(Fault { entry: 1, index: 1, what: FaultKind::KeyInvalid }));

    let add = [&[0; 16][..], &public(&key(2)).0].concat();
    let itself = [seal(&start, 2, &[(ROTATED, add)])];
    assert!(matches!(verify(&dump_of(&itself)).unwrap_err().what, FaultKind::KeyUnknown(_)));
}

#[test]
fn an_old_writers_entry_after_a_new_ones_is_refused() {
    let start = Position { epoch: 7, ..Position::genesis(LEDGER) };
    let first = seal(&start, 1, &[(1, vec![0; 20])]);
    let back = Position { epoch: 6, ..first.position() };
    let second = seal(&back, 1, &[(1, vec![0; 20])]);
    let fault = verify(&dump_of(&[first, second])).unwrap_err();
    assert_eq!(fault, Fault { entry: 2, index: 1, what: FaultKind::Epoch { before: 7, found: 6 } });
}

#[test]
fn a_time_that_stands_still_is_refused() {
    let start = Position::genesis(LEDGER);
    let first = seal(&start, 1, &[(1, vec![0; 20])]);
    let back = Position { last_time: Time(0), ..first.position() };
    let mut second = EntryBuilder::new(LEDGER, &back, 1);
    second.push(1, 1, first.last_time, &[0; 20]).unwrap();
    let second = second.seal(&key(1)).unwrap();
    let fault = verify(&dump_of(&[first, second])).unwrap_err();
    assert!(matches!(fault, Fault { entry: 2, index: 1, what: FaultKind::Time { .. } }));
}

#[test]
fn trusted_entries_are_chained_but_their_signatures_are_not_checked() {
    let ledger = ledger(&[&[30], &[40]]);
    let keys = KeyRing::new(&public(&key(1))).unwrap();
    let start = Position::genesis(LEDGER);
    let mut forged = ledger[0].bytes.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let read = |signatures: Signatures, bytes: &[u8]| {
        verify::verify_entry(&start, LEDGER, &keys, signatures, bytes).map_err(|fault| fault.what)
    };
    assert_eq!(read(Signatures::Check, &forged), Err(FaultKind::Signature));
    assert_eq!(read(Signatures::TrustedUpTo(0), &forged), Err(FaultKind::Signature));
    assert_eq!(read(Signatures::TrustedUpTo(1), &forged), Ok(ledger[0].position()));
    forged[PREFIX_BYTES + HEADER_BYTES] ^= 1;
    assert_eq!(read(Signatures::TrustedUpTo(1), &forged), Err(FaultKind::Body));
    forged[last - 67] ^= 1;
    forged[PREFIX_BYTES + HEADER_BYTES] ^= 1;
    assert!(matches!(read(Signatures::TrustedUpTo(1), &forged), Err(FaultKind::KeyUnknown(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_flipped_byte_is_found_in_its_entry(
        sizes in ledgers(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 40),
    ) {
        let ledger = ledger(&refs(&sizes));
        let bytes = dump_of(&ledger).len();
        for (at, flip) in flips {
            check_flip(&ledger, at.index(bytes), flip);
        }
    }

    #[test]
    fn missing_repeated_and_swapped_entries_are_found(sizes in ledgers()) {
        let ledger = ledger(&refs(&sizes));
        for at in 0..ledger.len() {
            let mut repeated = ledger.clone();
            repeated.insert(at, ledger[at].clone());
            prop_assert_eq!(verify(&dump_of(&repeated)).unwrap_err().entry, at as u64 + 2);
            if at + 1 < ledger.len() {
                let mut missing = ledger.clone();
                missing.remove(at);
                prop_assert_eq!(verify(&dump_of(&missing)).unwrap_err().entry, at as u64 + 1);
                let mut swapped = ledger.clone();
                swapped.swap(at, at + 1);
                prop_assert_eq!(verify(&dump_of(&swapped)).unwrap_err().entry, at as u64 + 1);
            }
        }
    }

    #[test]
    fn a_dump_verifies_alike_in_pieces_of_any_size(sizes in ledgers(), piece in 1_usize..900) {
        let ledger = ledger(&refs(&sizes));
        let dump = dump_of(&ledger);
        let whole = verify(&dump).unwrap();
        let mut verifier = Verifier::new(expected(Bodies::Present), learn);
        for bytes in dump.chunks(piece) {
            verifier.feed(bytes).unwrap();
        }
        prop_assert_eq!(verifier.finish(), Ok(whole));

        let mut leaves = Vec::new();
        for sealed in &ledger {
            leaves.extend(EntryRef::parse(&sealed.bytes).unwrap().frames().map(|f| f.leaf()));
        }
        let last = ledger.last().unwrap();
        prop_assert_eq!(whole, Summary {
            ledger: LEDGER,
            entries: ledger.len() as u64,
            events: leaves.len() as u64,
            first_time: Time(10),
            last_time: last.last_time,
            last_link: last.last_link,
            root: tree::root(&leaves),
        });
    }

    #[test]
    fn no_bytes_whatever_make_a_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        at in 0_usize..500,
    ) {
        let _ = EntryRef::parse(&bytes);
        prop_assert!(verify(&bytes).is_err());
        let mut entry = ledger(&[&[30, 40, 50]]).remove(0).bytes;
        let end = (at + bytes.len()).min(entry.len());
        entry.splice(at.min(end)..end, bytes);
        let _ = EntryRef::parse_as(&entry, Bodies::Withheld);
        if let Ok(parsed) = EntryRef::parse(&entry) {
            prop_assert_eq!(parsed.frames().count(), parsed.count() as usize);
        }
    }
}

/// One to five entries, of one to five bodies each.
fn ledgers() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(16_usize..400, 1..=5), 1..=5)
}

fn refs(sizes: &[Vec<usize>]) -> Vec<&[usize]> {
    sizes.iter().map(Vec::as_slice).collect()
}

/// Flips one byte of the ledger's dump and expects a fault in that entry, at one of its events.
fn check_flip(ledger: &[Sealed], at: usize, flip: u8) {
    let (number_of, mut dump) = numbered(&ledger.iter().map(|s| &s.bytes).collect::<Vec<_>>());
    dump[at] ^= flip;
    let fault = verify(&dump).unwrap_err();
    assert_eq!(fault.entry, number_of[at], "byte {at}: {fault}");
    let entry = &ledger[usize::try_from(fault.entry - 1).unwrap()];
    let events = entry.first_index..entry.first_index + u64::from(entry.count);
    assert!(events.contains(&fault.index), "byte {at}: {fault}");
}

fn ledger(sizes: &[&[usize]]) -> Vec<Sealed> {
    let mut at = Position::genesis(LEDGER);
    let mut all = Vec::new();
    for (n, sizes) in sizes.iter().enumerate() {
        let fill = u8::try_from(n).unwrap();
        let frames: Vec<_> = sizes.iter().map(|size| (100, vec![fill; *size])).collect();
        let sealed = seal(&at, 1, &frames);
        at = sealed.position();
        all.push(sealed);
    }
    all
}

fn seal(at: &Position, seed: u8, frames: &[(u16, Vec<u8>)]) -> Sealed {
    let mut entry = EntryBuilder::new(LEDGER, at, at.epoch);
    for (kind, body) in frames {
        let time = Time(entry.last_time().0 + 10);
        entry.push(*kind, 1, time, body).unwrap();
    }
    entry.seal(&key(seed)).unwrap()
}

fn dump_of(ledger: &[Sealed]) -> Vec<u8> {
    numbered(&ledger.iter().map(|sealed| &sealed.bytes).collect::<Vec<_>>()).1
}

/// A dump of these entries, and for each of its bytes the number of the entry it belongs to.
fn numbered(entries: &[impl AsRef<[u8]>]) -> (Vec<u64>, Vec<u8>) {
    let (mut numbers, mut dump) = (Vec::new(), Vec::new());
    for (n, entry) in entries.iter().enumerate() {
        dump.extend_from_slice(&dump::length_prefix(entry.as_ref()).unwrap());
        dump.extend_from_slice(entry.as_ref());
        numbers.resize(dump.len(), n as u64 + 1);
    }
    (numbers, dump)
}

fn verify(dump: &[u8]) -> Result<Summary, Fault> {
    dump::verify_dump(dump, expected(Bodies::Present), learn)
}

fn expected(bodies: Bodies) -> Expected {
    Expected { keys: KeyRing::new(&public(&key(1))).unwrap(), ledger: None, bodies }
}

fn learn(kind: u16, _schema: u8, body: &[u8]) -> Option<PublicKey> {
    let (_salt, key) = body.split_at(16);
    if kind == ROTATED { key.try_into().ok().map(PublicKey) } else { None }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}
