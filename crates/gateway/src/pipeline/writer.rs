//! A queue of lines in front of a stream, so that a slow reader never stops the gate.

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Lines that are passed on may wait up to this many at a time.
const PASSED_ON_MAX: usize = 8;

/// The gate's end of the queue.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Vec<u8>>,
    /// Places kept for lines of the gate's own.
    kept: usize,
}

impl Outbox {
    /// A queue in front of `to`, with `kept` places that only the gate's own lines may use.
    pub(super) fn new(
        to: impl AsyncWrite + Send + Unpin + 'static,
        kept: usize,
    ) -> (Self, JoinHandle<()>) {
        let (queue, lines) = mpsc::channel(kept + PASSED_ON_MAX);
        (Self { queue, kept }, tokio::spawn(write(to, lines)))
    }

    /// Returns when there is room to pass on one line and still answer everything in flight.
    /// False when nobody reads any more.
    pub(super) async fn has_room(&self) -> bool {
        self.queue.reserve_many(self.kept + 1).await.is_ok()
    }

    /// Returns when nobody reads any more.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Queues one line, given without its newline.
    ///
    /// INVARIANT: there is room, since reading waits for [`Outbox::has_room`] and every call in flight
    /// has at most one line of the gate's own coming to it. A line that finds none is dropped with
    /// the connection's reader, which is the only way to lose that room.
    pub(super) fn send(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(line) {
            tracing::error!("a line found no room; the reader is cut off");
            debug_assert!(false, "the queue is full");
        }
    }
}

async fn write(mut to: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        if to.write_all(&line).await.is_err() {
            return;
        }
        if lines.is_empty() && to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
