//! The projector: keeps the committed state that readers see, and takes snapshots of it off the
//! loop.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bailiwick_core::record::{EntryRef, Position};
use ed25519_dalek::SigningKey;

use crate::Error;
use crate::replay::{Projection, learn};
use crate::snapshot;
use crate::tail::{Committed, Tail};

/// Events between snapshots.
pub(crate) const SNAPSHOT_EVERY: u64 = 500_000;
/// How long a reader waits for the projector to reach what was committed before it reads.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Entries between marks of where an index stands.
const MARK_EVERY: u64 = 64;

/// Readers' side of the projection.
pub(crate) struct Projector {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    projection: RwLock<Projection>,
    reached: Mutex<Reached>,
    moved: Condvar,
    tail: Arc<Tail>,
    path: PathBuf,
    key: SigningKey,
}

#[derive(Debug, Default)]
struct Reached {
    entry: u64,
    /// Number of an entry and index after its last event, every so often.
    marks: Vec<(u64, u64)>,
    snapshot_at: u64,
    closed: bool,
}

impl Projector {
    /// Starts from a projection that has caught up with `tail`.
    pub(crate) fn start(
        projection: Projection,
        tail: Arc<Tail>,
        path: PathBuf,
        key: SigningKey,
    ) -> Result<Self, Error> {
        let reached = Reached {
            entry: projection.position.entry_number,
            marks: Vec::new(),
            snapshot_at: projection.position.next_index,
            closed: false,
        };
        let inner = Arc::new(Inner {
            projection: RwLock::new(projection),
            reached: Mutex::new(reached),
            moved: Condvar::new(),
            tail,
            path,
            key,
        });
        let thread = std::thread::Builder::new().name("bailiwick-project".to_owned());
        let work = Arc::clone(&inner);
        let thread = thread
            .spawn(move || work.run())
            .map_err(Error::file("start a thread for", &inner.path))?;
        Ok(Self { inner, thread: Mutex::new(Some(thread)) })
    }

    /// Reads the projection once it has reached `entry`.
    pub(crate) fn read<T>(&self, entry: u64, read: impl FnOnce(&Projection) -> T) -> T {
        self.inner.wait_for(entry);
        read(&self.inner.projection.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Number of an entry after which the event at `index` comes; 0 when only the start is known.
    pub(crate) fn entry_before(&self, index: u64) -> u64 {
        let reached = self.inner.reached();
        let at = reached.marks.partition_point(|(_, next_index)| *next_index <= index);
        at.checked_sub(1).map_or(0, |at| reached.marks[at].0)
    }

    /// Waits for `entry`, writes a snapshot, ends the thread.
    pub(crate) fn close(&self, entry: u64) {
        self.inner.wait_for(entry);
        self.inner.reached().closed = true;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the projector has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, entry: u64) {
        let reached = self.reached();
        let behind = |reached: &mut Reached| reached.entry < entry;
        let waited = self.moved.wait_timeout_while(reached, WAIT_MAX, behind);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn run(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else { return };
        let mut head = self.tail.watch();
        loop {
            let at = self.reached().entry;
            match self.tail.after(at) {
                Ok(entries) if entries.is_empty() => {
                    if self.reached().closed {
                        self.take_snapshot();
                        return;
                    }
                    // Time out or not: the loop looks again.
                    let _ = runtime.block_on(async {
                        tokio::time::timeout(Duration::from_millis(100), head.changed()).await
                    });
                }
                Ok(entries) => {
                    self.apply(&entries);
                    self.snapshot_if_due();
                }
                Err(error) => {
                    tracing::error!(%error, "the projector cannot read the log");
                    std::thread::sleep(Duration::from_millis(500));
                }
            }
        }
    }

    fn apply(&self, entries: &[Arc<Committed>]) {
        let mut marks = Vec::new();
        let mut projection = self.projection.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            let position = position_after(&projection.position, entry);
            projection.apply(entry, position);
            if let Err(error) = learn(&mut projection.keys, entry) {
                tracing::error!(%error, "a rotated key is of no use");
            }
            if entry.number % MARK_EVERY == 0 {
                marks.push((entry.number, position.next_index));
            }
        }
        let entry = projection.position.entry_number;
        drop(projection);
        let mut reached = self.reached();
        reached.entry = entry;
        reached.marks.extend(marks);
        drop(reached);
        self.moved.notify_all();
    }

    fn snapshot_if_due(&self) {
        let next = self.projection.read().map_or(0, |p| p.position.next_index);
        if next >= self.reached().snapshot_at + SNAPSHOT_EVERY {
            self.take_snapshot();
        }
    }

    fn take_snapshot(&self) {
        let projection = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        let next = projection.position.next_index;
        if next == self.reached().snapshot_at && self.path.exists() {
            return;
        }
        match snapshot::store(&self.path, &projection, &self.key) {
            Ok(()) => self.reached().snapshot_at = next,
            Err(error) => tracing::warn!(%error, "snapshot not written; a restart replays more"),
        }
    }
}

/// Where a reader stands after an entry that this process wrote or verified.
fn position_after(at: &Position, entry: &Committed) -> Position {
    let epoch = EntryRef::parse(&entry.bytes).map_or(at.epoch, |e| e.epoch());
    match entry.events.last() {
        Some(last) => Position {
            entry_number: entry.number,
            next_index: last.place.index + 1,
            last_time: last.place.time,
            last_link: last.place.link,
            epoch,
        },
        None => *at,
    }
}
