//! The golden vectors: what this module makes and reads, byte for byte.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;

use super::entry::{EntryBuilder, EntryRef};
use super::frame::{self, FrameRef};
use super::hash::{self, Digest, KeyId, LedgerId, Link, Node, PublicKey, Root};
use super::keys::KeyRing;
use super::tree::{self, CompactRange};
use super::verify::{self, Position, Signatures};

#[derive(serde::Deserialize)]
struct Vectors {
    ledger_id: LedgerId,
    ed25519_seed: Digest,
    ed25519_public: PublicKey,
    key_id: KeyId,
    genesis_link: Link,
    frames: Vec<String>,
    links: Vec<Link>,
    leaves: Vec<Node>,
    entries: Vec<String>,
    roots: BTreeMap<String, Root>,
    inclusion_2_of_5: Vec<Node>,
    consistency_3_to_5: Vec<Node>,
}

#[test]
fn identities_are_the_golden_ones() {
    let golden = golden();
    let public = PublicKey(golden.key().verifying_key().to_bytes());
    assert_eq!(public, golden.ed25519_public);
    assert_eq!(hash::key_id(&public), golden.key_id);
    assert_eq!(hash::genesis_link(golden.ledger_id), golden.genesis_link);
    assert_eq!(Position::genesis(golden.ledger_id).last_link, golden.genesis_link);
}

#[test]
fn frames_links_and_leaves_are_the_golden_ones() {
    let golden = golden();
    let mut prev = golden.genesis_link;
    assert_eq!((golden.frames.len(), golden.links.len(), golden.leaves.len()), (5, 5, 5));
    for (index, stored) in golden.frames.iter().enumerate() {
        let stored = hex::decode(stored).unwrap();
        let (read, rest) = FrameRef::split(&stored, false).unwrap();
        let header = read.header;
        assert!(rest.is_empty());
        assert_eq!((header.index, header.prev), (index as u64, prev));
        assert_eq!(header.digest, hash::body_digest(read.body));
        assert_eq!(header.encode(), *read.header_bytes);

        let (kind, schema, time) = (header.kind, header.schema, header.time);
        let mut made = Vec::new();
        let link =
            frame::append_frame(&mut made, kind, schema, header.index, time, prev, read.body);
        assert_eq!((made, link), (stored.clone(), Ok(golden.links[index])));
        assert_eq!((read.link(), header.link()), (golden.links[index], golden.links[index]));
        assert_eq!((read.leaf(), header.leaf()), (golden.leaves[index], golden.leaves[index]));
        prev = golden.links[index];
    }
}

#[test]
fn entries_are_made_as_the_golden_ones() {
    let golden = golden();
    let mut at = Position::genesis(golden.ledger_id);
    for stored in &golden.entries {
        let stored = hex::decode(stored).unwrap();
        let read = EntryRef::parse(&stored).unwrap();
        let mut made = EntryBuilder::new(golden.ledger_id, &at, read.epoch());
        for frame in read.frames() {
            let header = frame.header;
            made.push(header.kind, header.schema, header.time, frame.body).unwrap();
        }
        let made = made.seal(&golden.key()).unwrap();
        assert_eq!(made.bytes, stored);
        at = made.position();
    }
    assert_eq!((at.entry_number, at.next_index, at.last_link), (2, 5, golden.links[4]));
}

#[test]
fn golden_entries_verify_with_and_without_bodies() {
    let golden = golden();
    let keys = KeyRing::new(&golden.ed25519_public).unwrap();
    let (mut whole, mut headers) =
        (Position::genesis(golden.ledger_id), Position::genesis(golden.ledger_id));
    for stored in &golden.entries {
        let stored = hex::decode(stored).unwrap();
        let (ledger, check) = (golden.ledger_id, Signatures::Check);
        whole = verify::verify_entry(&whole, ledger, &keys, check, &stored).unwrap();
        let cut = EntryRef::parse(&stored).unwrap().without_bodies();
        headers = verify::verify_headers(&headers, ledger, &keys, check, &cut).unwrap();
        assert_eq!(whole, headers);
    }
    assert_eq!(whole.last_link, golden.links[4]);
}

#[test]
fn tree_roots_are_the_golden_ones() {
    let golden = golden();
    let mut range = CompactRange::new();
    assert_eq!(golden.roots.len(), 6);
    for size in 0..=5 {
        let root = golden.roots[&size.to_string()];
        assert_eq!((tree::root(&golden.leaves[..size]), range.root()), (root, root));
        if let Some(leaf) = golden.leaves.get(size) {
            range.push(*leaf);
        }
    }
}

#[test]
fn proofs_are_the_golden_ones() {
    let golden = golden();
    let (three, five) = (&golden.roots["3"], &golden.roots["5"]);
    let inclusion = &golden.inclusion_2_of_5;
    assert_eq!(tree::inclusion_proof(&golden.leaves, 2).as_ref(), Some(inclusion));
    assert!(tree::inclusion_holds(five, 5, 2, &golden.leaves[2], inclusion));
    let consistency = &golden.consistency_3_to_5;
    assert_eq!(tree::consistency_proof(&golden.leaves, 3).as_ref(), Some(consistency));
    assert!(tree::consistency_holds(three, 3, five, 5, consistency));
}

impl Vectors {
    fn key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.ed25519_seed.0)
    }
}

fn golden() -> Vectors {
    serde_json::from_str(include_str!("../../tests/vectors/record.json")).unwrap()
}
