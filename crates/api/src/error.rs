//! Why a server does not start. What a caller is told is a [`Problem`](crate::problem::Problem).

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others could read keys off the network.
    #[error(
        "`{listen}` can be reached from other machines, and keys would travel in the clear: give a \
         certificate and its key for TLS, listen on 127.0.0.1 instead, or, behind a proxy that does \
         TLS, allow plain HTTP explicitly"
    )]
    Exposed {
        /// The address that was asked for.
        listen: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on `{listen}`")]
    Listen {
        /// The address that was asked for.
        listen: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A certificate or key is none.
    #[error("`{}` cannot be used for TLS: {why}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An issuer of tokens cannot be trusted as it is configured.
    #[error("the issuer `{issuer}` cannot be trusted: {why}")]
    Issuer {
        /// Its identifier.
        issuer: String,
        /// What is wrong with its settings.
        why: String,
    },
    /// The system gives no threads.
    #[error("cannot start a thread for requests")]
    Thread {
        /// Why not.
        source: io::Error,
    },
}
