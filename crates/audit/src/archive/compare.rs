//! Whether an archive says what the ledger says: every row of every file, and not only that the files
//! are those which were sealed.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use bailiwick_core::event::Recorded;
use bailiwick_core::record::hash::Digest;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest as _, Sha256};

use super::cut::{Cut, batches, by_agent_schema, root};
use super::manifest::{File, Manifest, Segment};
use super::segment::Reordered;
use super::{Archive, Fault};
use crate::error::Error;
use crate::sealing::Archiving;
use crate::store::Store;
use crate::table::events::EventColumn;
use crate::table::scan::Snapshot;
use crate::table::sheet;

/// An archive that is being compared with its ledger.
#[derive(Debug)]
pub struct Comparison {
    archive: Archive,
    manifest: Manifest,
    store: Store,
    next: usize,
    compared: Compared,
}

/// What was compared, and found to be the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Compared {
    /// Segments.
    pub segments: usize,
    /// Segments that are not kept any more.
    pub dropped: usize,
    /// Files.
    pub files: usize,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Comparison {
    /// Reads the manifest. The ledger's events are to come from the first on.
    ///
    /// # Errors
    /// [`Error::Archive`] when the manifest is not as it was signed, or is of another ledger.
    pub async fn begin(archiving: &Archiving) -> Result<Self, Error> {
        let Archiving { place, ledger, key, trusted, .. } = archiving;
        let archive = Archive::at(place.clone(), *ledger, key.clone())?;
        let manifest = archive.newest(trusted).await?;
        let compared = Compared { dropped: manifest.dropped, ..Compared::default() };
        Ok(Self { archive, manifest, store: Store::new(), next: 0, compared })
    }

    /// Takes the events of the next entry, and compares a segment that ends with it.
    ///
    /// # Errors
    /// [`Error::Archive`] with the file that differs, or is missing.
    pub async fn ingest(&mut self, entry: u64, events: &[Recorded]) -> Result<(), Error> {
        let Some(segment) = self.manifest.segments.get(self.next).cloned() else { return Ok(()) };
        self.store.ingest(entry, events)?;
        let last = self.store.last().map_or(0, |last| last.index);
        if last < segment.last {
            return Ok(());
        }
        let cut = self.store.cut()?.filter(|cut| cut.last.index == segment.last);
        let Some(cut) = cut else { return Err(Fault::Differs { seq: segment.last }.into()) };
        if self.next >= self.manifest.dropped {
            self.compare(&cut, &segment).await?;
            self.compared.segments += 1;
        }
        self.store.sealed(Manifest::default());
        self.next += 1;
        Ok(())
    }

    /// Ends with the ledger's last event.
    ///
    /// # Errors
    /// [`Error::Archive`] when the archive has events that the ledger has not.
    pub async fn end(mut self) -> Result<Compared, Error> {
        if let Some(segment) = self.manifest.segments.get(self.next) {
            return Err(Fault::Differs { seq: segment.last }.into());
        }
        if let Some(segment) = self.manifest.newest() {
            self.archive.whole(&segment.state).await?;
            self.compared.files += 1;
            self.compared.bytes += segment.state.bytes;
        }
        Ok(self.compared)
    }

    async fn compare(&mut self, cut: &Cut, segment: &Segment) -> Result<(), Error> {
        let events: Vec<Arc<RecordBatch>> =
            cut.events.iter().map(|part| Arc::clone(&part.fixed)).collect();
        let links = (cut.first.index, cut.link_before, cut.last.link, root(&events));
        if links != (segment.first, segment.link_before, segment.link_after, segment.root) {
            return Err(Fault::Differs { seq: segment.last }.into());
        }
        let schema = sheet::schema::<EventColumn>();
        let in_order = events.iter().map(|batch| Ok((**batch).clone()));
        self.same(&segment.events, &schema, in_order).await?;
        let by_agent =
            Reordered::by("agent_id", &events, by_agent_schema()).map_err(Fault::from)?;
        self.same_if(("agents", segment.by_agent.as_ref()), &by_agent_schema(), by_agent).await?;
        self.same_rows(("calls", segment.calls.as_ref()), &cut.calls).await?;
        self.same_rows(("grants", segment.grants.as_ref()), &cut.grants).await?;
        self.same_rows(("tasks", segment.tasks.as_ref()), &cut.tasks).await?;
        self.same_rows(("approvals", segment.approvals.as_ref()), &cut.approvals).await
    }

    async fn same_rows(
        &mut self,
        file: (&str, Option<&File>),
        rows: &impl Snapshot,
    ) -> Result<(), Error> {
        self.same_if(file, &rows.schema(), batches(rows)).await
    }

    /// Compares rows with the file that the manifest names for them, if there are any.
    async fn same_if<I>(
        &mut self,
        (table, file): (&str, Option<&File>),
        schema: &SchemaRef,
        rows: I,
    ) -> Result<(), Error>
    where
        I: IntoIterator<Item = Result<RecordBatch, arrow::error::ArrowError>>,
    {
        if let Some(file) = file {
            return self.same(file, schema, rows).await;
        }
        let (_, count) = digest(schema, rows)?;
        if count == 0 {
            Ok(())
        } else {
            Err(Fault::Missing { file: format!("derived/{table}-…") }.into())
        }
    }

    async fn same<I>(&mut self, file: &File, schema: &SchemaRef, rows: I) -> Result<(), Error>
    where
        I: IntoIterator<Item = Result<RecordBatch, arrow::error::ArrowError>>,
    {
        let bytes = self.archive.whole(file).await?;
        let written = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(Fault::from)?;
        let altered =
            |what: &str| Fault::Altered { file: file.name.clone(), what: what.to_owned() };
        if written.schema().fields() != schema.fields() {
            return Err(altered("it has other columns").into());
        }
        let written = written.build().map_err(Fault::from)?;
        if digest(schema, written)? != digest(schema, rows)? {
            return Err(altered("its rows are not what the ledger says").into());
        }
        self.compared.files += 1;
        self.compared.rows += file.rows;
        self.compared.bytes += file.bytes;
        Ok(())
    }
}

/// A digest of rows that does not depend on how they are cut into batches, and how many they are.
fn digest<I>(schema: &SchemaRef, batches: I) -> Result<(Digest, usize), Fault>
where
    I: IntoIterator<Item = Result<RecordBatch, arrow::error::ArrowError>>,
{
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let (mut sha256, mut count) = (Sha256::new(), 0);
    for batch in batches {
        let batch = batch?;
        for row in &converter.convert_columns(batch.columns())? {
            sha256.update((row.as_ref().len() as u64).to_be_bytes());
            sha256.update(row.as_ref());
        }
        count += batch.num_rows();
    }
    Ok((Digest(sha256.finalize().into()), count))
}
