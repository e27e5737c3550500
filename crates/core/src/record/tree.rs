//! The Merkle tree of RFC 6962 over event headers: roots, proofs, and growth one leaf at a time.
//!
//! A tree of `n` leaves splits at the largest power of two smaller than `n`.

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use sha2::{Digest as _, Sha256};

use crate::record::frame::HEADER_BYTES;
use crate::record::hash::{Link, Node, Root};

/// The leaf of the event with this header.
#[must_use]
pub fn leaf(header: &[u8; HEADER_BYTES]) -> Node {
    let mut input = [0; 1 + HEADER_BYTES];
    input[1..].copy_from_slice(header);
    Node(Sha256::digest(input).into())
}

/// The leaf of the event with this link, in a tree that is made of links alone: a part of a ledger
/// whose headers are elsewhere.
#[must_use]
pub fn link_leaf(link: &Link) -> Node {
    let mut input = [0; 33];
    input[1..].copy_from_slice(&link.0);
    Node(Sha256::digest(input).into())
}

/// The node above two others.
fn node(left: &Node, right: &Node) -> Node {
    let mut input = [1; 65];
    input[1..33].copy_from_slice(&left.0);
    input[33..].copy_from_slice(&right.0);
    Node(Sha256::digest(input).into())
}

/// The root of a tree without leaves.
fn empty() -> Root {
    Root(Sha256::digest([]).into())
}

/// As much of a tree as is needed to append to it: the roots of its full subtrees, largest first.
///
/// INVARIANT: there is one peak for each set bit of `size`; the encoding holds no count of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    peaks: Vec<Node>,
}

impl CompactRange {
    /// A tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Appends a leaf: one hash on average, at most one for each level.
    pub fn push(&mut self, leaf: Node) {
        let mut top = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                top = node(&left, &top);
            }
        }
        self.peaks.push(top);
        self.size += 1;
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree as it stands.
    #[must_use]
    pub fn root(&self) -> Root {
        let joined = self.peaks.iter().copied().rev().reduce(|right, left| node(&left, &right));
        joined.map_or_else(empty, |top| Root(top.0))
    }
}

impl bincode::Encode for CompactRange {
    fn encode<E: Encoder>(&self, to: &mut E) -> Result<(), EncodeError> {
        self.size.encode(to)?;
        self.peaks.iter().try_for_each(|peak| peak.encode(to))
    }
}

impl<C> bincode::Decode<C> for CompactRange {
    fn decode<D: Decoder<Context = C>>(from: &mut D) -> Result<Self, DecodeError> {
        let size = u64::decode(from)?;
        let peaks = (0..size.count_ones()).map(|_| Node::decode(from)).collect::<Result<_, _>>()?;
        Ok(Self { size, peaks })
    }
}

bincode::impl_borrow_decode!(CompactRange);

/// The root of the tree with these leaves.
#[must_use]
pub fn root(leaves: &[Node]) -> Root {
    if leaves.is_empty() { empty() } else { Root(subtree(leaves).0) }
}

/// The proof that leaf `index` is in the tree with these leaves: the siblings on its way up, the
/// lowest first. None when there is no such leaf.
#[must_use]
pub fn inclusion_proof(leaves: &[Node], index: usize) -> Option<Vec<Node>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut leaves, mut index, mut path) = (leaves, index, Vec::new());
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            path.push(subtree(right));
            leaves = left;
        } else {
            path.push(subtree(left));
            index -= left.len();
            leaves = right;
        }
    }
    path.reverse();
    Some(path)
}

/// The proof that the tree with these leaves has grown from its own first `old_size` leaves. None
/// when the tree is smaller; empty when the sizes are equal or the old tree was empty.
#[must_use]
pub fn consistency_proof(leaves: &[Node], old_size: usize) -> Option<Vec<Node>> {
    if old_size > leaves.len() {
        return None;
    }
    if old_size == 0 {
        return Some(Vec::new());
    }
    let (mut leaves, mut old, mut path) = (leaves, old_size, Vec::new());
    // Whether what is left of the old tree is the whole old tree, whose root the verifier has.
    let mut whole = true;
    while old < leaves.len() {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if old <= left.len() {
            path.push(subtree(right));
            leaves = left;
        } else {
            path.push(subtree(left));
            old -= left.len();
            leaves = right;
            whole = false;
        }
    }
    if !whole {
        path.push(subtree(leaves));
    }
    path.reverse();
    Some(path)
}

/// Whether `proof` shows that `leaf` is leaf `index` of the tree of `size` leaves with this root.
#[must_use]
pub fn inclusion_holds(root: &Root, size: u64, index: u64, leaf: &Node, proof: &[Node]) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut top) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            top = node(sibling, &top);
            climb_to_right_child(&mut at, &mut last);
        } else {
            top = node(&top, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && top.0 == root.0
}

/// Whether `proof` shows that the tree of `new_size` leaves and root `new` has grown from the tree
/// of `old_size` leaves and root `old`. Every tree has grown from the empty one.
#[must_use]
pub fn consistency_holds(
    old: &Root,
    old_size: u64,
    new: &Root,
    new_size: u64,
    proof: &[Node],
) -> bool {
    if old_size == 0 {
        return proof.is_empty() && *old == empty() && (new_size > 0 || old == new);
    }
    if old_size >= new_size {
        return old_size == new_size && proof.is_empty() && old == new;
    }
    // The seed is the largest full subtree at the old tree's right edge. It is the old root itself
    // when the old tree is full, and then the proof leaves it out.
    let (seed, siblings) = match proof.split_first() {
        _ if old_size.is_power_of_two() => (Node(old.0), proof),
        Some((first, rest)) => (*first, rest),
        None => return false,
    };
    let full = (old_size - 1).trailing_ones();
    let (mut at, mut last) = ((old_size - 1) >> full, (new_size - 1) >> full);
    let (mut old_top, mut new_top) = (seed, seed);
    for sibling in siblings {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_top = node(sibling, &old_top);
            new_top = node(sibling, &new_top);
            climb_to_right_child(&mut at, &mut last);
        } else {
            new_top = node(&new_top, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old_top.0 == old.0 && new_top.0 == new.0
}

/// A node at the right edge may have no sibling on some levels: skips them.
fn climb_to_right_child(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        *at >>= 1;
        *last >>= 1;
    }
}

/// The top of the tree with these leaves, of which there is at least one.
fn subtree(leaves: &[Node]) -> Node {
    match leaves {
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&subtree(left), &subtree(right))
        }
    }
}

/// The largest power of two smaller than `size`, which is at least 2.
const fn split(size: usize) -> usize {
    1 << (size - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appended_tree_has_the_root_of_the_whole_list() {
        let leaves = leaves(300);
        let mut range = CompactRange::new();
        for size in 0..=leaves.len() {
            assert_eq!(range.root(), root(&leaves[..size]), "{size}");
            assert_eq!(range.size(), size as u64);
            if let Some(next) = leaves.get(size) {
                range.push(*next);
            }
        }
    }

    #[test]
    fn a_tree_read_back_grows_as_the_one_written() {
        let plain = bincode::config::standard();
        let mut range = CompactRange::new();
        for (size, leaf) in leaves(70).iter().enumerate() {
            let bytes = bincode::encode_to_vec(&range, plain).unwrap();
            let (mut back, read): (CompactRange, _) =
                bincode::decode_from_slice(&bytes, plain).unwrap();
            assert_eq!((&back, read), (&range, bytes.len()), "{size}");
            let cut = bytes.len() - 1;
            let short = bincode::decode_from_slice::<CompactRange, _>(&bytes[..cut], plain);
            assert!(short.is_err());
            back.push(*leaf);
            range.push(*leaf);
            assert_eq!(back.root(), range.root());
        }
    }

    #[test]
    fn inclusion_proofs_hold_for_their_own_leaf_only() {
        for size in 1..40 {
            let leaves = leaves(size);
            let root = root(&leaves);
            for index in 0..size {
                let proof = inclusion_proof(&leaves, index).unwrap();
                let holds = |size: usize, index: usize, leaf: &Node, proof: &[Node]| {
                    inclusion_holds(&root, size as u64, index as u64, leaf, proof)
                };
                assert!(holds(size, index, &leaves[index], &proof));
                assert!(!holds(size, index, &Node([0; 32]), &proof));
                assert!(!holds(size, index + size, &leaves[index], &proof));
                for other in (0..size).filter(|other| *other != index) {
                    assert!(!holds(size, other, &leaves[index], &proof), "{size} {index} {other}");
                }
                for mutated in mutations(&proof) {
                    assert!(!holds(size, index, &leaves[index], &mutated), "{size} {index}");
                }
            }
            assert_eq!(inclusion_proof(&leaves, size), None);
        }
    }

    #[test]
    fn consistency_proofs_hold_for_their_own_trees_only() {
        let leaves = leaves(40);
        for new in 0..=leaves.len() {
            for old in 0..=new {
                let proof = consistency_proof(&leaves[..new], old).unwrap();
                let (old_root, new_root) = (root(&leaves[..old]), root(&leaves[..new]));
                let holds = |a: &Root, b: &Root, proof: &[Node]| {
                    consistency_holds(a, old as u64, b, new as u64, proof)
                };
                assert!(holds(&old_root, &new_root, &proof), "{old} {new}");
                assert!(!holds(&Root([0; 32]), &new_root, &proof), "{old} {new}");
                assert!(old == 0 && new > 0 || !holds(&old_root, &Root([0; 32]), &proof));
                for mutated in mutations(&proof) {
                    assert!(!holds(&old_root, &new_root, &mutated), "{old} {new}");
                }
            }
            assert_eq!(consistency_proof(&leaves[..new], new + 1), None);
        }
        assert!(!consistency_holds(&root(&leaves), 40, &root(&leaves[..9]), 9, &[]));
    }

    fn leaves(count: usize) -> Vec<Node> {
        (0..count).map(|n| Node(Sha256::digest(n.to_be_bytes()).into())).collect()
    }

    /// The proof with one flipped bit, one node fewer, one more, and two swapped.
    fn mutations(proof: &[Node]) -> Vec<Vec<Node>> {
        let mut all = vec![[proof, &[Node([0; 32])]].concat()];
        for at in 0..proof.len() {
            let mut flipped = proof.to_vec();
            flipped[at].0[at % 32] ^= 1;
            let mut dropped = proof.to_vec();
            dropped.remove(at);
            all.extend([flipped, dropped]);
            if at > 0 {
                let mut swapped = proof.to_vec();
                swapped.swap(at - 1, at);
                all.push(swapped);
            }
        }
        all
    }
}
