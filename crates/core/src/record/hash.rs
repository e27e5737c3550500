//! Hashes and the identities that are made of bytes, each its own type, written in hexadecimal.
//!
//! Every BLAKE3 hash is separated from every other by a context string (`derive_key` mode). The
//! context is hashed once per process: the hashers below start from it.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use crate::record::frame::HEADER_BYTES;

/// A text that is not the hexadecimal form of what it was given for. Its code is `invalid_hash`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {what}, which is {digits} hexadecimal digits")]
pub struct HexError {
    what: &'static str,
    digits: usize,
    given: String,
}

macro_rules! bytes {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $size:literal;)+) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode,
        )]
        pub struct $name(pub [u8; $size]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 2 * $size];
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = HexError;
            fn from_str(text: &str) -> Result<Self, HexError> {
                let mut bytes = [0; $size];
                match hex::decode_to_slice(text, &mut bytes) {
                    Ok(()) => Ok(Self(bytes)),
                    Err(_) => Err(HexError {
                        what: $what,
                        digits: 2 * $size,
                        given: text.chars().take(80).collect(),
                    }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": "^[0-9a-fA-F]*$",
                    "minLength": 2 * $size,
                    "maxLength": 2 * $size
                })
            }
        }
    )+};
}

bytes! {
    /// What an event's header hashes to; the next event's header holds it.
    Link = "a link", 32;
    /// What an event's body hashes to.
    Digest = "a digest", 32;
    /// A ledger: 16 bytes drawn at random when it was created.
    LedgerId = "a ledger id", 16;
    /// Which key signed: the first 4 bytes of a hash of the public key. A hint, not a proof.
    KeyId = "a key id", 4;
    /// An Ed25519 public key as it is written; [`crate::record::keys::KeyRing`] checks it.
    PublicKey = "a public key", 32;
    /// What a leaf of the Merkle tree, or a node above leaves, hashes to.
    Node = "a tree hash", 32;
    /// What a whole Merkle tree hashes to.
    Root = "a tree root", 32;
}

static BODY: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("bailiwick v1 event body"));
static LINK: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("bailiwick v1 event link"));
static GENESIS: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("bailiwick v1 genesis"));
static KEY_ID: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("bailiwick v1 key id"));
static ENTRY: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("bailiwick v1 entry"));

/// The digest of an event's body, salt included.
#[must_use]
pub fn body_digest(body: &[u8]) -> Digest {
    Digest(derive(&BODY, body))
}

/// The link of the event with this header.
#[must_use]
pub fn event_link(header: &[u8; HEADER_BYTES]) -> Link {
    Link(derive(&LINK, header))
}

/// What stands as the previous link in the header of event 0.
#[must_use]
pub fn genesis_link(ledger: LedgerId) -> Link {
    Link(derive(&GENESIS, &ledger.0))
}

/// The id under which entries name this key.
#[must_use]
pub fn key_id(key: &PublicKey) -> KeyId {
    let [a, b, c, d, ..] = derive(&KEY_ID, &key.0);
    KeyId([a, b, c, d])
}

fn derive(context: &blake3::Hasher, input: &[u8]) -> [u8; 32] {
    *context.clone().update(input).finalize().as_bytes()
}

/// Bytes gathered before they are hashed: 16 chunks, the widest that BLAKE3 hashes side by side.
const GATHER_BYTES: usize = 16 * 1_024;

/// The hash that an entry's signature covers: the first 44 bytes, then every frame's header.
///
/// Headers lie apart from each other in an entry. They are gathered on the stack first, since
/// BLAKE3 hashes one long input several times faster than many short ones.
pub(crate) struct EntryHasher {
    hasher: blake3::Hasher,
    gathered: [u8; GATHER_BYTES],
    filled: usize,
}

impl EntryHasher {
    /// Starts with the first 44 bytes of the entry.
    pub(crate) fn new(prefix: &[u8]) -> Self {
        let mut new = Self { hasher: ENTRY.clone(), gathered: [0; GATHER_BYTES], filled: 0 };
        new.add(prefix);
        new
    }

    /// Adds the next frame's header. INVARIANT: `filled < GATHER_BYTES` between calls.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let room = GATHER_BYTES - self.filled;
        if bytes.len() < room {
            self.gathered[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
            self.filled += bytes.len();
            return;
        }
        let (now, later) = bytes.split_at(room);
        self.gathered[self.filled..].copy_from_slice(now);
        self.hasher.update(&self.gathered);
        self.gathered[..later.len()].copy_from_slice(later);
        self.filled = later.len();
    }

    /// The hash to sign.
    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.gathered[..self.filled]);
        *self.hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_and_prints_alike() {
        let link = Link([0xab; 32]);
        assert_eq!(link.to_string(), "ab".repeat(32));
        assert_eq!(link.to_string().parse(), Ok(link));
        assert_eq!("AB".repeat(32).parse(), Ok(link));
        assert_eq!(serde_json::to_string(&KeyId([1, 2, 3, 4])).unwrap(), "\"01020304\"");
        assert_eq!(serde_json::from_str::<KeyId>("\"01020304\"").unwrap(), KeyId([1, 2, 3, 4]));
    }

    #[test]
    fn other_lengths_and_other_letters_are_refused() {
        for bad in ["", "0102030", "010203", "0102030405", "0102030g", " 1020304", "é102030"] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
        let refused = "xyz".parse::<KeyId>().unwrap_err().to_string();
        assert_eq!(refused, "`xyz` is not a key id, which is 8 hexadecimal digits");
    }

    #[test]
    fn bytes_are_encoded_as_they_are() {
        let plain = bincode::config::standard();
        let encoded = bincode::encode_to_vec(LedgerId([7; 16]), plain).unwrap();
        assert_eq!(encoded, [7; 16]);
        let (back, read): (LedgerId, _) = bincode::decode_from_slice(&encoded, plain).unwrap();
        assert_eq!((back, read), (LedgerId([7; 16]), 16));
    }

    #[test]
    fn a_context_kept_hashes_as_one_made_anew() {
        for size in [0, 1, 92, 330, 5_000] {
            let input = vec![9; size];
            let anew = blake3::derive_key("bailiwick v1 event body", &input);
            assert_eq!(body_digest(&input), Digest(anew));
        }
    }

    #[test]
    fn gathered_headers_hash_as_one_input() {
        for headers in [0, 1, 177, 178, 179, 356, 357, 4_096] {
            let mut whole = vec![3; 44];
            let mut hasher = EntryHasher::new(&whole);
            for n in 0..headers {
                let header = [u8::try_from(n % 251).unwrap(); HEADER_BYTES];
                hasher.add(&header);
                whole.extend_from_slice(&header);
            }
            assert_eq!(hasher.finish(), blake3::derive_key("bailiwick v1 entry", &whole));
        }
    }
}
