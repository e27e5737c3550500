//! The server behind the gate: two streams of bytes, and the process they belong to if there is one.

pub mod stdio;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::Error;
use stdio::{Launch, Process};

/// Where the server's messages come from.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// Where messages to the server go.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A server that can be talked to.
pub struct Upstream {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) process: Option<Process>,
}

impl Upstream {
    /// A server that somebody else runs, at the other end of these streams.
    pub fn over(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer), process: None }
    }

    /// A server as a child process in a process group of its own.
    ///
    /// # Errors
    /// [`Error::NoCommand`], [`Error::Environment`], [`Error::Spawn`].
    pub fn spawn(launch: &Launch) -> Result<Self, Error> {
        let (process, reader, writer) = Process::spawn(launch)?;
        Ok(Self { reader: Box::new(reader), writer: Box::new(writer), process: Some(process) })
    }
}
