//! `segments`: one row a sealed segment, as the archive's manifest has it.

use bailiwick_core::time::Time;

use super::sheet::{Sheet, columns};
use super::whole::Row;
use crate::archive::manifest::Segment;

columns! {
    /// The columns of `segments`.
    SegmentColumn {
        Seq "seq" Int always; Ts "ts" Time always; LastSeq "last_seq" Int always; LastTs "last_ts" Time always;
        LastEntry "last_entry" Int always; Rows "rows" Int always; Bytes "bytes" Int always;
        DerivedBytes "derived_bytes" Int always; Sha256 "sha256" Bytes32 always;
        LinkBefore "link_before" Bytes32; LinkAfter "link_after" Bytes32 always; Root "root" Bytes32 always;
        File "file" Name always; SealedAt "sealed_at" Time always; Kept "kept" Flag always;
    }
}

/// A segment, and whether its files are still kept.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) segment: Segment,
    pub(crate) kept: bool,
}

impl Row for Listed {
    type Columns = SegmentColumn;

    fn write(&self, _: Time, row: &mut Sheet<SegmentColumn>) {
        use SegmentColumn as C;
        let Segment { events, .. } = &self.segment;
        let moment = |micros: i64| Time(u64::try_from(micros).unwrap_or(0).saturating_mul(1_000));
        row.set(C::Seq, self.segment.first);
        row.set(C::Ts, moment(events.ts.0));
        row.set(C::LastSeq, self.segment.last);
        row.set(C::LastTs, moment(events.ts.1));
        row.set(C::LastEntry, self.segment.entry);
        row.set(C::Rows, events.rows);
        row.set(C::Bytes, events.bytes);
        let all: u64 = self.segment.files().map(|file| file.bytes).sum();
        row.set(C::DerivedBytes, all - events.bytes);
        row.set(C::Sha256, &events.sha256);
        row.set_some(
            C::LinkBefore,
            self.segment.link_before.as_ref().map(|link| link.0.as_slice()),
        );
        row.set(C::LinkAfter, self.segment.link_after.0.as_slice());
        row.set(C::Root, self.segment.root.0.as_slice());
        row.set(C::File, events.name.as_str());
        row.set(C::SealedAt, self.segment.sealed_at);
        row.set(C::Kept, self.kept);
    }
}
