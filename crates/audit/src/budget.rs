//! What questions may take: each of them, and all of them together.
//!
//! A question's memory is counted twice, against its own share and against what there is for all.
//! Sorts and groups that outgrow it go to disk, where there is room for all questions together;
//! joins do not, and fail.
//! What expressions make is counted while it is held, see `session/counted.rs`, and batches are no
//! larger than that leaves room for, see `pace.rs`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

use crate::query::Limits;

/// What takes memory for values that expressions make.
pub(crate) const MADE: &str = "Values";

/// What questions may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Each of them.
    pub limits: Limits,
    /// Bytes of working memory of all of them together.
    pub memory_bytes: usize,
    /// Where sorts go that outgrow their memory; without it they fail.
    pub spill: Option<Spill>,
}

/// Room on disk for the questions that run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spill {
    /// A directory for this alone: what is in it is removed, at the begin and at the end.
    pub directory: PathBuf,
    /// Bytes for all questions together.
    pub bytes: u64,
}

impl Bounds {
    /// Interactive questions, four at a time at the most that each may take, and nothing on disk.
    pub const INTERACTIVE: Self = Self {
        limits: Limits::INTERACTIVE,
        memory_bytes: 4 * Limits::INTERACTIVE.memory_bytes,
        spill: None,
    };
}

/// What is left for all questions.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    all: Arc<All>,
    disk: Arc<DiskManager>,
    directory: Option<PathBuf>,
}

/// One question's memory, and the disk that it shares.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// How much there is in memory.
    pub(crate) bytes: usize,
    pub(crate) pool: Arc<dyn MemoryPool>,
    pub(crate) disk: Arc<DiskManager>,
    refused_by_all: Arc<AtomicBool>,
}

impl Memory {
    /// Whether it was other questions that left nothing.
    pub(crate) fn is_held_by_others(&self) -> bool {
        self.refused_by_all.load(Ordering::Relaxed)
    }
}

/// Memory of all questions together.
#[derive(Debug)]
struct All {
    used: AtomicUsize,
    most: usize,
}

impl Budget {
    /// Makes room on disk, where that is wanted.
    pub(crate) fn new(bounds: &Bounds) -> io::Result<Self> {
        let all = Arc::new(All { used: AtomicUsize::new(0), most: bounds.memory_bytes });
        let (limits, mut directory) = (bounds.limits, None);
        let disk = DiskManagerBuilder::default();
        let disk = match &bounds.spill {
            None => disk.with_mode(DiskManagerMode::Disabled),
            Some(spill) => {
                // What an earlier process left is nobody's any more.
                match std::fs::remove_dir_all(&spill.directory) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
                std::fs::create_dir_all(&spill.directory)?;
                directory = Some(spill.directory.clone());
                let mode = DiskManagerMode::Directories(vec![spill.directory.clone()]);
                disk.with_mode(mode).with_max_temp_directory_size(spill.bytes)
            }
        };
        let disk = Arc::new(disk.build().map_err(io::Error::other)?);
        Ok(Self { limits, all, disk, directory })
    }

    /// The memory of one question.
    pub(crate) fn memory(&self, bytes: usize) -> Memory {
        let spillable_max = if self.directory.is_some() { bytes / 4 * 3 } else { bytes };
        let refused_by_all = Arc::<AtomicBool>::default();
        let share = Share {
            bytes,
            spillable_max,
            taken: Mutex::default(),
            all: Arc::clone(&self.all),
            refused_by_all: Arc::clone(&refused_by_all),
        };
        Memory { bytes, pool: Arc::new(share), disk: Arc::clone(&self.disk), refused_by_all }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            // What cannot be removed now is removed at the next start.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

impl All {
    fn take(&self, bytes: usize) -> bool {
        let within = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }
}

/// One question's share of what there is for all.
///
/// INVARIANT: what is taken of it is taken of `all` too.
#[derive(Debug)]
struct Share {
    bytes: usize,
    /// What consumers that can go to disk may take of it, each an equal part. The rest is for those
    /// that cannot, such as what merges the sorts of all threads.
    spillable_max: usize,
    taken: Mutex<Taken>,
    all: Arc<All>,
    /// Whether it was `all` that had nothing left.
    refused_by_all: Arc<AtomicBool>,
}

/// What is taken of a share.
#[derive(Debug, Default)]
struct Taken {
    /// Consumers that can go to disk.
    spillers: usize,
    spillable: usize,
    /// Values that expressions made. What is sorted holds them, so sorts have the less.
    made: usize,
    other: usize,
}

/// Whether a consumer does with less when it gets no more. A sort's merge of what the sort wrote to
/// disk does, in more rounds, though it does not say so, and takes all there is.
fn goes_to_disk(consumer: &MemoryConsumer) -> bool {
    consumer.can_spill() || consumer.name().starts_with("ExternalSorterMerge")
}

impl Share {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much more this reservation may take.
    fn left(&self, taken: &Taken, reservation: &MemoryReservation) -> usize {
        let free = self.bytes.saturating_sub(taken.all());
        if !goes_to_disk(reservation.consumer()) {
            return free;
        }
        let left = self.bytes.saturating_sub(taken.other);
        let among = self.spillable_max.min(left).saturating_sub(taken.made);
        let part = among / taken.spillers.max(1);
        part.saturating_sub(reservation.size()).min(free)
    }
}

impl Taken {
    fn of(&mut self, reservation: &MemoryReservation) -> &mut usize {
        let consumer = reservation.consumer();
        if goes_to_disk(consumer) {
            &mut self.spillable
        } else if consumer.name() == MADE {
            &mut self.made
        } else {
            &mut self.other
        }
    }

    const fn all(&self) -> usize {
        self.spillable + self.made + self.other
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a question's share of {} bytes", self.bytes)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &'static str {
        "share"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.taken().spillers += usize::from(goes_to_disk(consumer));
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.taken().spillers -= usize::from(goes_to_disk(consumer));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.taken().of(reservation) += additional;
        self.all.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        *self.taken().of(reservation) -= shrink;
        self.all.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut taken = self.taken();
        let left = self.left(&taken, reservation);
        let name = reservation.consumer().name();
        if additional > left {
            let why =
                format!("`{name}` wants {additional} bytes more, and {left} are left of its share");
            return Err(DataFusionError::ResourcesExhausted(why));
        }
        if !self.all.take(additional) {
            self.refused_by_all.store(true, Ordering::Relaxed);
            let why = format!("`{name}` wants {additional} bytes more, and others hold them");
            return Err(DataFusionError::ResourcesExhausted(why));
        }
        *taken.of(reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.taken().all()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(memory_bytes: usize) -> Budget {
        Budget::new(&Bounds { memory_bytes, ..Bounds::INTERACTIVE }).unwrap()
    }

    #[test]
    fn memory_is_counted_against_the_question_and_against_all() {
        let budget = budget(150);
        let (first, second) = (budget.memory(100), budget.memory(100));
        let one = MemoryConsumer::new("one").register(&first.pool);
        let two = MemoryConsumer::new("two").register(&second.pool);
        one.try_grow(90).unwrap();
        assert!(one.try_grow(20).is_err(), "its own share is 100");
        assert!(!first.is_held_by_others());
        two.try_grow(60).unwrap();
        assert!(two.try_grow(20).is_err(), "there are 150 for all");
        assert!(second.is_held_by_others());
        assert_eq!((first.pool.reserved(), second.pool.reserved()), (90, 60));
        drop(one);
        two.try_grow(40).unwrap();
        assert_eq!(budget.all.used.load(Ordering::Relaxed), 100);
        drop(two);
        assert_eq!(budget.all.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_goes_to_disk_leaves_memory_to_what_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let spill = Some(Spill { directory: dir.path().join("spill"), bytes: 1_000 });
        let budget = Budget::new(&Bounds { spill, ..Bounds::INTERACTIVE }).unwrap();
        let memory = budget.memory(400);
        let sort = |name| MemoryConsumer::new(name).with_can_spill(true).register(&memory.pool);
        let first = sort("first");
        first.try_grow(300).unwrap();
        assert!(first.try_grow(1).is_err(), "a quarter is not for sorts");
        let second = MemoryConsumer::new("ExternalSorterMerge[0]").register(&memory.pool);
        assert!(second.try_grow(151).is_err(), "two sorts have equal parts");
        let merge = MemoryConsumer::new("merge").register(&memory.pool);
        merge.try_grow(100).unwrap();
        assert!(merge.try_grow(1).is_err());
        first.shrink(200);
        second.try_grow(150).unwrap();
        merge.try_grow(50).unwrap();
        assert_eq!(memory.pool.reserved(), 400);
    }

    #[test]
    fn sorts_leave_room_to_what_expressions_make() {
        let dir = tempfile::tempdir().unwrap();
        let spill = Some(Spill { directory: dir.path().join("spill"), bytes: 1_000 });
        let budget = Budget::new(&Bounds { spill, ..Bounds::INTERACTIVE }).unwrap();
        let memory = budget.memory(400);
        let sort = MemoryConsumer::new("sort").with_can_spill(true).register(&memory.pool);
        let made = MemoryConsumer::new(MADE).register(&memory.pool);
        sort.try_grow(100).unwrap();
        made.try_grow(100).unwrap();
        assert!(sort.try_grow(101).is_err(), "what the sort holds was made, and counts as its own");
        sort.try_grow(100).unwrap();
        made.try_grow(100).unwrap();
        assert!(made.try_grow(1).is_err());
        assert_eq!(memory.pool.reserved(), 400);
    }

    #[test]
    fn room_on_disk_is_empty_at_the_begin_and_gone_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("data/spill");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("left"), "behind").unwrap();
        let spill = Some(Spill { directory: directory.clone(), bytes: 1_000 });
        let budget = Budget::new(&Bounds { spill, ..Bounds::INTERACTIVE }).unwrap();
        assert!(directory.exists() && !directory.join("left").exists());
        drop(budget);
        assert!(!directory.exists());
        let blocked = dir.path().join("file");
        std::fs::write(&blocked, "").unwrap();
        let spill = Some(Spill { directory: blocked.join("below"), bytes: 1_000 });
        assert!(Budget::new(&Bounds { spill, ..Bounds::INTERACTIVE }).is_err());
    }
}
