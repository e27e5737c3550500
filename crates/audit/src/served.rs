//! An answer on its way out: bytes in one of the forms that are offered, made on the questions' own
//! threads while they are taken.
//!
//! JSON and CSV come whole, so that whatever goes wrong is told instead of them. An Arrow stream
//! comes batch by batch; of what goes wrong behind the first of them whoever hands it on has to
//! make a broken connection, since readers may take the beginning of a stream for a whole one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::ParamValues;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;

use crate::error::{Code, Error};
use crate::named::Named;
use crate::query::{self, Limits, Opened, Parameters};
use crate::table::events::canonical;
use crate::{Audit, now};

/// The name under which an Arrow stream, and a file made of it, say as of which event they are.
pub const AS_OF_SEQ: &str = "bailiwick.as_of_seq";

/// Pieces that are made before the first of them is taken.
const PIECES_AHEAD: usize = 2;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub enum Question<'a> {
    /// A text, and values for its placeholders.
    Sql(&'a str, &'a Parameters),
    /// A named question, and what is given for its parameters.
    Named(&'static Named, &'a Parameters),
}

impl Question<'_> {
    /// Its SQL.
    #[must_use]
    pub const fn sql(&self) -> &str {
        match self {
            Self::Sql(sql, _) => sql,
            Self::Named(named, _) => named.sql,
        }
    }

    /// SHA-256 of its SQL, by which a record knows it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.sql()).into()
    }

    /// SHA-256 of its values as canonical JSON; none without values.
    #[must_use]
    pub fn digest_of_values(&self) -> Option<[u8; 32]> {
        let (Self::Sql(_, values) | Self::Named(_, values)) = self;
        (!values.is_empty()).then(|| Sha256::digest(canonical(values)).into())
    }

    fn values(&self) -> Result<ParamValues, Error> {
        match self {
            Self::Sql(_, values) => query::scalars(values),
            Self::Named(named, given) => named.bind(given, now()),
        }
    }
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{"columns": […], "rows": […], "as_of_seq": …}`, see [`crate::Table`].
    Json,
    /// CSV (RFC 4180), see [`crate::Table::csv`].
    Csv,
    /// An Arrow IPC stream. Texts come as plain texts, and [`AS_OF_SEQ`] stands in the metadata of
    /// the schema.
    Arrow,
}

/// An answer that is coming. Dropping it ends the work.
#[derive(Debug)]
pub struct Pieces {
    as_of_seq: Option<u64>,
    first: Option<Piece>,
    rest: Receiver<Result<Piece, Error>>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The rows that it has.
    pub rows: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Pieces {
    /// The last event that the answer takes into account; none on an empty ledger.
    #[must_use]
    pub const fn as_of_seq(&self) -> Option<u64> {
        self.as_of_seq
    }

    /// The next part, or none behind the last.
    ///
    /// # Errors
    /// Says why the answer breaks off here: [`Error::Refused`] with the limit, or what failed.
    pub async fn next(&mut self) -> Result<Option<Piece>, Error> {
        match self.first.take() {
            Some(piece) => Ok(Some(piece)),
            None => self.rest.recv().await.transpose(),
        }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// As [`Pieces::next`].
    pub async fn collected(mut self) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            whole.extend_from_slice(&piece.bytes);
        }
        Ok(whole)
    }
}

impl Audit {
    /// Answers a question in bytes. It returns with the first of them, so that what is refused, or
    /// fails at once, is told here.
    ///
    /// # Errors
    /// [`Error::Refused`] with the rule that the question breaks, the limit that its answer breaks,
    /// or what is wrong with it.
    pub async fn answer(
        &self,
        question: &Question<'_>,
        form: Form,
        limits: &Limits,
    ) -> Result<Pieces, Error> {
        let deadline = Instant::now() + limits.time;
        let opened = self.open(question.sql(), question.values()?, limits, deadline).await?;
        let as_of_seq = opened.as_of_seq;
        let (sender, mut rest) = mpsc::channel(PIECES_AHEAD);
        self.runtime()?.spawn(write(opened, form, limits.bytes, sender));
        let first = rest.recv().await.transpose()?;
        Ok(Pieces { as_of_seq, first, rest })
    }
}

/// Hands on an answer's bytes, until its end, a limit, or nobody takes them any more.
async fn write(opened: Opened, form: Form, bytes_max: usize, sender: Sender<Result<Piece, Error>>) {
    let work = async {
        match form {
            Form::Json | Form::Csv => whole(opened, form, bytes_max, &sender).await,
            Form::Arrow => stream(opened, bytes_max, &sender).await,
        }
    };
    let failed = tokio::select! {
        biased;
        () = sender.closed() => None,
        done = work => done.err(),
    };
    if let Some(error) = failed {
        // Nobody may wait any more; then there is nobody to tell.
        let _ = sender.send(Err(error)).await;
    }
}

async fn whole(
    opened: Opened,
    form: Form,
    bytes_max: usize,
    sender: &Sender<Result<Piece, Error>>,
) -> Result<(), Error> {
    let table = opened.collected(bytes_max).await?;
    let bytes = match form {
        Form::Csv => table.csv().into_bytes(),
        Form::Json | Form::Arrow => serde_json::to_vec(&table)
            .map_err(|_| Error::refused(Code::Failed, "the answer cannot be written as JSON"))?,
    };
    hand_on(sender, table.rows.len(), bytes).await;
    Ok(())
}

async fn stream(
    mut opened: Opened,
    bytes_max: usize,
    sender: &Sender<Result<Piece, Error>>,
) -> Result<(), Error> {
    let schema = plain(&opened.schema, opened.as_of_seq);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(|e| unwritten(&e))?;
    let mut total = 0;
    while let Some(batch) = opened.next().await {
        let batch = batch?;
        query::check_weight(&batch, 0, total, bytes_max)?;
        write_plain(&mut writer, &schema, &batch).map_err(|e| unwritten(&e))?;
        total += writer.get_ref().len();
        if total > bytes_max {
            return Err(query::too_large(bytes_max));
        }
        hand_on(sender, batch.num_rows(), std::mem::take(writer.get_mut())).await;
    }
    writer.finish().map_err(|e| unwritten(&e))?;
    hand_on(sender, 0, std::mem::take(writer.get_mut())).await;
    Ok(())
}

async fn hand_on(sender: &Sender<Result<Piece, Error>>, rows: usize, bytes: Vec<u8>) {
    // When nobody takes it, `write` sees that and ends the work.
    let _ = sender.send(Ok(Piece { rows: rows as u64, bytes })).await;
}

fn unwritten(error: &ArrowError) -> Error {
    let why: String = error.to_string().chars().take(500).collect();
    Error::refused(Code::Failed, format!("the answer cannot be written: {why}"))
}

/// The schema of what is handed out. Dictionaries and views are how the tables are kept: a part of
/// a table would drag all of its dictionary along, and not every reader knows views.
fn plain(schema: &SchemaRef, as_of_seq: Option<u64>) -> SchemaRef {
    let field = |field: &FieldRef| {
        let kind = plain_type(field.data_type()).clone();
        Field::new(field.name(), kind, field.is_nullable())
    };
    let fields: Vec<Field> = schema.fields().iter().map(field).collect();
    let as_of = as_of_seq.map(|seq| (AS_OF_SEQ.to_owned(), seq.to_string()));
    Arc::new(Schema::new_with_metadata(fields, HashMap::from_iter(as_of)))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types, not ours")]
fn plain_type(kind: &DataType) -> &DataType {
    match kind {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::Utf8View => &DataType::Utf8,
        DataType::BinaryView => &DataType::Binary,
        other => other,
    }
}

fn write_plain(
    writer: &mut StreamWriter<Vec<u8>>,
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<(), ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    writer.write(&RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
