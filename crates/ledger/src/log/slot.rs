//! How one entry lies in a file: `u32 length ‖ 16 bytes of check ‖ entry`.
//!
//! The check is there to tell a torn or rotten write from a whole one without any key; it proves
//! nothing about who wrote the entry.

use std::sync::LazyLock;

use bailiwick_core::record::entry::{ENTRY_BYTES_MAX, ENTRY_BYTES_MIN};

/// Bytes in front of the entry.
pub(crate) const HEADER: usize = 20;

static CHECK: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("bailiwick v1 stored entry"));

/// Appends the stored form of `entry` to `to`.
pub(crate) fn encode(entry: &[u8], to: &mut Vec<u8>) {
    let length = length_field(entry.len());
    to.reserve(HEADER + entry.len());
    to.extend_from_slice(&length);
    to.extend_from_slice(&check(length, entry));
    to.extend_from_slice(entry);
}

/// The length that a stored header claims, if an entry can have it.
pub(crate) fn length(header: &[u8; HEADER]) -> Option<usize> {
    let [a, b, c, d, ..] = *header;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    (ENTRY_BYTES_MIN..=ENTRY_BYTES_MAX).contains(&length).then_some(length)
}

/// The entry stored at the start of `bytes`, if it is whole.
pub(crate) fn decode(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let entry = rest.get(..length(header)?)?;
    (header[4..] == check(length_field(entry.len()), entry)).then_some(entry)
}

fn length_field(length: usize) -> [u8; 4] {
    // INVARIANT: an entry is at most `ENTRY_BYTES_MAX`; a longer one would decode to nothing.
    u32::try_from(length).unwrap_or(0).to_be_bytes()
}

fn check(length: [u8; 4], entry: &[u8]) -> [u8; 16] {
    let mut hasher = CHECK.clone();
    hasher.update(&length).update(entry);
    let mut check = [0; 16];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let entry = vec![7; ENTRY_BYTES_MIN];
        let mut stored = Vec::new();
        encode(&entry, &mut stored);
        stored.extend_from_slice(b"what follows");
        assert_eq!(decode(&stored), Some(entry.as_slice()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let mut stored = Vec::new();
        encode(&vec![7; ENTRY_BYTES_MIN], &mut stored);
        for bit in 0..stored.len() * 8 {
            stored[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&stored), None, "bit {bit}");
            stored[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 0..stored.len() {
            assert_eq!(decode(&stored[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for length in [0, ENTRY_BYTES_MIN - 1, ENTRY_BYTES_MAX + 1] {
            let mut stored = Vec::new();
            encode(&vec![7; length], &mut stored);
            assert_eq!(decode(&stored), None, "{length}");
        }
    }
}
