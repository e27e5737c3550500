//! From the tables to a segment: what is taken out of them at the end of an entry, written, and then
//! named by the next version of the manifest.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use bailiwick_core::event::Place;
use bailiwick_core::record::hash::{Link, PublicKey, Root};
use bailiwick_core::record::tree::{self, CompactRange};
use bailiwick_core::time::{Span, Time};

use super::manifest::{File, Manifest, Segment};
use super::segment::{self, Reordered};
use super::state::State;
use super::{Archive, Fault};
use crate::table::approvals::Approval;
use crate::table::calls::Ending;
use crate::table::events::EventColumn;
use crate::table::grants::Grant;
use crate::table::grown::{Part, Reach, Still};
use crate::table::scan::Snapshot;
use crate::table::sheet::{self, Columns as _};
use crate::table::standing::Standing;
use crate::table::tasks::Task;

/// What is about to be archived. Questions still see it in memory until it is.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The first and the last event.
    pub(crate) first: Place,
    pub(crate) last: Place,
    /// The entry that ends with the last event.
    pub(crate) entry: u64,
    pub(crate) link_before: Option<Link>,
    pub(crate) events: Vec<Part<Still>>,
    pub(crate) calls: Standing<Ending>,
    pub(crate) grants: Standing<Grant>,
    pub(crate) tasks: Standing<Task>,
    pub(crate) approvals: Standing<Approval>,
    /// Everything else.
    pub(crate) state: State,
}

/// The columns of the copy by agent: all but the link, which proves nothing out of its order.
pub(crate) fn by_agent_schema() -> SchemaRef {
    let mut fields = sheet::fields(EventColumn::LISTED);
    fields.retain(|field| field.name() != "link");
    Arc::new(Schema::new(fields))
}

impl Archive {
    /// Writes what was cut as the segment after `manifest`, and the next version that names it.
    pub(crate) async fn seal(
        &self,
        cut: &Cut,
        manifest: &Manifest,
        keep: Option<Span>,
        now: Time,
    ) -> Result<Manifest, Fault> {
        let range = format!("{:012}-{:012}", cut.first.index, cut.last.index);
        let events: Vec<Arc<RecordBatch>> =
            cut.events.iter().map(|part| Arc::clone(&part.fixed)).collect();
        let schema = sheet::schema::<EventColumn>();
        let bytes = segment::written(&schema, events.iter().map(|batch| Ok((**batch).clone())))?;
        let reach = cut.events.iter().map(|part| part.reach);
        let about = about(reach.clone(), events.iter().map(|batch| batch.num_rows()).sum());
        let in_order = self.put((format!("segments/seg-{range}"), "parquet"), bytes, about).await?;

        let ordered = Reordered::by("agent_id", &events, by_agent_schema())?;
        let rows = ordered.rows();
        let by_agent = if rows == 0 {
            None
        } else {
            let bytes = segment::written(&by_agent_schema(), ordered)?;
            let about = (rows as u64, about.1, about.2);
            Some(self.put((format!("derived/agents-{range}"), "parquet"), bytes, about).await?)
        };
        let calls = self.put_rows("calls", &range, &cut.calls).await?;
        let grants = self.put_rows("grants", &range, &cut.grants).await?;
        let tasks = self.put_rows("tasks", &range, &cut.tasks).await?;
        let approvals = self.put_rows("approvals", &range, &cut.approvals).await?;
        let name = (format!("state/{:012}", cut.last.index), "bin");
        let state = self.put(name, cut.state.encode()?, (0, about.1, about.2)).await?;
        let segment = Segment {
            ledger: self.ledger(),
            first: cut.first.index,
            last: cut.last.index,
            entry: cut.entry,
            link_before: cut.link_before,
            link_after: cut.last.link,
            root: root(&events),
            events: in_order,
            by_agent,
            calls,
            grants,
            tasks,
            approvals,
            state,
            sealed_at: now,
            previous: None,
        };
        let keep = keep.map(|keep| Time(0).after(keep).0);
        let keep_from = keep.and_then(|keep| i64::try_from(now.0.checked_sub(keep)? / 1_000).ok());
        let next = manifest.with(segment, keep_from, self.key())?;
        match self.commit(&next).await {
            Ok(()) => Ok(next),
            Err(Fault::Overtaken) => self.written_before(next).await,
            Err(fault) => Err(fault),
        }
    }

    /// The version that stands where `next` was to be, if it says the same: it was written by an
    /// earlier try whose answer was lost.
    async fn written_before(&self, next: Manifest) -> Result<Manifest, Fault> {
        let own = PublicKey(self.key().verifying_key().to_bytes());
        let there = self.newest(&[own]).await.map_err(|_| Fault::Overtaken)?;
        let says = |manifest: &Manifest| {
            let newest = manifest.newest()?;
            Some((newest.first, newest.last, newest.link_after, newest.root))
        };
        let same = there.version == next.version && says(&there) == says(&next);
        if same { Ok(there) } else { Err(Fault::Overtaken) }
    }

    /// Settled rows of a table as a file, if there are any.
    async fn put_rows(
        &self,
        table: &str,
        range: &str,
        rows: &impl Snapshot,
    ) -> Result<Option<File>, Fault> {
        let reaches = rows.parts();
        if reaches.is_empty() {
            return Ok(None);
        }
        let schema = rows.schema();
        let bytes = segment::written(&schema, batches(rows))?;
        let count = (0..reaches.len()).map(|part| rows.rows(part)).sum();
        let about = about(reaches.into_iter(), count);
        Ok(Some(self.put((format!("derived/{table}-{range}"), "parquet"), bytes, about).await?))
    }
}

/// A table's rows, part by part.
pub(super) fn batches(
    rows: &impl Snapshot,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + '_ {
    let schema = rows.schema();
    (0..rows.parts().len()).map(move |part| {
        let columns = (0..schema.fields().len()).map(|column| rows.column(part, column));
        RecordBatch::try_new(Arc::clone(&schema), columns.collect())
    })
}

/// Rows, and from where to where some parts reach.
fn about(parts: impl Iterator<Item = Reach>, rows: usize) -> (u64, (i64, i64), (i64, i64)) {
    let whole = parts.fold(((i64::MAX, i64::MIN), (i64::MAX, i64::MIN)), |(seq, ts), part| {
        let wider = |a: (i64, i64), b: (i64, i64)| (a.0.min(b.0), a.1.max(b.1));
        (wider(seq, part.seq), wider(ts, part.ts))
    });
    (rows as u64, whole.0, whole.1)
}

/// The root of the tree over the events' links.
pub(super) fn root(events: &[Arc<RecordBatch>]) -> Root {
    use arrow::array::AsArray as _;
    let mut tree = CompactRange::new();
    for batch in events {
        let links = batch.column(EventColumn::Link.at()).as_fixed_size_binary();
        for link in links.iter().flatten() {
            if let Ok(link) = <[u8; 32]>::try_from(link) {
                tree.push(tree::link_leaf(&Link(link)));
            }
        }
    }
    tree.root()
}
