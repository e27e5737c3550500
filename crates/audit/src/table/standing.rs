//! Rows that come in chain order, as they stood at one moment: the columns that were written once,
//! then those that change.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};

use super::grown::{Grown, Living, Part, Reach};
use super::scan::Snapshot;
use super::sheet::{self, Columns};

/// The changing part of a table's rows.
pub(crate) trait Changing: Living {
    /// Cells that are written once.
    type Fixed: Columns;
    /// Cells that later events, or the passing of time, change.
    type Cells: Columns;
    /// What these depend on beside the row itself.
    type Beside: Clone + fmt::Debug + Send + Sync + 'static;
    /// One of these columns for a part of the rows.
    fn column(part: &Part<Self>, column: Self::Cells, beside: &Self::Beside) -> ArrayRef;
}

/// Some rows of a table as they stood.
#[derive(Debug)]
pub(crate) struct Standing<S: Changing> {
    parts: Vec<Part<S>>,
    beside: S::Beside,
}

impl<S: Changing> Standing<S> {
    /// Rows that were taken out of a table.
    pub(crate) const fn of(parts: Vec<Part<S>>, beside: S::Beside) -> Self {
        Self { parts, beside }
    }

    /// All rows of a table, with those before them that are about to be archived.
    pub(crate) fn new(before: &[Part<S>], rows: &Grown<S::Fixed, S>, beside: S::Beside) -> Self {
        Self::of(before.iter().cloned().chain(rows.snapshot()).collect(), beside)
    }

    pub(crate) fn parts(&self) -> &[Part<S>] {
        &self.parts
    }
}

impl<S: Changing> Snapshot for Standing<S> {
    fn schema(&self) -> SchemaRef {
        let mut fields = sheet::fields(S::Fixed::LISTED);
        fields.extend(sheet::fields(S::Cells::LISTED));
        Arc::new(Schema::new(fields))
    }

    fn parts(&self) -> Vec<Reach> {
        self.parts.iter().map(|part| part.reach).collect()
    }

    fn rows(&self, part: usize) -> usize {
        self.parts[part].fixed.num_rows()
    }

    fn column(&self, part: usize, column: usize) -> ArrayRef {
        let part = &self.parts[part];
        match column.checked_sub(S::Fixed::LISTED.len()) {
            None => Arc::clone(part.fixed.column(column)),
            Some(column) => S::column(part, S::Cells::ALL[column], &self.beside),
        }
    }
}
