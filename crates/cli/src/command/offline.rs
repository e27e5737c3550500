//! A ledger that no server has open, read and never written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use bailiwick_client::discover::ENDPOINT_FILE;
use bailiwick_core::event::LedgerCreated;
use bailiwick_core::record::PublicKey;
use bailiwick_ledger::anchor::Anchor;
use bailiwick_ledger::log::embedded::Embedded;
use bailiwick_ledger::log::jetstream::{self, JetStream};
use bailiwick_ledger::log::{Log as _, Reader};
use bailiwick_ledger::{Error as LedgerError, home};

use crate::exit::{unverified, usage};
use crate::verify::creation;

/// A stopped ledger.
pub(crate) struct Stopped {
    pub(crate) dir: PathBuf,
    pub(crate) reader: Arc<dyn Reader>,
    /// What its first event says.
    pub(crate) created: LedgerCreated,
    /// Number of its last entry.
    pub(crate) head: u64,
}

/// Which key a ledger is verified under, and why that one.
#[derive(Debug, Clone)]
pub(crate) struct TrustedKey {
    pub(crate) key: PublicKey,
    pub(crate) why: &'static str,
}

/// Opens the ledger of a data directory, from its own log or from NATS.
pub(crate) fn open(dir: &Path, stream: Option<&jetstream::Config>) -> Result<Stopped> {
    let reader = match stream {
        None => embedded(dir)?,
        Some(stream) => {
            // Connecting makes a stream where there is none; the anchor says that there was one.
            if Anchor::load(&home::anchor_dir(dir))?.is_none() {
                let dir = dir.display();
                return Err(usage(format!("`{dir}` is no data directory of a ledger on NATS")));
            }
            JetStream::connect(stream)?.reader()
        }
    };
    let head = reader.head()?;
    let first = reader.read(1, 1, 1)?;
    let Some(first) = first.first() else {
        return Err(LedgerError::NoLedger { dir: dir.to_owned() }.into());
    };
    let created = creation(first).ok_or_else(|| {
        unverified("verification failed: entry 1, event 0: it does not begin with `ledger.created`")
    })?;
    Ok(Stopped { dir: dir.to_owned(), reader, created, head })
}

fn embedded(dir: &Path) -> Result<Arc<dyn Reader>> {
    match Embedded::open_read_only(&home::log_dir(dir)) {
        Ok(reader) => Ok(reader),
        Err(error @ LedgerError::InUse { .. }) => Err(in_use(dir, error)),
        Err(LedgerError::NoLedger { .. }) if home::anchor_dir(dir).exists() => Err(anyhow!(
            "`{}` holds no log of its own: its ledger is on NATS, name it with `--nats`",
            dir.display()
        )),
        Err(LedgerError::NoLedger { .. }) => {
            Err(LedgerError::NoLedger { dir: dir.to_owned() }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Says where the server is that has the ledger open.
fn in_use(dir: &Path, error: LedgerError) -> anyhow::Error {
    match fs::read_to_string(dir.join(ENDPOINT_FILE)) {
        Ok(url) => anyhow!(error).context(format!(
            "the ledger is being served: ask the server with `--url {}`, or stop it first",
            url.trim()
        )),
        Err(_) => error.into(),
    }
}

impl Stopped {
    /// The key to verify it under: the one given, or this directory's own.
    pub(crate) fn key(&self, given: Option<PublicKey>) -> Result<TrustedKey> {
        if let Some(key) = given {
            return Ok(TrustedKey { key, why: "it was given" });
        }
        let named = self.created.genesis_key;
        let why = match own_key(&self.dir)? {
            Some(own) if own == named => "it is this directory's own signing key",
            Some(_) | None if home::anchor_dir(&self.dir).exists() => {
                "the first event names it, and this directory's anchor vouches for the ledger"
            }
            Some(_) | None => "the first event names it; nothing else vouches for the ledger",
        };
        Ok(TrustedKey { key: named, why })
    }
}

fn own_key(dir: &Path) -> Result<Option<PublicKey>> {
    let path = dir.join("signing.key");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("cannot read `{}`", path.display())),
    };
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed)
        .map_err(|_| LedgerError::Secret { path: path.clone() })?;
    let key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    Ok(Some(PublicKey(key.to_bytes())))
}
