//! Tables that are small enough to be written anew for each question: one row a registered thing,
//! kept as plain structs in the order of their first event.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use bailiwick_core::time::Time;
use bincode::{Decode, Encode};

use super::grown::Reach;
use super::scan::Snapshot;
use super::sheet::{self, Columns, Sheet};

/// A row that writes itself.
pub(crate) trait Row: Clone + std::fmt::Debug + Send + Sync + 'static {
    type Columns: Columns;
    /// Writes the row as it is at `now`.
    fn write(&self, now: Time, row: &mut Sheet<Self::Columns>);
}

/// Rows that snapshots share; a change copies them if a snapshot still holds them.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Whole<R>(Arc<Vec<R>>);

impl<R: Row> Whole<R> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// A table with these rows.
    pub(crate) fn of(rows: Vec<R>) -> Self {
        Self(Arc::new(rows))
    }

    pub(crate) fn rows(&self) -> &[R] {
        &self.0
    }

    pub(crate) fn rows_mut(&mut self) -> &mut Vec<R> {
        Arc::make_mut(&mut self.0)
    }

    pub(crate) fn snapshot(&self, now: Time) -> WholeSnapshot<R> {
        WholeSnapshot { rows: self.clone(), now, written: OnceLock::new() }
    }
}

/// Such a table as it stood at one moment. It is written when a question first reads it.
#[derive(Debug)]
pub(crate) struct WholeSnapshot<R> {
    rows: Whole<R>,
    now: Time,
    written: OnceLock<RecordBatch>,
}

impl<R: Row> Snapshot for WholeSnapshot<R> {
    fn schema(&self) -> SchemaRef {
        sheet::schema::<R::Columns>()
    }

    fn parts(&self) -> Vec<Reach> {
        let all = (i64::MIN, i64::MAX);
        vec![Reach { seq: all, ts: all }]
    }

    fn rows(&self, _: usize) -> usize {
        self.rows.rows().len()
    }

    fn column(&self, _: usize, column: usize) -> ArrayRef {
        let written = self.written.get_or_init(|| {
            let mut sheet = Sheet::new();
            for row in self.rows.rows() {
                row.write(self.now, &mut sheet);
                sheet.end_row();
            }
            sheet.take()
        });
        Arc::clone(written.column(column))
    }
}
