//! A connection with a deadline on everything and its place in the count of connections.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

/// How long a connection may lie idle between an answer and the next request.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(75);
/// How long from the first byte of a request to the first byte of its answer: the longest audit
/// question and its margin. A request that trickles in ends here.
pub(super) const EXCHANGE_MAX: Duration = Duration::from_secs(75);
/// How long a peer may take nothing of what is written to it.
pub(super) const STALL_MAX: Duration = Duration::from_secs(10);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for a request, or sending an answer that goes forward.
    Idle,
    /// A request has begun and nothing of its answer has been sent.
    Exchange,
    /// The peer takes nothing.
    Stalled,
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] when its phase lasts too long.
///
/// Only one timer is kept; it is moved when it fires too early, so reads and writes that make
/// progress cost no more than a look at the clock.
pub(super) struct Guarded<S> {
    inner: S,
    phase: Phase,
    due: Instant,
    timer: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S, place: OwnedSemaphorePermit) -> Self {
        let due = Instant::now() + IDLE_MAX;
        let timer = Box::pin(tokio::time::sleep_until(due));
        Self { inner, phase: Phase::Idle, due, timer, _place: place }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        let most = match phase {
            Phase::Idle => IDLE_MAX,
            Phase::Exchange => EXCHANGE_MAX,
            Phase::Stalled => STALL_MAX,
        };
        self.due = Instant::now() + most;
    }

    /// Registers for the deadline; ready when it has passed.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        // The timer may be set later than a deadline that came nearer.
        if self.due < self.timer.deadline() {
            self.timer.as_mut().reset(self.due);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.due {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.timer.as_mut().reset(self.due);
        }
        Poll::Pending
    }

    fn wrote(
        &mut self,
        poll: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if poll.is_ready() {
            self.enter(Phase::Idle);
            return poll;
        }
        if self.phase != Phase::Stalled {
            self.enter(Phase::Stalled);
        }
        self.poll_due(cx).map(Err)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(cx, to);
        if poll.is_pending() {
            return self.poll_due(cx).map(Err);
        }
        if to.filled().len() > before && self.phase != Phase::Exchange {
            self.enter(Phase::Exchange);
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(poll, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.wrote(poll, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::sync::Semaphore;

    use super::*;

    async fn pair(buffer: usize) -> (DuplexStream, Guarded<DuplexStream>, Arc<Semaphore>) {
        let places = Arc::new(Semaphore::new(1));
        let (far, near) = tokio::io::duplex(buffer);
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        (far, Guarded::new(near, place), places)
    }

    fn timed_out(result: io::Result<usize>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_connection_and_frees_its_place() {
        let (_far, mut near, places) = pair(64).await;
        let since = Instant::now();
        assert!(timed_out(near.read(&mut [0; 8]).await));
        assert_eq!(since.elapsed().as_secs(), IDLE_MAX.as_secs());
        assert_eq!(places.available_permits(), 0);
        drop(near);
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_trickles_in_ends_however_steadily_it_does() {
        let (mut far, mut near, _places) = pair(64).await;
        let since = Instant::now();
        tokio::spawn(async move {
            while far.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        while !timed_out(near.read(&mut [0; 8]).await) {}
        assert!(since.elapsed() <= EXCHANGE_MAX + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut_off() {
        let (_far, mut near, _places) = pair(4).await;
        let since = Instant::now();
        assert!(near.write_all(b"more than four bytes").await.is_err());
        assert!(since.elapsed() <= STALL_MAX + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn writing_keeps_a_stream_alive_for_as_long_as_it_lasts() {
        let (mut far, mut near, _places) = pair(64).await;
        for _ in 0..1_000 {
            near.write_all(b"beat").await.unwrap();
            far.read_exact(&mut [0; 4]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
