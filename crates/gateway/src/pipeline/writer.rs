//! A queue of lines in front of a stream, so that a slow reader never stops the gate. A call's line
//! can be taken back as long as it waits there, and goes nowhere once its permit is too old: a
//! process that was stopped in between finds it so when it wakes.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Lines that are passed on may wait up to this many at a time.
const PASSED_ON_MAX: usize = 8;

/// The gate's end of the queue.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Line>,
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
    pub(super) fn send(&self, line: Vec<u8>) {
        self.queue(line, None);
    }

    /// Queues a call's line, which goes out only with the `leave` that is given for it. As
    /// [`Outbox::send`].
    pub(super) fn send_call(&self, line: Vec<u8>, leave: Leave) {
        self.queue(line, Some(leave));
    }

    fn queue(&self, mut bytes: Vec<u8>, leave: Option<Leave>) {
        bytes.push(b'\n');
        let line = Line { bytes, leave };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(line) {
            tracing::error!("a line found no room; the reader is cut off");
            debug_assert!(false, "the queue is full");
        }
    }
}

struct Line {
    bytes: Vec<u8>,
    /// Without one it goes out in any case.
    leave: Option<Leave>,
}

/// It waits in the queue.
const WAITS: u8 = 0;
/// It is being offered to whoever reads, who may take some of it or nothing.
const OFFERED: u8 = 1;
/// It was taken back while it was offered: if nothing was taken, it never goes out.
const OFFERED_LAST: u8 = 2;
/// Its bytes are on their way.
const WENT_OUT: u8 = 3;
/// It was taken back, or its time was over: it never goes out.
const WITHDRAWN: u8 = 4;

/// Leave for one line to go out, until a moment and as long as it is not withdrawn. The gate and the
/// writer hold the same.
#[derive(Debug, Clone)]
pub(super) struct Leave {
    state: Arc<AtomicU8>,
    until: Instant,
}

impl Leave {
    pub(super) fn until(until: Instant) -> Self {
        Self { state: Arc::default(), until }
    }

    /// Until when the line may still go out; none when that is settled.
    pub(super) fn open_until(&self) -> Option<Instant> {
        (self.state.load(Ordering::Acquire) == WAITS).then_some(self.until)
    }

    /// Takes the line back. False when it has gone out, or may be going out right now; either way
    /// it is not offered again.
    pub(super) fn withdraw(&self) -> bool {
        self.change(|state| match state {
            WAITS => WITHDRAWN,
            OFFERED => OFFERED_LAST,
            settled => settled,
        }) == WITHDRAWN
    }

    /// Whether the line did not go out in time, or was taken back.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        match self.state.load(Ordering::Acquire) {
            WAITS => now >= self.until,
            state => state == WITHDRAWN,
        }
    }

    /// Whether the line may be offered now.
    fn offer(&self) -> bool {
        let is_late = Instant::now() >= self.until;
        self.change(|state| match state {
            WAITS if is_late => WITHDRAWN,
            WAITS => OFFERED,
            settled => settled,
        }) == OFFERED
    }

    /// Nothing of what was offered was taken. False when it is not to be offered again.
    fn was_refused(&self) -> bool {
        self.change(|state| if state == OFFERED { WAITS } else { WITHDRAWN }) == WAITS
    }

    fn was_taken(&self) {
        self.state.store(WENT_OUT, Ordering::Release);
    }

    /// Goes from one state to the next; gives the next.
    fn change(&self, next: impl Fn(u8) -> u8) -> u8 {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let to = next(state);
            match self.state.compare_exchange(state, to, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return to,
                Err(now) => state = now,
            }
        }
    }
}

async fn write(mut to: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Line>) {
    while let Some(line) = lines.recv().await {
        let begun = match &line.leave {
            Some(leave) => begin(&mut to, &line.bytes, leave).await,
            None => Ok(Some(0)),
        };
        let Ok(begun) = begun else { return };
        if let Some(begun) = begun
            && to.write_all(&line.bytes[begun..]).await.is_err()
        {
            return;
        }
        if lines.is_empty() && to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Writes the first bytes of a call's line, as many as are taken at once: until then it can still be
/// taken back. None when it was, or when its time is over.
async fn begin(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    leave: &Leave,
) -> std::io::Result<Option<usize>> {
    poll_fn(|context| {
        if !leave.offer() {
            return Poll::Ready(Ok(None));
        }
        match Pin::new(&mut *to).poll_write(context, bytes) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
            Poll::Ready(written) => {
                leave.was_taken();
                Poll::Ready(written.map(Some))
            }
            Poll::Pending if leave.was_refused() => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(None)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    const LEASE: Duration = Duration::from_secs(1);

    /// A queue in front of a pipe of one byte, which the first line stops up; everything that comes
    /// out of it when `then` was done and the pipe is read again.
    async fn passed_on(then: impl AsyncFnOnce(&Outbox, &Leave)) -> String {
        let (mut reader, pipe) = tokio::io::duplex(1);
        let (outbox, writer) = Outbox::new(pipe, 4);
        outbox.send(b"first".to_vec());
        tokio::task::yield_now().await;
        let leave = Leave::until(Instant::now() + LEASE);
        outbox.send_call(b"call".to_vec(), leave.clone());
        then(&outbox, &leave).await;
        drop(outbox);
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        writer.await.unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_goes_out_in_its_time() {
        let text = passed_on(async |outbox, leave| {
            assert!(leave.open_until().is_some() && !leave.is_over(Instant::now()));
            outbox.send(b"last".to_vec());
        });
        assert_eq!(text.await, "first\ncall\nlast\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_taken_back_while_it_waited_never_goes_out() {
        let text = passed_on(async |outbox, leave| {
            assert!(leave.withdraw() && leave.is_over(Instant::now()));
            outbox.send(b"last".to_vec());
        });
        assert_eq!(text.await, "first\nlast\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waited_too_long_never_goes_out() {
        let text = passed_on(async |outbox, leave| {
            tokio::time::advance(LEASE).await;
            assert!(leave.is_over(Instant::now()));
            outbox.send(b"last".to_vec());
        });
        assert_eq!(text.await, "first\nlast\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_reads_can_be_taken_back_until_its_first_byte_is_taken() {
        let (mut reader, pipe) = tokio::io::duplex(1);
        let (outbox, writer) = Outbox::new(pipe, 4);
        outbox.send(Vec::new());
        let leave = Leave::until(Instant::now() + LEASE);
        outbox.send_call(b"call".to_vec(), leave.clone());
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(leave.open_until().is_some(), "the empty line fills the pipe");
        assert!(leave.withdraw());
        outbox.send(b"last".to_vec());
        drop(outbox);
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        writer.await.unwrap();
        assert_eq!(text, "\nlast\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_went_out_cannot_be_taken_back() {
        let leave = Leave::until(Instant::now() + LEASE);
        assert!(leave.offer());
        leave.was_taken();
        assert!(!leave.withdraw());
        assert_eq!(leave.open_until(), None);
        tokio::time::advance(2 * LEASE).await;
        assert!(!leave.is_over(Instant::now()), "it is over only where it never began");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_taken_back_while_it_is_offered_is_not_offered_again() {
        let leave = Leave::until(Instant::now() + LEASE);
        assert!(leave.offer());
        assert!(!leave.withdraw(), "it may be going out right now, so the server is told");
        assert!(!leave.was_refused(), "and as nothing of it was taken, it never goes out");
        assert!(!leave.offer() && leave.withdraw() && leave.is_over(Instant::now()));
    }
}
