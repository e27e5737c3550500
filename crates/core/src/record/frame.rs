//! One event as it is stored: a header of 92 bytes, then its body.

use crate::record::hash::{self, Digest, Link, Node};
use crate::record::tree;
use crate::time::Time;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 92;
/// The fewest bytes of a body: its salt.
pub const BODY_BYTES_MIN: usize = 16;
/// The most bytes of a body, its salt included.
pub const BODY_BYTES_MAX: usize = 65_535;

/// The version of the frame's layout.
const VERSION: u8 = 1;
/// How a body is encoded: bincode 2, standard configuration.
const CODEC: u8 = 1;

/// What a header says. Version, codec and the zero bytes are not kept: a header in which they
/// differ does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The number of the event's kind in the registry.
    pub kind: u16,
    /// The schema number of that kind, from 1.
    pub schema: u8,
    /// The event's position in the ledger, from 0, without gaps.
    pub index: u64,
    /// When it happened; later than the event before.
    pub time: Time,
    /// The link of the event before, or the genesis link.
    pub prev: Link,
    /// The digest of the body.
    pub digest: Digest,
    /// Bytes of the body.
    pub body_len: u32,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Another layout than this version knows.
    #[error("the frame has version {0}, only 1 is known")]
    Version(u8),
    /// Another encoding of bodies than this version knows.
    #[error("the body is encoded by codec {0}, only 1 is known")]
    Codec(u8),
    /// A schema number of zero.
    #[error("the schema number is zero")]
    Schema,
    /// Reserved bytes that are not zero.
    #[error("reserved bytes of the header are not zero")]
    Reserved,
    /// A body that is too small for its salt, or too large.
    #[error("the body has {0} bytes, 16 to 65535 are allowed")]
    BodyLength(u64),
    /// The bytes end inside a frame.
    #[error("the frame ends early")]
    Truncated,
}

impl Header {
    /// The header as it is stored, integers big-endian.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut to = [0; HEADER_BYTES];
        to[0] = VERSION;
        to[1] = CODEC;
        to[2..4].copy_from_slice(&self.kind.to_be_bytes());
        to[4] = self.schema;
        to[8..16].copy_from_slice(&self.index.to_be_bytes());
        to[16..24].copy_from_slice(&self.time.0.to_be_bytes());
        to[24..56].copy_from_slice(&self.prev.0);
        to[56..88].copy_from_slice(&self.digest.0);
        to[88..92].copy_from_slice(&self.body_len.to_be_bytes());
        to
    }

    /// Reads a stored header. What decodes encodes to the same bytes.
    ///
    /// # Errors
    /// [`FrameError`] when the version or codec is unknown, the schema number is zero, reserved
    /// bytes are not, or the body length is out of bounds.
    pub fn decode(from: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let body_len = u32::from_be_bytes(part(from, 88));
        match from {
            [version, ..] if *version != VERSION => Err(FrameError::Version(*version)),
            [_, codec, ..] if *codec != CODEC => Err(FrameError::Codec(*codec)),
            [_, _, _, _, 0, ..] => Err(FrameError::Schema),
            _ if from[5..8] != [0; 3] => Err(FrameError::Reserved),
            _ if !body_length_allowed(body_len as usize) => {
                Err(FrameError::BodyLength(body_len.into()))
            }
            _ => Ok(Self {
                kind: u16::from_be_bytes(part(from, 2)),
                schema: from[4],
                index: u64::from_be_bytes(part(from, 8)),
                time: Time(u64::from_be_bytes(part(from, 16))),
                prev: Link(part(from, 24)),
                digest: Digest(part(from, 56)),
                body_len,
            }),
        }
    }

    /// The link of this event.
    #[must_use]
    pub fn link(&self) -> Link {
        hash::event_link(&self.encode())
    }

    /// This event's leaf of the Merkle tree.
    #[must_use]
    pub fn leaf(&self) -> Node {
        tree::leaf(&self.encode())
    }
}

/// A frame where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef<'a> {
    /// The stored header, which is what is hashed.
    pub header_bytes: &'a [u8; HEADER_BYTES],
    /// What the header says.
    pub header: Header,
    /// The body, salt first; empty in a copy whose bodies are withheld.
    pub body: &'a [u8],
}

impl<'a> FrameRef<'a> {
    /// Splits the first frame off `bytes`; the body is empty where `withheld` says that the copy
    /// holds headers only.
    ///
    /// # Errors
    /// [`FrameError`] when the header does not decode or the bytes end early.
    pub(crate) fn split(bytes: &'a [u8], withheld: bool) -> Result<(Self, &'a [u8]), FrameError> {
        let (header_bytes, rest) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(FrameError::Truncated)?;
        let header = Header::decode(header_bytes)?;
        let body_len = if withheld { 0 } else { header.body_len as usize };
        let (body, rest) = rest.split_at_checked(body_len).ok_or(FrameError::Truncated)?;
        Ok((Self { header_bytes, header, body }, rest))
    }

    /// The link of this event, over the stored bytes.
    #[must_use]
    pub fn link(&self) -> Link {
        hash::event_link(self.header_bytes)
    }

    /// This event's leaf of the Merkle tree, over the stored bytes.
    #[must_use]
    pub fn leaf(&self) -> Node {
        tree::leaf(self.header_bytes)
    }
}

/// Appends one frame to `out` and gives its link. `body` is the salt and the encoded event.
///
/// # Errors
/// [`FrameError::BodyLength`] when the body is too small for its salt, or too large, and
/// [`FrameError::Schema`] for schema number zero; `out` is left as it was.
pub fn append_frame(
    out: &mut Vec<u8>,
    kind: u16,
    schema: u8,
    index: u64,
    time: Time,
    prev: Link,
    body: &[u8],
) -> Result<Link, FrameError> {
    let refused = FrameError::BodyLength(body.len() as u64);
    if !body_length_allowed(body.len()) {
        return Err(refused);
    }
    if schema == 0 {
        return Err(FrameError::Schema);
    }
    let body_len = u32::try_from(body.len()).map_err(|_| refused)?;
    let digest = hash::body_digest(body);
    let header = Header { kind, schema, index, time, prev, digest, body_len }.encode();
    out.reserve(HEADER_BYTES + body.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(body);
    Ok(hash::event_link(&header))
}

/// Whether a body may have this many bytes.
pub(crate) const fn body_length_allowed(bytes: usize) -> bool {
    bytes >= BODY_BYTES_MIN && bytes <= BODY_BYTES_MAX
}

/// `N` bytes of `from` at a constant offset that lies inside.
pub(crate) fn part<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut to = [0; N];
    to.copy_from_slice(&from[at..at + N]);
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        assert_eq!(Header::decode(&example().encode()), Ok(example()));
    }

    #[test]
    fn a_header_with_unknown_or_reserved_bytes_is_refused() {
        let refused = |at: usize, value: u8| {
            let mut bytes = example().encode();
            bytes[at] = value;
            Header::decode(&bytes).unwrap_err()
        };
        assert_eq!(refused(0, 2), FrameError::Version(2));
        assert_eq!(refused(1, 0), FrameError::Codec(0));
        assert_eq!(refused(4, 0), FrameError::Schema);
        for at in 5..8 {
            assert_eq!(refused(at, 1), FrameError::Reserved);
        }
        assert_eq!(refused(91, 15), FrameError::BodyLength(15));
        assert_eq!(refused(89, 1), FrameError::BodyLength(65_536 + 20));
    }

    #[test]
    fn a_body_is_as_large_as_allowed_and_no_larger() {
        let append = |bytes: usize| {
            let mut out = vec![1, 2, 3];
            let body = vec![0; bytes];
            let link = append_frame(&mut out, 1, 1, 0, Time(1), Link([0; 32]), &body);
            (out.len(), link.err())
        };
        assert_eq!(append(15), (3, Some(FrameError::BodyLength(15))));
        assert_eq!(append(16), (3 + 92 + 16, None));
        assert_eq!(append(65_535), (3 + 92 + 65_535, None));
        assert_eq!(append(65_536), (3, Some(FrameError::BodyLength(65_536))));
    }

    #[test]
    fn a_frame_that_ends_early_is_refused() {
        let mut out = Vec::new();
        append_frame(&mut out, 1, 1, 0, Time(1), Link([0; 32]), &[5; 20]).unwrap();
        for end in 0..out.len() {
            assert_eq!(FrameRef::split(&out[..end], false), Err(FrameError::Truncated), "{end}");
        }
        let (frame, rest) = FrameRef::split(&out, false).unwrap();
        assert_eq!((frame.body, rest), (&[5; 20][..], &[][..]));
    }

    fn example() -> Header {
        Header {
            kind: 0x0102,
            schema: 3,
            index: 4,
            time: Time(5),
            prev: Link([6; 32]),
            digest: Digest([7; 32]),
            body_len: 20,
        }
    }
}
