//! What can go wrong with the record, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on the record failed. `Display` says this crate's own part only; the edge
/// prints the chain of sources.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read, written or made durable.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was being done, as a verb: `read`, `write`, `sync` …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the ledger's lock.
    #[error(
        "the ledger in `{dir}` is in use by {holder}: stop that process, or ask it with `--url`"
    )]
    InUse {
        /// The ledger's directory.
        dir: PathBuf,
        /// Who holds it, as far as it is known.
        holder: String,
    },
    /// There is nothing to read.
    #[error("`{dir}` holds no ledger")]
    NoLedger {
        /// The directory that was named.
        dir: PathBuf,
    },
    /// Stored bytes are not what was once written. Nothing after them is used, nothing is skipped.
    #[error(
        "entry {number} in `{path}` at byte {offset} is damaged: {what}; \
         restore the file, or the ledger from another copy"
    )]
    Damaged {
        /// The entry's number.
        number: u64,
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The bytes handed over are not an entry of this ledger at this place: a mistake of ours.
    #[error("entry {number} cannot be appended: {what}")]
    NotAnEntry {
        /// The number it should have had.
        number: u64,
        /// What is wrong.
        what: String,
    },
    /// The log ends before the entry the caller builds on.
    #[error("the log ends at entry {head}, but entry {expected} was stored before")]
    Shorter {
        /// The log's head.
        head: u64,
        /// The head the caller knows of.
        expected: u64,
    },
    /// A write or sync failed before; what is on disk is unknown until it is read again.
    #[error("the log takes nothing since {what}: restart, so that what is stored is read again")]
    Refusing {
        /// What had failed.
        what: String,
    },
    /// The store did not answer in time. Not a fault of the record; ask again.
    #[error("the ledger's store is unavailable: {what}")]
    Unavailable {
        /// What was seen.
        what: String,
    },
    /// A ledger's name has another form.
    #[error(
        "`{given}` is not a ledger name, which is 1 to 64 of `A-Z a-z 0-9 _ -` and does not end in \
         `_REVOCATIONS`"
    )]
    Name {
        /// What was given, cut to 80 characters.
        given: String,
    },
    /// The server is older than what the record relies on.
    #[error("nats-server {found} at `{url}` is too old: {needed} or newer is required")]
    ServerTooOld {
        /// The server's version.
        found: String,
        /// The version required.
        needed: &'static str,
        /// Where it is.
        url: String,
    },
    /// The server cannot hold a ledger as it is set up.
    #[error("nats-server at `{url}` cannot hold a ledger: {what}")]
    Server {
        /// Where it is.
        url: String,
        /// What is missing.
        what: String,
    },
    /// The stream exists with a configuration that can lose history.
    #[error(
        "stream `{stream}` could lose history: {differences}; change it back, then start again"
    )]
    StreamConfig {
        /// The stream.
        stream: String,
        /// Each difference: what it is and what it should be.
        differences: String,
    },
    /// The stream is shorter than it was, and stays so.
    #[error(
        "stream `{stream}` was rolled back: it ends at entry {head}, but entry {expected} was \
         acknowledged; stop, then run `bailiwick ledger repair`"
    )]
    RolledBack {
        /// The stream.
        stream: String,
        /// Where it ends now.
        head: u64,
        /// The last entry that was acknowledged.
        expected: u64,
    },
    /// An entry below the head is not there.
    #[error("entry {number} is missing from `{place}`, which goes on to entry {head}")]
    Missing {
        /// The entry's number.
        number: u64,
        /// The stream or directory.
        place: String,
        /// The head.
        head: u64,
    },
    /// The server says that it has the message, but it is not where it belongs.
    #[error(
        "stream `{stream}` says it has entry {number} already, but other bytes or none are there; \
         stop, then run `bailiwick ledger repair`"
    )]
    Misplaced {
        /// The stream.
        stream: String,
        /// The entry's number.
        number: u64,
    },
    /// A key file does not hold a key.
    #[error("`{path}` does not hold a key, which is 64 hexadecimal digits")]
    Secret {
        /// The file.
        path: PathBuf,
    },
    /// The system has no randomness to give.
    #[error("the system gives no random bytes")]
    Chance,
    /// A public key on the ledger is none.
    #[error("the ledger names a key that is none")]
    Key(#[source] bailiwick_core::record::keys::KeyError),
    /// The chain does not verify.
    #[error("the chain is broken")]
    Chain(#[source] bailiwick_core::record::Fault),
    /// An event is of a kind that this version does not know.
    #[error("event {index} cannot be read; a newer version may be needed")]
    Event {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: bailiwick_core::event::DecodeError,
    },
    /// A snapshot is of no use. Only time is lost.
    #[error("the snapshot is of no use: {what}")]
    Snapshot {
        /// What is wrong with it.
        what: String,
    },
    /// This node's key is not one of the ledger's writers.
    #[error(
        "key `{key}` in `{dir}` may not sign for this ledger: use the directory that created it"
    )]
    NotAWriter {
        /// The node's public key.
        key: bailiwick_core::record::PublicKey,
        /// The node's directory.
        dir: PathBuf,
    },
    /// The ledger could not be taken up as its writer.
    #[error("the ledger cannot be taken up: {what}")]
    NotTakenUp {
        /// Why.
        what: String,
    },
    /// The ledger is not the one this node has verified.
    #[error(transparent)]
    Anchor(#[from] crate::anchor::Fault),
}

impl Error {
    /// For `map_err`: `action` on `path` failed.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }

    /// Whether asking again later can succeed without anybody's help.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// An error with its sources, for people.
pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
