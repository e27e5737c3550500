//! An answer on its way: rows as the engine makes them, until the end, a limit, or a word to stop.

use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use bytes::BufMut;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::sql::parser::Statement;
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::data::{FieldDescription, RowDescription};

use super::prepared::Prepared;
use super::{Session, Stop};
use crate::error::{Code, Error};
use crate::pg::ask::Place;
use crate::pg::fault::Fault;
use crate::pg::statement::What;
use crate::pg::value::{Cells, Format, type_bytes, wire_type};
use crate::pg::wire::GATHERED_BYTES;
use crate::pg::{Asked, Doorkeeper, catalog};
use crate::query::{self, Limits, Opened};

/// How long the tables may take to reach what was on the ledger when the question came.
const FRESH_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// A question whose answer has begun.
pub(super) struct Running {
    opened: Opened,
    /// The rows at hand, and how many of them were sent.
    batch: Option<(Vec<Cells>, usize, usize)>,
    asked: Asked,
    begun: Instant,
    /// Who hears of it; nobody of questions about the schema.
    hears: Option<(Arc<dyn Doorkeeper>, String)>,
    bytes_max: u64,
}

impl Running {
    pub(super) const fn rows(&self) -> u64 {
        self.asked.rows
    }

    pub(super) const fn as_of_seq(&self) -> Option<u64> {
        self.asked.as_of_seq
    }

    /// The answer's columns in the formats that were asked for.
    pub(super) fn described(&self, formats: &[Format]) -> Backend {
        described(&self.opened.schema, formats)
    }

    /// The answer is over, or was broken off for a reason.
    pub(super) fn end(mut self, failed: Option<&'static str>) {
        self.tell(failed);
    }

    fn tell(&mut self, failed: Option<&'static str>) {
        if let Some((door, user)) = self.hears.take() {
            let took = self.begun.elapsed().as_millis();
            self.asked.milliseconds = u64::try_from(took).unwrap_or(u64::MAX);
            self.asked.failed = failed;
            door.asked(&user, &self.asked);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tell(Some("pg_abandoned"));
    }
}

pub(super) fn described(schema: &SchemaRef, formats: &[Format]) -> Backend {
    let field = |(at, field): (usize, &arrow::datatypes::FieldRef)| {
        let kind = wire_type(field.data_type());
        let bytes = type_bytes(&kind);
        let code = i16::from(format_of(formats, at) == Format::Binary);
        FieldDescription::new(field.name().clone(), 0, 0, kind.oid(), bytes, -1, code)
    };
    let fields = schema.fields().iter().enumerate().map(field).collect();
    Backend::RowDescription(RowDescription::new(fields))
}

/// A column's format: none asks for text, one is for all.
fn format_of(formats: &[Format], at: usize) -> Format {
    match formats {
        [] => Format::Text,
        [one] => *one,
        each => each.get(at).copied().unwrap_or(Format::Text),
    }
}

impl Session {
    /// What a question may take, with the client's own time limit if that is shorter.
    pub(super) fn limits(&self) -> Limits {
        let mut limits = self.shared.limits;
        if let Some(limit) = self.settings.limit() {
            limits.time = limits.time.min(limit);
        }
        limits
    }

    /// A question's statement and what it reads; none for a command.
    pub(super) fn placed(&self, what: &What) -> Option<(Statement, Place)> {
        match what {
            What::Command(_) => None,
            What::Question(statement) => Some((statement.clone(), Place::Tables)),
            What::Catalog(statement) => {
                let asker = catalog::Asker {
                    user: self.user.clone(),
                    number: self.cancelled.number,
                    settings: self.settings.all(),
                };
                Some((statement.clone(), Place::Catalog(Arc::new(asker))))
            }
        }
    }

    /// Starts a question's answer.
    pub(super) async fn start(
        &mut self,
        prepared: &Prepared,
        values: Vec<ScalarValue>,
    ) -> Result<Running, Stop> {
        let question = prepared.what().and_then(|what| self.placed(what));
        let Some((statement, place)) = question else {
            return Err(Fault::protocol("there is nothing to answer").into());
        };
        let (begun, limits) = (Instant::now(), self.limits());
        let deadline = tokio::time::Instant::now() + limits.time;
        let (audit, door) = (Arc::clone(&self.shared.audit), Arc::clone(&self.shared.door));
        let over_tables = matches!(place, Place::Tables);
        let parameters = ParamValues::from(values);
        let open = async {
            if let (true, Some(head)) = (over_tables, door.head()) {
                audit.wait_for(head, FRESH_MAX).await?;
            }
            audit.open_admitted(statement, place, parameters, &limits, deadline).await
        };
        self.cancelled.begin();
        let opened = tokio::select! {
            biased;
            () = self.cancelled.cancelled() => return Err(Fault::cancelled().into()),
            () = self.connection.gone() => return Err(Stop::Gone),
            opened = open => opened?,
        };
        let asked = Asked {
            sql_digest: prepared.sql_digest,
            as_of_seq: opened.as_of_seq,
            rows: 0,
            bytes: 0,
            milliseconds: 0,
            failed: None,
        };
        let hears = over_tables.then(|| (door, self.user.clone()));
        let bytes_max = u64::try_from(limits.bytes).unwrap_or(u64::MAX);
        Ok(Running { opened, batch: None, asked, begun, hears, bytes_max })
    }

    /// Sends rows, at most `rows_max` of them unless that is 0; true if there may be more.
    pub(super) async fn rows(
        &mut self,
        running: &mut Running,
        formats: &[Format],
        rows_max: usize,
    ) -> Result<bool, Stop> {
        self.cancelled.begin();
        let columns = running.opened.schema.fields().len();
        if formats.len() > 1 && formats.len() != columns {
            let message = format!("{} formats came for {columns} columns", formats.len());
            return Err(Fault::protocol(message).into());
        }
        let sent = self.pass(running, formats, rows_max).await;
        if let Err(Stop::Fault(fault)) = &sent {
            running.tell(Some(fault.code));
        }
        sent
    }

    async fn pass(
        &mut self,
        running: &mut Running,
        formats: &[Format],
        rows_max: usize,
    ) -> Result<bool, Stop> {
        let formats: Vec<Format> =
            (0..running.opened.schema.fields().len()).map(|at| format_of(formats, at)).collect();
        let mut left = if rows_max == 0 { usize::MAX } else { rows_max };
        loop {
            let Some((cells, rows, at)) = &mut running.batch else {
                let next = tokio::select! {
                    biased;
                    () = self.cancelled.cancelled() => return Err(Fault::cancelled().into()),
                    () = self.connection.gone() => return Err(Stop::Gone),
                    next = running.opened.next() => next,
                };
                let Some(batch) = next.transpose()? else { return Ok(false) };
                let (held, most) = [running.asked.bytes, running.bytes_max]
                    .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
                    .into();
                query::check_weight(&batch, size_of::<i32>(), held, most)?;
                let cells =
                    Cells::of(&batch).map_err(|e| Error::refused(Code::Failed, e.to_string()))?;
                running.batch = Some((cells, batch.num_rows(), 0));
                continue;
            };
            if *at == *rows {
                running.batch = None;
                continue;
            }
            if left == 0 {
                return Ok(true);
            }
            let before = self.connection.gathered();
            write_row(cells, &formats, *at, self.connection.output());
            running.asked.bytes += (self.connection.gathered() - before) as u64;
            running.asked.rows += 1;
            (*at, left) = (*at + 1, left - 1);
            if running.asked.bytes > running.bytes_max {
                let message = format!("the answer has more than {} bytes", running.bytes_max);
                return Err(Error::refused(Code::TooLarge, message).into());
            }
            if self.connection.gathered() >= GATHERED_BYTES {
                tokio::select! {
                    biased;
                    () = self.cancelled.cancelled() => {
                        // What was gathered may be sent in part: it goes out before the error does.
                        self.connection.flush().await?;
                        return Err(Fault::cancelled().into());
                    }
                    flushed = self.connection.flush() => flushed?,
                }
            }
        }
    }
}

/// `DataRow`: its length, how many values, and the values.
fn write_row(cells: &[Cells], formats: &[Format], row: usize, to: &mut bytes::BytesMut) {
    to.put_u8(b'D');
    let at = to.len();
    to.put_i32(0);
    to.put_i16(i16::try_from(cells.len()).unwrap_or(i16::MAX));
    for (column, format) in cells.iter().zip(formats) {
        column.write(row, *format, to);
    }
    let length = i32::try_from(to.len() - at).unwrap_or(i32::MAX);
    to[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
