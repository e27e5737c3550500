//! What the end of the last segment holds after a crash.
//!
//! One entry is written at a time, over zeros, and the next only after it is durable. So a crash
//! leaves at most one torn entry, nothing whole after it, and at least one sector of it still
//! zero. Anything else is damage: it is named and never skipped.

use bailiwick_core::record::LedgerId;

use super::segment::DATA_START;
use crate::log::{MAGIC, place, slot};

const SECTOR: usize = 512;
const ZEROS: [u8; 4_096] = [0; 4_096];

/// What a segment's bytes hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Where each whole entry ends, in order.
    pub(crate) ends: Vec<u64>,
    /// What comes after the last of them.
    pub(crate) tail: Tail,
}

/// What comes after the last whole entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Zeros to the end of the segment.
    Clean,
    /// A write that was not finished and therefore never acknowledged: bytes up to this offset.
    Torn { to: u64 },
    /// An entry that was once whole.
    Damaged(&'static str),
}

/// Reads a whole segment: the entries of `ledger` from number `first` on.
pub(crate) fn recover(bytes: &[u8], ledger: LedgerId, first: u64) -> Recovered {
    let mut at = usize::try_from(DATA_START).unwrap_or(usize::MAX);
    let mut ends = Vec::new();
    let mut number = first;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(entry) = slot::decode(rest) else {
            return Recovered { ends, tail: tail(rest, at, ledger) };
        };
        match place(entry) {
            Some(place) if place.number == number && place.ledger == ledger => {}
            Some(_) | None => {
                return Recovered { ends, tail: Tail::Damaged("another entry is in its place") };
            }
        }
        at += slot::HEADER + entry.len();
        ends.push(at as u64);
        number += 1;
    }
}

/// Judges `rest`, which begins at offset `at` and does not begin with a whole entry.
fn tail(rest: &[u8], at: usize, ledger: LedgerId) -> Tail {
    let zeros_from = rest
        .chunks(ZEROS.len())
        .enumerate()
        .rfind(|(_, chunk)| **chunk != ZEROS[..chunk.len()])
        .map_or(0, |(index, chunk)| {
            let used = chunk.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            index * ZEROS.len() + used
        });
    let written = &rest[..zeros_from];
    if written.is_empty() {
        Tail::Clean
    } else if whole_entry_within(rest, zeros_from, ledger) {
        Tail::Damaged("its bytes are not whole, but whole entries follow")
    } else if was_whole(rest, at, written.len()) {
        Tail::Damaged("all of it was written, so it was not cut off by a crash")
    } else {
        Tail::Torn { to: (at + written.len()) as u64 }
    }
}

/// Whether a whole entry of `ledger` begins anywhere in the first `written` bytes of `rest`.
fn whole_entry_within(rest: &[u8], written: usize, ledger: LedgerId) -> bool {
    let mut start = [0; 20];
    start[..4].copy_from_slice(MAGIC);
    start[4..].copy_from_slice(&ledger.0);
    let mut from = 0;
    while let Some(found) = rest[from..written].iter().position(|byte| *byte == start[0]) {
        let entry = from + found;
        from = entry + 1;
        let slot = entry.checked_sub(slot::HEADER).map(|slot| &rest[slot..]);
        if rest[entry..].starts_with(&start) && slot.is_some_and(|s| slot::decode(s).is_some()) {
            return true;
        }
    }
    false
}

/// Whether every sector of the entry that begins `rest` was written, by its own account of its
/// length: the slot's, and the entry header's, of which one may be what is damaged.
fn was_whole(rest: &[u8], at: usize, written: usize) -> bool {
    let by_slot = rest.first_chunk().and_then(slot::length);
    let by_entry = rest.get(slot::HEADER..).and_then(place).map(|place| place.bytes);
    let lengths = [by_slot, by_entry];
    if lengths == [None, None] {
        return no_sector_is_zero(rest, at, written.min(slot::HEADER));
    }
    lengths.into_iter().flatten().any(|length| no_sector_is_zero(rest, at, slot::HEADER + length))
}

/// Whether each sector's part of the first `length` bytes of `rest`, which begins at offset `at`
/// of the file, holds something.
fn no_sector_is_zero(rest: &[u8], at: usize, length: usize) -> bool {
    let Some(mut region) = rest.get(..length) else { return false };
    let mut take = SECTOR - at % SECTOR;
    while !region.is_empty() {
        let (sector, after) = region.split_at(take.min(region.len()));
        if sector.iter().all(|byte| *byte == 0) {
            return false;
        }
        region = after;
        take = SECTOR;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::suite;

    const LEDGER: LedgerId = LedgerId([5; 16]);

    /// A segment with entries 1 to 3 of 3,000 bytes and their ends.
    fn segment() -> (Vec<u8>, Vec<u64>) {
        let mut bytes = vec![0; 4_096];
        let mut ends = Vec::new();
        for number in 1..=3 {
            slot::encode(&suite::entry(LEDGER, number, 3_000, 0xa5), &mut bytes);
            ends.push(bytes.len() as u64);
        }
        bytes.resize(64 << 10, 0);
        (bytes, ends)
    }

    fn place_of(offset: u64) -> usize {
        usize::try_from(offset).unwrap()
    }

    #[test]
    fn a_clean_segment_is_read_to_its_end() {
        let (bytes, ends) = segment();
        assert_eq!(recover(&bytes, LEDGER, 1), Recovered { ends, tail: Tail::Clean });
    }

    #[test]
    fn a_last_write_cut_anywhere_is_torn_or_untouched() {
        let (whole, ends) = segment();
        let (start, end) = (place_of(ends[1]), place_of(ends[2]));
        for cut in start..end {
            let mut bytes = whole.clone();
            bytes[cut..end].fill(0);
            let recovered = recover(&bytes, LEDGER, 1);
            assert_eq!(recovered.ends, ends[..2], "cut at {cut}");
            match recovered.tail {
                Tail::Clean => assert!(cut <= start + 4, "cut at {cut}"),
                Tail::Torn { to } => assert!(to <= cut as u64, "cut at {cut}"),
                // The last sector's share may be short: then all that is missing was in it.
                Tail::Damaged(why) => assert!(cut > (end - 1) / SECTOR * SECTOR, "{cut}: {why}"),
            }
        }
    }

    #[test]
    fn a_last_write_that_misses_any_sector_is_torn() {
        let (whole, ends) = segment();
        let (start, end) = (place_of(ends[1]), place_of(ends[2]));
        for sector in start / SECTOR..=(end - 1) / SECTOR {
            let mut bytes = whole.clone();
            bytes[(sector * SECTOR).max(start)..((sector + 1) * SECTOR).min(end)].fill(0);
            let recovered = recover(&bytes, LEDGER, 1);
            assert_eq!(recovered.ends, ends[..2], "sector {sector}");
            assert!(matches!(recovered.tail, Tail::Torn { .. }), "sector {sector}");
        }
    }

    #[test]
    fn a_damaged_entry_before_others_is_never_cut_off() {
        let (whole, ends) = segment();
        for at in 4_096..place_of(ends[1]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let recovered = recover(&bytes, LEDGER, 1);
            assert!(matches!(recovered.tail, Tail::Damaged(_)), "byte {at}");
            assert_eq!(recovered.ends.len(), usize::from(at >= place_of(ends[0])), "byte {at}");
        }
    }

    #[test]
    fn a_flipped_bit_in_the_last_entry_is_damage_not_a_torn_write() {
        let (whole, ends) = segment();
        for at in place_of(ends[1])..place_of(ends[2]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let tail = recover(&bytes, LEDGER, 1).tail;
            assert!(matches!(tail, Tail::Damaged(_)), "byte {at}: {tail:?}");
        }
    }

    #[test]
    fn whole_entries_out_of_order_are_damage() {
        let (bytes, _) = segment();
        let recovered = recover(&bytes, LEDGER, 2);
        assert_eq!(recovered.ends, Vec::<u64>::new());
        assert!(matches!(recovered.tail, Tail::Damaged(_)));
        assert!(matches!(recover(&bytes, LedgerId([6; 16]), 1).tail, Tail::Damaged(_)));
    }
}
