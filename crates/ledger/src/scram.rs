//! What is kept of an API key so that its holder can be known by SCRAM-SHA-256 (RFC 5802, RFC 7677),
//! the way in which `PostgreSQL` clients prove that they have a password without sending it.
//!
//! `StoredKey` checks a client's proof and `ServerKey` makes the server's: whoever has both can pose
//! as the server. So they stand on the ledger sealed under the ledger's secret, bound to the name of
//! their credential.

use std::num::NonZeroU32;

use bailiwick_core::event::{SCRAM_SALT_BYTES, SCRAM_SEALED_BYTES, ScramVerifier};
use bailiwick_core::id::CredentialId;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac, pbkdf2};

use crate::{Error, home};

/// How often a key is hashed. RFC 7677 asks for at least so many, and a key of 256 bits of chance
/// needs no more: nobody can try them through.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4_095);
/// Bytes of each of the two keys.
const KEY_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// The keys of a verifier, in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Checks a client's proof.
    pub stored_key: [u8; KEY_BYTES],
    /// Makes the server's proof.
    pub server_key: [u8; KEY_BYTES],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Makes a key's verifier, its two keys sealed under `secret` for `credential`.
pub(crate) fn verifier(
    secret: &[u8; 32],
    credential: &CredentialId,
    key: &str,
) -> Result<ScramVerifier, Error> {
    let salt: [u8; SCRAM_SALT_BYTES] = home::draw()?;
    let keys = keys(key, &salt, ITERATIONS);
    let mut sealed = [0; SCRAM_SEALED_BYTES];
    let (clear, tag) = sealed.split_at_mut(2 * KEY_BYTES);
    clear[..KEY_BYTES].copy_from_slice(&keys.stored_key);
    clear[KEY_BYTES..].copy_from_slice(&keys.server_key);
    let of = Aad::from(credential.as_str().as_bytes());
    let made = sealing(secret, &salt)
        .and_then(|(key, nonce)| key.seal_in_place_separate_tag(nonce, of, clear).ok());
    tag.copy_from_slice(made.ok_or(Error::Chance)?.as_ref());
    Ok(ScramVerifier { salt, iterations: ITERATIONS.get(), sealed })
}

/// The keys of a verifier; none if it was sealed otherwise.
pub(crate) fn open(
    secret: &[u8; 32],
    credential: &CredentialId,
    verifier: &ScramVerifier,
) -> Option<Keys> {
    let (key, nonce) = sealing(secret, &verifier.salt)?;
    let mut sealed = verifier.sealed;
    let of = Aad::from(credential.as_str().as_bytes());
    let clear = key.open_in_place(nonce, of, &mut sealed).ok()?;
    let (stored_key, server_key) = clear.split_at_checked(KEY_BYTES)?;
    Some(Keys { stored_key: stored_key.try_into().ok()?, server_key: server_key.try_into().ok()? })
}

/// A key and nonce that seal once: both come of the salt, which is drawn for one verifier.
fn sealing(secret: &[u8; 32], salt: &[u8; SCRAM_SALT_BYTES]) -> Option<(LessSafeKey, Nonce)> {
    let material = [secret.as_slice(), salt.as_slice()].concat();
    let key = blake3::derive_key("bailiwick v1 sealed scram keys", &material);
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?;
    Some((LessSafeKey::new(key), Nonce::assume_unique_for_key([0; 12])))
}

/// RFC 5802, section 3.
fn keys(key: &str, salt: &[u8], iterations: NonZeroU32) -> Keys {
    let mut salted = [0; KEY_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, key.as_bytes(), &mut salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&salted, b"Server Key");
    let bytes = |of: &[u8]| -> [u8; KEY_BYTES] { std::array::from_fn(|at| of[at]) };
    Keys { stored_key: bytes(stored_key.as_ref()), server_key: bytes(server_key.as_ref()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> CredentialId {
        CredentialId::new(name).unwrap()
    }

    /// What Python's `hashlib` and `hmac` come to with the password and salt of RFC 7677's example.
    #[test]
    fn keys_are_those_of_the_standard() {
        let salt = [
            0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36,
            0xfa, 0x81,
        ];
        let keys = keys("pencil", &salt, ITERATIONS);
        assert_eq!(hex::encode(keys.stored_key), STORED_KEY);
        assert_eq!(hex::encode(keys.server_key), SERVER_KEY);
    }

    const STORED_KEY: &str = "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6";
    const SERVER_KEY: &str = "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5";

    #[test]
    fn sealed_keys_open_for_their_credential_under_their_secret_only() {
        let (name, secret) = (id("ci"), [7; 32]);
        let verifier = verifier(&secret, &name, "bwk_1").unwrap();
        let opened = open(&secret, &name, &verifier).unwrap();
        assert_eq!(opened, keys("bwk_1", &verifier.salt, ITERATIONS));
        assert_eq!(open(&secret, &id("other"), &verifier), None);
        assert_eq!(open(&[8; 32], &name, &verifier), None);
        for at in 0..SCRAM_SEALED_BYTES {
            let mut altered = verifier.clone();
            altered.sealed[at] ^= 1;
            assert_eq!(open(&secret, &name, &altered), None, "byte {at}");
        }
        for bytes in [opened.stored_key, opened.server_key] {
            assert!(!verifier.sealed.windows(8).any(|window| window == &bytes[..8]));
        }
    }

    #[test]
    fn two_verifiers_of_one_key_have_nothing_in_common() {
        let [one, other] = [0, 1].map(|_| verifier(&[7; 32], &id("ci"), "bwk_1").unwrap());
        assert_ne!(one.salt, other.salt);
        assert_ne!(one.sealed, other.sealed);
    }
}
