//! What can go wrong between a program and the ledger. A denial is not among it: that is an answer.

use std::path::PathBuf;

/// Why there is no answer, or none that can be used. Whoever guards something takes each as "no".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answered in time: no connection, a broken one, or silence.
    #[error("`{what}` was not answered in time")]
    Unavailable {
        /// What was asked: a path, or the name of a command.
        what: String,
        /// What lies below.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The server refused; RFC 9457 problem details.
    #[error("{code}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable code, from a closed list.
        code: String,
        /// Words for people.
        detail: String,
    },
    /// There is an answer, but it is not what the contract says.
    #[error("the answer to `{what}` is not understood: {why}")]
    Answer {
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// A URL that no server can have.
    #[error("`{given}` is not the URL of a server: {why}")]
    Url {
        /// What was given, cut to 200 characters.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// No URL was given, and the data directory names none.
    #[error("no server is running on `{}`; start one with `bailiwick serve`, or set BAILIWICK_URL", data.display())]
    NoServer {
        /// The data directory that was looked into.
        data: PathBuf,
    },
    /// There is a server but no key for it.
    #[error("no key for `{url}`: set BAILIWICK_KEY")]
    NoKey {
        /// The server.
        url: String,
    },
    /// A key that cannot stand in a header.
    #[error("the key holds characters that no key has")]
    KeyForm,
    /// A file of the data directory cannot be used.
    #[error("`{}` cannot be used: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl Error {
    /// The stable code: the server's own if it gave one.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Refused { code, .. } => code,
            Self::Answer { .. } => "answer_not_understood",
            Self::Url { .. } => "invalid_url",
            Self::NoServer { .. } => "no_server",
            Self::NoKey { .. } | Self::KeyForm => "no_key",
            Self::File { .. } => "file_unusable",
        }
    }

    /// Nobody answered to `what`.
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable { what: what.into(), source: None }
    }

    pub(crate) fn unreachable(
        what: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { what: what.to_owned(), source: Some(source.into()) }
    }

    pub(crate) fn answer(what: &str, why: impl std::fmt::Display) -> Self {
        Self::Answer { what: what.to_owned(), why: why.to_string() }
    }
}
