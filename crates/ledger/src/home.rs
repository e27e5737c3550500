//! A node's own directory: its signing key, the ledger's secret, the first admin key, and where
//! the log, the anchor and the snapshot are. What is secret is readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bailiwick_core::event::ScramVerifier;
use bailiwick_core::id::CredentialId;
use bailiwick_core::record::{Digest, PublicKey};
use ed25519_dalek::SigningKey;

use crate::{Error, scram};

/// Bytes of a key or secret.
const SECRET_BYTES: usize = 32;

/// A node's directory, opened.
#[derive(Clone)]
pub struct Home {
    dir: PathBuf,
    signing: SigningKey,
    secret: [u8; SECRET_BYTES],
    /// Keeps hashes of API keys apart from argument commitments under the one secret.
    api_keys: [u8; SECRET_BYTES],
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Home {
    /// Opens `dir`, making it with new keys if there is none.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read or written, [`Error::Secret`] when a key in it is
    /// not one.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::file("make", dir))?;
        let signing = secret_in(&dir.join("signing.key"))?;
        let secret = secret_in(&dir.join("ledger.secret"))?;
        let signing = SigningKey::from_bytes(&signing);
        let api_keys = blake3::derive_key("bailiwick v1 api key", &secret);
        Ok(Self { dir: dir.to_owned(), signing, secret, api_keys })
    }

    /// The directory itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The key that signs this node's entries.
    #[must_use]
    pub const fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.signing.verifying_key().to_bytes())
    }

    /// The keyed hash under which an API key is recorded.
    #[must_use]
    pub fn key_hash(&self, key: &str) -> Digest {
        Digest(*blake3::keyed_hash(&self.api_keys, key.as_bytes()).as_bytes())
    }

    /// By what the holder of an API key is known to a server that never sees the key.
    ///
    /// # Errors
    /// [`Error::Chance`] when the system gives no salt.
    pub fn verifier(&self, credential: &CredentialId, key: &str) -> Result<ScramVerifier, Error> {
        scram::verifier(&self.secret, credential, key)
    }

    /// The keys of a credential's verifier; none if they were sealed for another credential or under
    /// another secret.
    #[must_use]
    pub fn open_verifier(
        &self,
        credential: &CredentialId,
        verifier: &ScramVerifier,
    ) -> Option<scram::Keys> {
        scram::open(&self.secret, credential, verifier)
    }

    /// A keyed hash by which this node knows a text again that it gave away, such as a page's token.
    #[must_use]
    pub fn seal(&self, text: &str) -> Digest {
        let key = blake3::derive_key("bailiwick v1 sealed text", &self.secret);
        Digest(*blake3::keyed_hash(&key, text.as_bytes()).as_bytes())
    }

    /// The ledger's own secret, under which arguments are committed to.
    #[must_use]
    pub const fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// Where the embedded log is.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        log_dir(&self.dir)
    }

    /// Where the anchor is.
    #[must_use]
    pub fn anchor_dir(&self) -> PathBuf {
        anchor_dir(&self.dir)
    }

    /// Where the snapshot is.
    #[must_use]
    pub fn snapshot_path(&self) -> PathBuf {
        self.dir.join("snapshot")
    }

    /// Where the admin key is that was made with the ledger.
    #[must_use]
    pub fn admin_key_path(&self) -> PathBuf {
        admin_key_path(&self.dir)
    }
}

/// Where the embedded log of the node in `dir` is.
#[must_use]
pub fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// Where the anchor of the node in `dir` is.
#[must_use]
pub fn anchor_dir(dir: &Path) -> PathBuf {
    dir.join("anchor")
}

/// Where the node in `dir` keeps the admin key that was made with its ledger.
#[must_use]
pub fn admin_key_path(dir: &Path) -> PathBuf {
    dir.join("admin.key")
}

/// Draws bytes from the system's source.
///
/// # Errors
/// [`Error::Chance`] when the system has none to give.
pub fn draw<const N: usize>() -> Result<[u8; N], Error> {
    use rand::TryRng;
    let mut bytes = [0; N];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|_| Error::Chance)?;
    Ok(bytes)
}

/// Writes a new file that its owner alone may read, whole and durable. An existing file stays.
///
/// # Errors
/// [`Error::File`] when it exists or cannot be written.
pub fn write_secret(path: &Path, text: &str) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    written.map_err(Error::file("write", path))
}

fn secret_in(path: &Path) -> Result<[u8; SECRET_BYTES], Error> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let mut bytes = [0; SECRET_BYTES];
            hex::decode_to_slice(text.trim(), &mut bytes)
                .map_err(|_| Error::Secret { path: path.to_owned() })?;
            Ok(bytes)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let bytes = draw()?;
            write_secret(path, &hex::encode(bytes))?;
            Ok(bytes)
        }
        Err(e) => Err(Error::file("read", path)(e)),
    }
}
