//! The gate over standard streams: an MCP client starts it in the place of the server.
//!
//! `bailiwick gateway --stdio --agent A [--task T] [--server NAME] [--tools FILE] -- COMMAND…` is
//! [`run`] with the process's own streams, see [`streams`].

use std::sync::Arc;

use bailiwick_client::Authority;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};

use crate::Error;
use crate::pipeline::{self, Config, Ending};
use crate::upstream::Upstream;
use crate::upstream::stdio::Launch;

/// How a gateway ended, for whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus(Ending);

impl ExitStatus {
    /// Why it ended.
    #[must_use]
    pub const fn ending(self) -> Ending {
        self.0
    }

    /// The process's exit code: 0 when the client closed its side or a signal asked for the end, 1
    /// when the server ended first.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self.0 {
            Ending::ClientGone | Ending::Stopped => 0,
            Ending::ServerGone => 1,
        }
    }
}

/// Starts the server of `launch` and stands between it and the client on these streams until either
/// is gone, or SIGTERM, SIGINT or SIGHUP comes. The server's process group is gone when this returns.
///
/// # Errors
/// [`Error`] when the gate cannot start. Nothing that happens afterwards is an error.
pub async fn run<A: Authority>(
    config: Config,
    launch: &Launch,
    authority: Arc<A>,
    from_client: impl AsyncRead + Send + Unpin + 'static,
    to_client: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<ExitStatus, Error> {
    let listen = |kind| signal(kind).map_err(|source| Error::Signals { source });
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let upstream = Upstream::spawn(launch)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    let ending = pipeline::run(config, authority, upstream, from_client, to_client, stop).await;
    Ok(ExitStatus(ending))
}

/// The process's own standard streams, read and written without a thread where they are pipes.
///
/// Where they are not, a read that still waits when the process wants to end holds up the runtime:
/// end the process by `std::process::exit` or shut the runtime down in the background.
pub fn streams()
-> (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static) {
    rmcp::transport::stdio_pipes()
}
