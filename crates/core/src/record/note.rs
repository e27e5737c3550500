//! Signed notes and checkpoints: the size and root of a tree in a form that other tools verify.
//!
//! C2SP [signed-note] and [tlog-checkpoint], both v1, with Ed25519 signatures alone. A note is a
//! text, an empty line, and a line for each signature; who does not know a key passes its signature
//! over.
//!
//! [signed-note]: https://c2sp.org/signed-note
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::id::canonical_number;
use crate::record::hash::{PublicKey, Root};

/// Signatures that a note may bear; a witnessed note has one of each witness.
pub const SIGNATURES_MAX: usize = 64;
/// Bytes that a note may have.
pub const NOTE_BYTES_MAX: usize = 64 << 10;

/// The type byte of Ed25519 in key ids and encoded keys.
const ED25519: u8 = 1;
/// Em dash and a space: how a signature's line begins.
const SIGNED_BY: &str = "\u{2014} ";

/// Why a note proves nothing. Its code is `note_invalid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no note.
    #[error("it is not a signed note")]
    Form,
    /// Its text is no checkpoint.
    #[error("the note is not a checkpoint: an origin, a size and a root, a line each")]
    Checkpoint,
    /// The name cannot be a key's: it is empty or holds a space, a plus or a control character.
    #[error("the name of a key holds no spaces, no `+` and no control characters")]
    Name,
    /// There is no signature of the key.
    #[error("the note bears no signature of the key")]
    Unsigned,
    /// There is one, and it is of something else.
    #[error("the key's signature does not match the note")]
    Signature,
    /// The bytes are no usable key.
    #[error("the bytes are not a usable Ed25519 key")]
    Key,
}

/// What a tree was at one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which tree: the origin of its ledger, which is also the name of the key that signs.
    pub origin: String,
    /// How many leaves it has.
    pub size: u64,
    /// Its root.
    pub root: Root,
}

impl Checkpoint {
    /// The note that says so, signed in the origin's name.
    ///
    /// # Errors
    /// [`NoteError::Name`] when the origin cannot be a key's name.
    pub fn sign(&self, key: &SigningKey) -> Result<String, NoteError> {
        let text = self.text();
        let signature = key.sign(text.as_bytes()).to_bytes();
        let public = PublicKey(key.verifying_key().to_bytes());
        let id = key_id(&self.origin, &public)?;
        let line = STANDARD.encode([id.as_slice(), &signature].concat());
        Ok(format!("{text}\n{SIGNED_BY}{} {line}\n", self.origin))
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// What a note says, whoever signed it.
    ///
    /// # Errors
    /// [`NoteError::Form`], [`NoteError::Checkpoint`].
    pub fn read(note: &str) -> Result<Self, NoteError> {
        let (text, _) = taken_apart(note)?;
        let lines: Vec<&str> = text.lines().collect();
        let [origin, size, root] = lines[..] else { return Err(NoteError::Checkpoint) };
        let size = canonical_number(size).ok_or(NoteError::Checkpoint)?;
        let root = STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        let root = Root(root.ok_or(NoteError::Checkpoint)?);
        if !is_name(origin) {
            return Err(NoteError::Checkpoint);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

/// Whether `note` is signed by `key` under this name. Signatures of others count for nothing.
///
/// # Errors
/// [`NoteError`] with why it is not.
pub fn verify(note: &str, name: &str, key: &PublicKey) -> Result<(), NoteError> {
    let (text, signatures) = taken_apart(note)?;
    let id = key_id(name, key)?;
    let verifying = VerifyingKey::from_bytes(&key.0).map_err(|_| NoteError::Key)?;
    let mut own = signatures.iter().filter(|one| one.name == name && one.key_id == id).peekable();
    if own.peek().is_none() {
        return Err(NoteError::Unsigned);
    }
    let holds = |one: &Signed<'_>| {
        let signature = Signature::from_slice(&one.signature);
        signature.is_ok_and(|s| verifying.verify_strict(text.as_bytes(), &s).is_ok())
    };
    if own.all(holds) { Ok(()) } else { Err(NoteError::Signature) }
}

/// A key as verifiers of notes are given it: `name+id+key`.
///
/// # Errors
/// [`NoteError::Name`].
pub fn verifier_key(name: &str, key: &PublicKey) -> Result<String, NoteError> {
    let id = key_id(name, key)?;
    let encoded = STANDARD.encode([[ED25519].as_slice(), &key.0].concat());
    Ok(format!("{name}+{}+{encoded}", hex::encode(id)))
}

/// A line under a note.
struct Signed<'a> {
    name: &'a str,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

/// A note's text with its last newline, and its signatures.
fn taken_apart(note: &str) -> Result<(&str, Vec<Signed<'_>>), NoteError> {
    let is_plain = note.chars().all(|c| c == '\n' || !c.is_control());
    if note.len() > NOTE_BYTES_MAX || !is_plain {
        return Err(NoteError::Form);
    }
    let end = note.rfind("\n\n").ok_or(NoteError::Form)?;
    let (text, lines) = (&note[..=end], &note[end + 2..]);
    let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
    let signatures: Option<Vec<_>> = lines.split('\n').map(signed).collect();
    let signatures = signatures.ok_or(NoteError::Form)?;
    if signatures.len() > SIGNATURES_MAX {
        return Err(NoteError::Form);
    }
    Ok((text, signatures))
}

fn signed(line: &str) -> Option<Signed<'_>> {
    let (name, encoded) = line.strip_prefix(SIGNED_BY)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (key_id, signature) = bytes.split_first_chunk()?;
    let has_both = is_name(name) && !signature.is_empty();
    has_both.then(|| Signed { name, key_id: *key_id, signature: signature.to_vec() })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// Which key signed: the beginning of a hash of its name and bytes. A hint, not a proof.
fn key_id(name: &str, key: &PublicKey) -> Result<[u8; 4], NoteError> {
    if !is_name(name) {
        return Err(NoteError::Name);
    }
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key.0);
    let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
    Ok([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the signed-note specification.
    const NAME: &str = "example.com/foo";
    const VERIFIER_KEY: &str =
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\
        \u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn golden_key() -> PublicKey {
        let encoded = VERIFIER_KEY.rsplit_once('+').unwrap().1;
        PublicKey(STANDARD.decode(encoded).unwrap()[1..].try_into().unwrap())
    }

    fn signer(seed: u8) -> (SigningKey, PublicKey) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey(key.verifying_key().to_bytes());
        (key, public)
    }

    fn checkpoint() -> Checkpoint {
        let origin = "ledger.example.com/acme".to_owned();
        Checkpoint { origin, size: 1_234_067, root: Root([5; 32]) }
    }

    #[test]
    fn the_specifications_example_verifies_and_its_key_is_written_the_same() {
        let key = golden_key();
        assert_eq!(verifier_key(NAME, &key).unwrap(), VERIFIER_KEY);
        assert_eq!(verify(NOTE, NAME, &key), Ok(()));
        assert_eq!(Checkpoint::read(NOTE), Err(NoteError::Checkpoint));
    }

    #[test]
    fn a_checkpoint_reads_back_and_verifies() {
        let (key, public) = signer(3);
        let note = checkpoint().sign(&key).unwrap();
        let root = STANDARD.encode([5; 32]);
        assert!(
            note.starts_with(&format!("ledger.example.com/acme\n1234067\n{root}\n\n\u{2014} "))
        );
        assert_eq!(Checkpoint::read(&note), Ok(checkpoint()));
        assert_eq!(verify(&note, "ledger.example.com/acme", &public), Ok(()));
    }

    #[test]
    fn only_the_key_itself_under_its_own_name_counts() {
        let (key, public) = signer(3);
        let note = checkpoint().sign(&key).unwrap();
        assert_eq!(verify(&note, "ledger.example.com/other", &public), Err(NoteError::Unsigned));
        let (_, other) = signer(4);
        assert_eq!(verify(&note, "ledger.example.com/acme", &other), Err(NoteError::Unsigned));
        // Others may sign beside it, before it or after.
        let (text, own) = note.split_once("\n\n").unwrap();
        let theirs = NOTE.split_once("\n\n").unwrap().1;
        for both in [format!("{text}\n\n{own}{theirs}"), format!("{text}\n\n{theirs}{own}")] {
            assert_eq!(verify(&both, "ledger.example.com/acme", &public), Ok(()));
            // A known key whose signature fails is no unknown one.
            assert_eq!(verify(&both, NAME, &golden_key()), Err(NoteError::Signature));
        }
    }

    #[test]
    fn no_byte_of_a_signed_text_can_be_another() {
        let (key, public) = signer(3);
        let note = checkpoint().sign(&key).unwrap();
        let text = note.find("\n\n").unwrap();
        for at in 0..=text {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(altered) = String::from_utf8(bytes) else { continue };
            assert!(verify(&altered, "ledger.example.com/acme", &public).is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let many = format!("text\n\n{}", format!("{SIGNED_BY}a AAAAAAA=\n").repeat(65));
        for bad in [
            "",
            "text\n",
            "text\n\n",
            "text\n\nsigned\n",
            "text\n\n- a AAAAAAA=\n",
            "text\n\n\u{2014} a AAAAAAA=",
            "text\n\n\u{2014} a\n",
            "text\n\n\u{2014} a+b AAAAAAA=\n",
            "text\n\n\u{2014} a AAAAAA==\n",
            "text\n\n\u{2014} a AAAAAAA\n",
            "te\u{7}xt\n\n\u{2014} a AAAAAAA=\n",
            "te\rxt\n\n\u{2014} a AAAAAAA=\n",
            many.as_str(),
        ] {
            assert_eq!(Checkpoint::read(bad), Err(NoteError::Form), "{bad:?}");
        }
        let root = STANDARD.encode([5; 32]);
        for text in [
            format!("a\n01\n{root}\n"),
            format!("a\n-1\n{root}\n"),
            format!("a\n1\n{root}\nmore\n"),
            format!("a\n1\n{}\n", &root[..40]),
            format!("a b\n1\n{root}\n"),
            format!("\n1\n{root}\n"),
        ] {
            let note = format!("{text}\n{SIGNED_BY}a AAAAAAA=\n");
            assert_eq!(Checkpoint::read(&note), Err(NoteError::Checkpoint), "{note:?}");
        }
        let unnameable = Checkpoint { origin: "two words".to_owned(), ..checkpoint() };
        assert_eq!(unnameable.sign(&signer(3).0), Err(NoteError::Name));
    }
}
