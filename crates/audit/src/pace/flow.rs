//! Batches on their way from one step to the next: cut, watched, or refused.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::spill::get_record_batch_memory_size;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Uses;
use crate::budget::Memory;
use crate::error::{Code, Error};
use crate::size;

/// What is done with batches.
#[derive(Debug, Clone)]
pub(super) enum Flow {
    /// Nothing.
    Free,
    /// They are cut until what is made of each is within `part` bytes.
    Spread { uses: Uses, part: usize },
    /// They are cut to `rows`, and copied, so that each holds no more than itself.
    Cut { rows: usize },
    /// The longest row may be repeated `rows` times within `part` bytes. Some are cut to `rows`.
    Repeated { rows: usize, part: usize, cut: bool },
    /// They are sorted, and come out copied, `rows` at a time: what columns share is no longer
    /// shared then, and has to be within `part` bytes.
    Sorted { rows: usize, part: usize },
    /// They are all held at once, twice, with so many columns more.
    Whole { texts: usize, memory: Memory },
    /// They have the one value of a subquery, of at most so many bytes.
    Constant { most: usize },
}

/// The same stream, watched.
pub(super) fn flowing(input: SendableRecordBatchStream, flow: &Flow) -> SendableRecordBatchStream {
    let schema = input.schema();
    match flow.clone() {
        Flow::Free => input,
        Flow::Spread { uses, part } => {
            let cut = input.map(move |batch| spread(batch?, &uses, part));
            let cut = cut.map_ok(|parts| stream::iter(parts.into_iter().map(Ok))).try_flatten();
            Box::pin(RecordBatchStreamAdapter::new(schema, cut))
        }
        Flow::Cut { rows } => {
            let cut = input.map(move |batch| copied(&batch?, rows));
            let cut = cut.map_ok(|parts| stream::iter(parts.into_iter().map(Ok))).try_flatten();
            Box::pin(RecordBatchStreamAdapter::new(schema, cut))
        }
        Flow::Repeated { rows, part, cut } => {
            let cut = input.map(move |batch| repeated(batch?, rows, part, cut));
            let cut = cut.map_ok(|parts| stream::iter(parts.into_iter().map(Ok))).try_flatten();
            Box::pin(RecordBatchStreamAdapter::new(schema, cut))
        }
        Flow::Sorted { rows, part } => {
            let seen = input.map(move |batch| sorted(batch?, rows, part));
            Box::pin(RecordBatchStreamAdapter::new(schema, seen))
        }
        Flow::Whole { texts, memory } => {
            let mut held = Held::of(texts, &memory);
            let seen = input.map(move |batch| held.with(batch?));
            Box::pin(RecordBatchStreamAdapter::new(schema, seen))
        }
        Flow::Constant { most } => {
            let seen = input.map(move |batch| constant(batch?, most));
            Box::pin(RecordBatchStreamAdapter::new(schema, seen))
        }
    }
}

fn refused(message: String) -> DataFusionError {
    Error::refused(Code::Memory, message).within()
}

/// Halves a batch until what is made of each part is small enough.
fn spread(batch: RecordBatch, uses: &Uses, part: usize) -> Result<Vec<RecordBatch>> {
    let mut left = VecDeque::from([batch]);
    let mut parts = Vec::with_capacity(1);
    while let Some(batch) = left.pop_front() {
        let made = uses.made_of(&batch);
        let rows = batch.num_rows();
        if made <= part || rows == 0 {
            parts.push(batch);
        } else if rows == 1 {
            return Err(refused(format!(
                "a row of the question would have {made} bytes; name long texts less often, or \
                 shorten them with `left(…, 1000)`"
            )));
        } else {
            left.push_front(batch.slice(rows / 2, rows - rows / 2));
            left.push_front(batch.slice(0, rows / 2));
        }
    }
    Ok(parts)
}

fn widest(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| size::longest(column)).sum()
}

fn repeated(batch: RecordBatch, rows: usize, part: usize, cut: bool) -> Result<Vec<RecordBatch>> {
    let longest = widest(&batch);
    if longest.saturating_mul(rows) > part {
        return Err(refused(format!(
            "a join or window of the question would repeat texts of {longest} bytes on every row; \
             leave them out, or shorten them with `left(…, 1000)`"
        )));
    }
    if cut && batch.num_rows() > rows {
        Ok(cut_to(&batch, rows).collect())
    } else {
        Ok(vec![batch])
    }
}

fn cut_to(batch: &RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    let cut = move |from: usize| batch.slice(from, rows.min(batch.num_rows() - from));
    (0..batch.num_rows()).step_by(rows.max(1)).map(cut)
}

/// Parts of a batch that hold nothing else of it: whoever keeps one counts all that it holds.
fn copied(batch: &RecordBatch, rows: usize) -> Result<Vec<RecordBatch>> {
    if batch.num_rows() <= rows {
        return Ok(vec![batch.clone()]);
    }
    let copied = (0..batch.num_rows()).step_by(rows.max(1)).map(|from| {
        let until = (from + rows).min(batch.num_rows());
        let places: UInt64Array = (from as u64..until as u64).collect();
        Ok(take_record_batch(batch, &places)?)
    });
    copied.collect()
}

fn sorted(batch: RecordBatch, rows: usize, part: usize) -> Result<RecordBatch> {
    let bytes = size::of_batch(&batch);
    let shared = bytes.saturating_sub(get_record_batch_memory_size(&batch));
    let each = shared.div_ceil(batch.num_rows().max(1));
    if each.saturating_mul(rows) > part {
        return Err(refused(format!(
            "a sort of the question would copy {each} bytes of the same texts on each row; name \
             them once, or in a question around the sorted one"
        )));
    }
    Ok(batch)
}

fn constant(batch: RecordBatch, most: usize) -> Result<RecordBatch> {
    let longest = widest(&batch);
    if longest > most {
        return Err(refused(format!(
            "a subquery of the question has one value of {longest} bytes, and such a value may \
             have {most}; shorten it with `left(…, 1000)`"
        )));
    }
    Ok(batch)
}

/// What a window holds until all of its input is there.
struct Held {
    reservation: MemoryReservation,
    texts: usize,
    bytes: usize,
    rows: usize,
    longest: usize,
}

impl Held {
    fn of(texts: usize, memory: &Memory) -> Self {
        let reservation = MemoryConsumer::new("Window").register(&Arc::clone(&memory.pool));
        Self { reservation, texts, bytes: 0, rows: 0, longest: 0 }
    }

    fn with(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        self.bytes = self.bytes.saturating_add(size::of_batch(&batch));
        self.rows += batch.num_rows();
        self.longest = self.longest.max(widest(&batch));
        let added = self.rows.saturating_mul(self.longest).saturating_mul(self.texts);
        self.reservation.try_resize(self.bytes.saturating_mul(2).saturating_add(added))?;
        Ok(batch)
    }
}
