//! The public keys whose signatures a reader accepts.

use ed25519_dalek::{Signature, VerifyingKey};

use crate::record::fault::FaultKind;
use crate::record::hash::{self, KeyId, PublicKey};
use crate::record::note;

/// The keys that may sign entries, each from one entry on.
///
/// The first key is trusted because it was given; every other because an entry under a trusted
/// key added it (`key.rotated`), which makes it valid from the next entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRing {
    keys: Vec<Trusted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Trusted {
    id: KeyId,
    key: VerifyingKey,
    from_entry: u64,
}

/// Bytes that are not a usable Ed25519 public key. Its code is `invalid_key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a usable Ed25519 public key")]
pub struct KeyError(pub PublicKey);

impl KeyRing {
    /// Trusts the genesis key, for every entry.
    ///
    /// # Errors
    /// [`KeyError`] when the bytes are no point of the curve, a second spelling of one, or one of
    /// small order, under which a signature proves nothing.
    pub fn new(genesis: &PublicKey) -> Result<Self, KeyError> {
        let mut ring = Self { keys: Vec::new() };
        ring.trust(genesis, 1)?;
        Ok(ring)
    }

    /// Trusts `key` for entry `from_entry` and all later ones. A key that is trusted already
    /// keeps the earlier beginning.
    ///
    /// # Errors
    /// [`KeyError`] as for [`KeyRing::new`]; the ring is left as it was.
    pub fn trust(&mut self, key: &PublicKey, from_entry: u64) -> Result<(), KeyError> {
        let checked = VerifyingKey::from_bytes(&key.0).map_err(|_| KeyError(*key))?;
        if checked.is_weak() || !canonical(key) {
            return Err(KeyError(*key));
        }
        match self.keys.iter_mut().find(|trusted| trusted.key == checked) {
            Some(trusted) => trusted.from_entry = trusted.from_entry.min(from_entry),
            None => self.keys.push(Trusted { id: hash::key_id(key), key: checked, from_entry }),
        }
        Ok(())
    }

    /// The keys in the order in which they were added, with the first entry each may sign.
    pub fn keys(&self) -> impl Iterator<Item = (PublicKey, u64)> + '_ {
        self.keys.iter().map(|trusted| (PublicKey(trusted.key.to_bytes()), trusted.from_entry))
    }

    /// The key that signed this note under `name` (C2SP signed-note), among those that may sign
    /// `entry`.
    #[must_use]
    pub fn signer(&self, note: &str, name: &str, entry: u64) -> Option<PublicKey> {
        let mut keys = self.keys().filter(|(_, from)| *from <= entry).map(|(key, _)| key);
        keys.find(|key| note::verify(note, name, key).is_ok())
    }

    /// Checks that some key with this id may sign `entry`.
    pub(crate) fn admits(&self, id: KeyId, entry: u64) -> Result<(), FaultKind> {
        let from = self.keys.iter().filter(|trusted| trusted.id == id).map(|t| t.from_entry).min();
        match from {
            None => Err(FaultKind::KeyUnknown(id)),
            Some(from) if from > entry => Err(FaultKind::KeyEarly { key: id, from }),
            Some(_) => Ok(()),
        }
    }

    /// Checks a signature over `message` in `entry`. Two keys may share an id: it is 4 bytes.
    pub(crate) fn verify(
        &self,
        id: KeyId,
        entry: u64,
        message: &[u8; 32],
        signature: &[u8; 64],
    ) -> Result<(), FaultKind> {
        self.admits(id, entry)?;
        let signature = Signature::from_bytes(signature);
        let mut named = self.keys.iter().filter(|t| t.id == id && t.from_entry <= entry);
        if named.any(|trusted| trusted.key.verify_strict(message, &signature).is_ok()) {
            Ok(())
        } else {
            Err(FaultKind::Signature)
        }
    }
}

/// Whether the y coordinate is below the field's prime, 2^255 - 19. Libraries disagree about keys
/// that are not, and every reader of a ledger must come to the same verdict.
fn canonical(key: &PublicKey) -> bool {
    let [low, middle @ .., high] = &key.0;
    *low < 0xed || high & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    #[test]
    fn a_key_signs_from_its_own_entry_on() {
        let (first, second) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let mut ring = KeyRing::new(&public(&first)).unwrap();
        let check = |ring: &KeyRing, entry: u64| {
            let signature = second.sign(&[9; 32]).to_bytes();
            ring.verify(hash::key_id(&public(&second)), entry, &[9; 32], &signature)
        };
        let key = hash::key_id(&public(&second));
        assert_eq!(check(&ring, 5), Err(FaultKind::KeyUnknown(key)));
        ring.trust(&public(&second), 5).unwrap();
        assert_eq!(check(&ring, 4), Err(FaultKind::KeyEarly { key, from: 5 }));
        assert_eq!(check(&ring, 5), Ok(()));
        ring.trust(&public(&second), 9).unwrap();
        assert_eq!(check(&ring, 5), Ok(()));
        assert_eq!(ring.keys().collect::<Vec<_>>(), [(public(&first), 1), (public(&second), 5)]);
    }

    #[test]
    fn a_key_under_another_id_does_not_verify() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let ring = KeyRing::new(&public(&key)).unwrap();
        let signature = SigningKey::from_bytes(&[2; 32]).sign(&[9; 32]).to_bytes();
        let id = hash::key_id(&public(&key));
        assert_eq!(ring.verify(id, 1, &[9; 32], &signature), Err(FaultKind::Signature));
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut one_spelled_twice = [0xff; 32];
        one_spelled_twice[0] = 0xee;
        one_spelled_twice[31] = 0x7f;
        for bad in [identity, one_spelled_twice, [0; 32], [0xff; 32], [2; 32]] {
            assert_eq!(KeyRing::new(&PublicKey(bad)), Err(KeyError(PublicKey(bad))), "{bad:?}");
        }
    }

    fn public(key: &SigningKey) -> PublicKey {
        PublicKey(key.verifying_key().to_bytes())
    }
}
