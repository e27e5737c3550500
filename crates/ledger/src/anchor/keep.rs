//! The thread that writes the anchor and keeps entries, fed by whoever verified them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::kept::Kept;
use super::{Anchor, BEHIND_MAX, CHECKPOINT_BYTES_MAX, end};
use crate::Error;
use crate::log::embedded::make_dir;

/// The directory of kept entries, beside the anchor.
pub(crate) const KEPT_DIR: &str = "kept";
const QUEUE_ENTRIES_MAX: usize = 4_096;
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// When the anchor is written after an entry that it does not cover: half of what is promised, the
/// other half is for the writing.
const DELAY: Duration = BEHIND_MAX.checked_div(2).unwrap();

/// Writes a node's anchor and kept entries on a thread of its own.
///
/// Handing an entry over never waits. Dropping the keeper writes what is left.
#[derive(Debug)]
pub struct Keeper {
    sender: Option<SyncSender<Step>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    noted: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    anchored: AtomicU64,
    fault: Mutex<Option<String>>,
}

#[derive(Debug)]
enum Step {
    Entry(Bytes),
    Checkpoint(String),
    Flush(SyncSender<()>),
}

impl Keeper {
    /// Starts keeping in `dir`, from the anchor that is there.
    ///
    /// # Errors
    /// As [`Anchor::load`]; [`Error::File`] when `dir` cannot be written.
    pub fn start(dir: &Path) -> Result<Self, Error> {
        make_dir(dir)?;
        let anchor = Anchor::load(dir)?;
        let shared = Arc::new(Shared::default());
        shared.anchored.store(anchor.as_ref().map_or(0, |a| a.number), Ordering::Release);
        let noted = anchor.as_ref().and_then(|anchor| anchor.checkpoint.clone());
        let (sender, steps) = sync_channel(QUEUE_ENTRIES_MAX);
        let work = Work {
            dir: dir.to_owned(),
            kept: Kept::open(&dir.join(KEPT_DIR))?,
            anchor,
            behind_since: None,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("bailiwick-anchor".to_owned())
            .spawn(move || work.run(&steps))
            .map_err(Error::file("start a thread for", dir))?;
        Ok(Self { sender: Some(sender), thread: Some(thread), shared, noted })
    }

    /// Advances the anchor to `entry`, which must be verified and durable on the log.
    ///
    /// Entries at or below the anchor are passed over. When the disk is so slow that the queue is
    /// full, the entry is not kept and the anchor goes on with a later one.
    pub fn advance(&self, entry: Bytes) {
        let bytes = entry.len();
        let queued = self.shared.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        if queued + bytes > QUEUE_BYTES_MAX || !self.hand_over(Step::Entry(entry)) {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
    }

    /// The last signed checkpoint that was stored when this started.
    #[must_use]
    pub fn noted(&self) -> Option<&str> {
        self.noted.as_deref()
    }

    /// Stores `note`, the last signed checkpoint, with the anchor; one over 64 KiB is left out.
    pub fn checkpoint(&self, note: String) {
        if note.len() <= CHECKPOINT_BYTES_MAX {
            // When the queue is full, the next checkpoint comes soon enough.
            let _ = self.hand_over(Step::Checkpoint(note));
        }
    }

    /// Waits until everything handed over so far is durable, or the writing of it has failed.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        let sent = self.sender.as_ref().is_some_and(|to| to.send(Step::Flush(done)).is_ok());
        if sent {
            // An error means that the thread has ended, and so has the waiting.
            let _ = wait.recv();
        }
    }

    /// The number of the entry that the anchor on disk names; 0 when there is none.
    #[must_use]
    pub fn anchored(&self) -> u64 {
        self.shared.anchored.load(Ordering::Acquire)
    }

    /// Why the last attempt to write failed, if it did: the anchor falls behind.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hand_over(&self, step: Step) -> bool {
        match self.sender.as_ref().map(|sender| sender.try_send(step)) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It ended by panicking only if the work did; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Work {
    dir: PathBuf,
    kept: Kept,
    anchor: Option<Anchor>,
    /// Since when the file has been behind `anchor`.
    behind_since: Option<Instant>,
    shared: Arc<Shared>,
}

impl Work {
    fn run(mut self, steps: &Receiver<Step>) {
        loop {
            let step = match self.behind_since {
                None => steps.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => steps.recv_timeout(DELAY.saturating_sub(since.elapsed())),
            };
            match step {
                Ok(Step::Entry(entry)) => {
                    self.shared.queued_bytes.fetch_sub(entry.len(), Ordering::AcqRel);
                    self.take(&entry);
                }
                Ok(Step::Checkpoint(note)) => {
                    if let Some(anchor) = &mut self.anchor {
                        anchor.checkpoint = Some(note);
                        self.behind_since.get_or_insert_with(Instant::now);
                    }
                }
                Ok(Step::Flush(done)) => {
                    self.write();
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => return self.write(),
            }
            if self.behind_since.is_some_and(|since| since.elapsed() >= DELAY) {
                self.write();
            }
        }
    }

    fn take(&mut self, entry: &[u8]) {
        let end = match end(entry) {
            Ok(end) => end,
            Err(what) => return self.failed(format!("an entry to anchor does not parse: {what}")),
        };
        if self.anchor.as_ref().is_some_and(|anchor| end.number <= anchor.number) {
            return;
        }
        if let Err(e) = self.kept.add(end.number, entry) {
            self.failed(said(&e));
        }
        let checkpoint = self.anchor.take().and_then(|anchor| anchor.checkpoint);
        self.anchor = Some(Anchor {
            ledger: end.ledger,
            number: end.number,
            index: end.index,
            link: end.link,
            checkpoint,
        });
        self.behind_since.get_or_insert_with(Instant::now);
    }

    /// Makes the kept entries durable, then the anchor that relies on them.
    fn write(&mut self) {
        let (Some(anchor), Some(_)) = (&self.anchor, self.behind_since) else { return };
        match self.kept.sync().and_then(|()| anchor.store(&self.dir)) {
            Ok(()) => {
                self.shared.anchored.store(anchor.number, Ordering::Release);
                self.behind_since = None;
                *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            Err(e) => {
                self.failed(said(&e));
                // Tries again after the usual delay rather than at once.
                self.behind_since = Some(Instant::now());
            }
        }
    }

    fn failed(&self, what: String) {
        let mut fault = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if fault.as_ref() != Some(&what) {
            tracing::error!(what, "the anchor falls behind");
        }
        *fault = Some(what);
    }
}

/// An error and what it comes from, for a status line.
fn said(error: &Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
