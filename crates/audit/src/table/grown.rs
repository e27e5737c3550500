//! Rows that come in chain order, most of whose cells never change.
//!
//! A row has *fixed* cells, written once into Arrow, and a small *live* part that later events
//! change: a grant's uses, a call's outcome. Rows are kept in parts of [`PART_ROWS`]. A snapshot
//! shares every part and copies only the last, unfinished one; a change to a live part that a
//! snapshot still holds copies that part first. So neither a query nor an event waits for the
//! other for longer than one part takes, and a snapshot stays as it was.
//!
//! Rows that no later event changes any more are *settled*: they leave for the archive, and the rest
//! is gathered into fewer parts.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bailiwick_core::event::Place;
use bincode::config::standard;
use bincode::{Decode, Encode};

use super::sheet::{self, Columns, Sheet, micros};

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

/// Some rows with the index of the event that made each.
#[derive(Debug, Clone)]
struct Closed<S: Living> {
    part: Part<S>,
    seqs: Vec<u64>,
}

/// Rows as a checkpoint keeps them.
#[derive(Debug)]
pub(crate) struct Kept<S: Living>(Vec<Closed<S>>);

impl<S: Living + Encode> Kept<S> {
    /// The rows as bytes: their columns as an Arrow IPC stream, then indices and live cells.
    pub(crate) fn encode<C: Columns>(&self) -> Result<Vec<u8>, ArrowError> {
        let mut stream = StreamWriter::try_new(Vec::new(), &sheet::schema::<C>())?;
        let fixed = joined(self.0.clone())?;
        if let Some(closed) = &fixed {
            stream.write(&closed.part.fixed)?;
        }
        let columns = stream.into_inner()?;
        let (seqs, live) =
            fixed.map(|closed| (closed.seqs, closed.part.live.rows.clone())).unwrap_or_default();
        bincode::encode_to_vec((columns, seqs, live), standard())
            .map_err(|e| ArrowError::ExternalError(Box::new(e)))
    }
}

impl<S: Living + Decode<()>> Kept<S> {
    /// The rows that [`Kept::encode`] wrote.
    pub(crate) fn decode<C: Columns>(bytes: &[u8]) -> Result<Self, ArrowError> {
        type Written<S> = (Vec<u8>, Vec<u64>, Vec<S>);
        let ((columns, seqs, live), _): (Written<S>, _) =
            bincode::decode_from_slice(bytes, standard())
                .map_err(|e| ArrowError::ExternalError(Box::new(e)))?;
        let stream = StreamReader::try_new(columns.as_slice(), None)?;
        if stream.schema() != sheet::schema::<C>() {
            return Err(ArrowError::SchemaError("the table has other columns now".to_owned()));
        }
        let batches = stream.collect::<Result<Vec<_>, _>>()?;
        let fixed = concat_batches(&sheet::schema::<C>(), &batches)?;
        if fixed.num_rows() != seqs.len() || seqs.len() != live.len() {
            return Err(ArrowError::ParseError("rows are missing".to_owned()));
        }
        let mut parts = Vec::new();
        let (mut live, mut seqs, mut at) = (live, seqs, 0);
        while !seqs.is_empty() {
            let rows = seqs.len().min(PART_ROWS);
            let (later_live, later_seqs) = (live.split_off(rows), seqs.split_off(rows));
            parts.extend(Closed::new(fixed.slice(at, rows), live, seqs));
            (live, seqs, at) = (later_live, later_seqs, at + rows);
        }
        Ok(Self(parts))
    }
}

/// All rows.
///
/// INVARIANT: indices ascend within a part and from part to part; no part but the open one is
/// empty, and `seqs` has one index for each row of the open one.
#[derive(Debug)]
pub(crate) struct Grown<C, S: Living> {
    parts: Vec<Closed<S>>,
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

    /// The rows of a checkpoint.
    pub(crate) fn restored(kept: Kept<S>) -> Self {
        Self { parts: kept.0, ..Self::new() }
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
        let seqs = std::mem::take(&mut self.seqs);
        self.parts.push(Closed { part: Part { fixed, live, reach }, seqs });
    }

    /// The part and the row that the event `seq` made.
    fn find(&self, seq: u64) -> Option<(usize, usize)> {
        let part = self.parts.partition_point(|part| part.seqs.last().is_some_and(|s| *s < seq));
        let seqs = self.parts.get(part).map_or(&self.seqs, |part| &part.seqs);
        Some((part, seqs.binary_search(&seq).ok()?))
    }

    /// The live part of the row that the event `seq` created.
    pub(crate) fn live(&self, seq: u64) -> Option<&S> {
        let (part, row) = self.find(seq)?;
        let live = self.parts.get(part).map_or(&self.open, |closed| &closed.part.live);
        live.rows.get(row)
    }

    /// The same, to be changed.
    pub(crate) fn live_mut(&mut self, seq: u64) -> Option<&mut S> {
        let (part, row) = self.find(seq)?;
        let live = match self.parts.get_mut(part) {
            Some(closed) => &mut closed.part.live,
            None => &mut self.open,
        };
        Arc::make_mut(live).rows_mut().get_mut(row)
    }

    /// All rows as they stand.
    pub(crate) fn snapshot(&self) -> Vec<Part<S>> {
        let mut parts: Vec<_> = self.parts.iter().map(|closed| closed.part.clone()).collect();
        if let Some(reach) = self.open_reach {
            let fixed = Arc::new(self.sheet.copy());
            parts.push(Part { fixed, live: Arc::clone(&self.open), reach });
        }
        parts
    }

    /// All rows as a checkpoint keeps them.
    pub(crate) fn kept(&mut self) -> Kept<S> {
        self.close_part();
        Kept(self.parts.clone())
    }

    /// Takes out the rows that `judge` says are settled, part by part; the others stay.
    ///
    /// # Errors
    /// [`ArrowError`], then with everything as it was.
    pub(crate) fn settle(
        &mut self,
        judge: impl Fn(&Part<S>) -> Vec<bool>,
    ) -> Result<Vec<Part<S>>, ArrowError> {
        self.close_part();
        let (mut settled, mut kept) = (Vec::new(), Vec::new());
        for closed in &self.parts {
            let verdicts = judge(&closed.part);
            if verdicts.iter().all(|settled| *settled) {
                settled.push(closed.part.clone());
            } else if verdicts.iter().any(|settled| *settled) {
                let others: Vec<bool> = verdicts.iter().map(|settled| !settled).collect();
                settled.extend(closed.chosen(&verdicts)?.map(|chosen| chosen.part));
                kept.extend(closed.chosen(&others)?);
            } else {
                kept.push(closed.clone());
            }
        }
        self.parts = gathered(kept)?;
        Ok(settled)
    }

    /// Takes out all rows.
    pub(crate) fn take(&mut self) -> Vec<Part<S>> {
        self.close_part();
        std::mem::take(&mut self.parts).into_iter().map(|closed| closed.part).collect()
    }
}

impl<S: Living> Closed<S> {
    /// A part of these rows, if there are any.
    fn new(fixed: RecordBatch, rows: Vec<S>, seqs: Vec<u64>) -> Option<Self> {
        let edge = |seq: Option<&u64>| i64::try_from(*seq?).ok();
        let seq = (edge(seqs.first())?, edge(seqs.last())?);
        // `ts` is every such table's second column.
        let moments = fixed.column(1).as_primitive::<TimestampMicrosecondType>();
        let ts = (moments.value(0), moments.value(moments.len() - 1));
        let live = Arc::new(Live { rows, derived: Mutex::new(None) });
        let part = Part { fixed: Arc::new(fixed), live, reach: Reach { seq, ts } };
        Some(Self { part, seqs })
    }

    /// The rows that are chosen.
    fn chosen(&self, chosen: &[bool]) -> Result<Option<Self>, ArrowError> {
        let mask = BooleanArray::from(chosen.to_vec());
        let fixed = compact(&filter_record_batch(&self.part.fixed, &mask)?)?;
        let only = |at: &usize| chosen[*at];
        let rows = (0..chosen.len()).filter(only).map(|at| self.part.live.rows[at].clone());
        let seqs = (0..chosen.len()).filter(only).map(|at| self.seqs[at]);
        Ok(Self::new(fixed, rows.collect(), seqs.collect()))
    }
}

/// The same rows in fewer parts.
fn gathered<S: Living>(parts: Vec<Closed<S>>) -> Result<Vec<Closed<S>>, ArrowError> {
    let mut gathered: Vec<Closed<S>> = Vec::new();
    let mut few: Vec<Closed<S>> = Vec::new();
    let mut rows = 0;
    for part in parts {
        if rows + part.seqs.len() > PART_ROWS {
            gathered.extend(joined(std::mem::take(&mut few))?);
            rows = 0;
        }
        rows += part.seqs.len();
        few.push(part);
    }
    gathered.extend(joined(few)?);
    Ok(gathered)
}

fn joined<S: Living>(mut parts: Vec<Closed<S>>) -> Result<Option<Closed<S>>, ArrowError> {
    if parts.len() < 2 {
        return Ok(parts.pop());
    }
    let schema = parts[0].part.fixed.schema();
    let fixed = concat_batches(&schema, parts.iter().map(|closed| closed.part.fixed.as_ref()))?;
    let rows = parts.iter().flat_map(|closed| closed.part.live.rows.iter().cloned()).collect();
    let seqs = parts.iter().flat_map(|closed| closed.seqs.iter().copied()).collect();
    Ok(Closed::new(compact(&fixed)?, rows, seqs))
}

/// The same rows without names that none of them has any more.
fn compact(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| {
        let name = column.data_type();
        let DataType::Dictionary(_, text) = name else { return Ok(Arc::clone(column)) };
        cast(&cast(column, text)?, name)
    });
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<_, _>>()?)
}
