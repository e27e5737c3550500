//! Rows that come in chain order, most of whose cells never change.
//!
//! A row has *fixed* cells, written once into Arrow, and a small *live* part that later events
//! change: a grant's uses, a call's outcome. Rows are kept in parts of [`PART_ROWS`]. A snapshot
//! shares every part and copies only the last, unfinished one; a change to a live part that a
//! snapshot still holds copies that part first. So neither a query nor an event waits for the
//! other for longer than one part takes, and a snapshot stays as it was.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use bailiwick_core::event::Place;

use super::sheet::{Columns, Sheet, micros};

/// Rows in a part.
pub(crate) const PART_ROWS: usize = 8_192;

/// The changing part of a row, and what is derived from a part's worth of them for a query.
pub(crate) trait Living: Clone + std::fmt::Debug + Send + Sync + 'static {
    type Derived: std::fmt::Debug + Send + Sync;
}

/// A table whose rows never change.
#[derive(Debug, Clone)]
pub(crate) struct Still;

impl Living for Still {
    type Derived = ();
}

/// The live rows of a part, with what was last derived from them.
#[derive(Debug)]
pub(crate) struct Live<S: Living> {
    rows: Vec<S>,
    derived: Mutex<Option<Arc<S::Derived>>>,
}

impl<S: Living> Clone for Live<S> {
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone(), derived: Mutex::new(None) }
    }
}

impl<S: Living> Live<S> {
    const fn new() -> Self {
        Self { rows: Vec::new(), derived: Mutex::new(None) }
    }

    fn rows_mut(&mut self) -> &mut Vec<S> {
        *self.derived.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        &mut self.rows
    }

    pub(crate) fn rows(&self) -> &[S] {
        &self.rows
    }

    /// What `derive` makes of the rows, or made of them before if that `still_holds`.
    pub(crate) fn derived(
        &self,
        still_holds: impl FnOnce(&S::Derived) -> bool,
        derive: impl FnOnce(&[S]) -> S::Derived,
    ) -> Arc<S::Derived> {
        let mut kept = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref()
            && still_holds(kept)
        {
            return Arc::clone(kept);
        }
        let fresh = Arc::new(derive(&self.rows));
        *kept = Some(Arc::clone(&fresh));
        fresh
    }
}

/// From where to where a part reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// First and last event index.
    pub(crate) seq: (i64, i64),
    /// First and last moment, in microseconds.
    pub(crate) ts: (i64, i64),
}

impl Reach {
    fn at(place: Place) -> Self {
        let seq = i64::try_from(place.index).unwrap_or(i64::MAX);
        let ts = micros(place.time);
        Self { seq: (seq, seq), ts: (ts, ts) }
    }
}

/// Some rows as they stood at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Part<S: Living> {
    pub(crate) fixed: Arc<RecordBatch>,
    pub(crate) live: Arc<Live<S>>,
    pub(crate) reach: Reach,
}

/// All rows.
///
/// INVARIANT: every part but the open one has exactly [`PART_ROWS`] rows; `seqs` ascends and has
/// one index a row.
#[derive(Debug)]
pub(crate) struct Grown<C, S: Living> {
    parts: Vec<Part<S>>,
    sheet: Sheet<C>,
    open: Arc<Live<S>>,
    open_reach: Option<Reach>,
    seqs: Vec<u64>,
}

impl<C: Columns, S: Living> Grown<C, S> {
    pub(crate) fn new() -> Self {
        Self {
            parts: Vec::new(),
            sheet: Sheet::new(),
            open: Arc::new(Live::new()),
            open_reach: None,
            seqs: Vec::new(),
        }
    }

    /// Adds the row of the event at `place`.
    pub(crate) fn push(&mut self, place: Place, live: S, write: impl FnOnce(&mut Sheet<C>)) {
        write(&mut self.sheet);
        self.sheet.end_row();
        Arc::make_mut(&mut self.open).rows_mut().push(live);
        self.seqs.push(place.index);
        let here = Reach::at(place);
        let reach = self.open_reach.get_or_insert(here);
        reach.seq.1 = here.seq.1;
        reach.ts.1 = here.ts.1;
        if self.sheet.rows() == PART_ROWS {
            self.close_part();
        }
    }

    fn close_part(&mut self) {
        let Some(reach) = self.open_reach.take() else { return };
        let fixed = Arc::new(self.sheet.take());
        let live = std::mem::replace(&mut self.open, Arc::new(Live::new()));
        self.parts.push(Part { fixed, live, reach });
    }

    /// The live part of the row that the event `seq` created.
    pub(crate) fn live(&self, seq: u64) -> Option<&S> {
        let row = self.seqs.binary_search(&seq).ok()?;
        let live = self.parts.get(row / PART_ROWS).map_or(&self.open, |part| &part.live);
        live.rows.get(row % PART_ROWS)
    }

    /// The same, to be changed.
    pub(crate) fn live_mut(&mut self, seq: u64) -> Option<&mut S> {
        let row = self.seqs.binary_search(&seq).ok()?;
        let live = match self.parts.get_mut(row / PART_ROWS) {
            Some(part) => &mut part.live,
            None => &mut self.open,
        };
        Arc::make_mut(live).rows_mut().get_mut(row % PART_ROWS)
    }

    /// All rows as they stand.
    pub(crate) fn snapshot(&self) -> Vec<Part<S>> {
        let mut parts = self.parts.clone();
        if let Some(reach) = self.open_reach {
            let fixed = Arc::new(self.sheet.copy());
            parts.push(Part { fixed, live: Arc::clone(&self.open), reach });
        }
        parts
    }
}
