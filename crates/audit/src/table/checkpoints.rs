//! `checkpoints`: one row a checkpoint, as it was signed.

use bailiwick_core::event::{CheckpointSigned, Place};
use bailiwick_core::record::note::Checkpoint;
use bailiwick_core::time::Time;
use bincode::{Decode, Encode};

use super::sheet::{Sheet, columns};
use super::whole::Row;

columns! {
    /// The columns of `checkpoints`. `size` is how many events the tree has: those with `seq < size`.
    CheckpointColumn {
        Seq "seq" Int always; Ts "ts" Time always; Size "size" Int always; Root "root" Bytes32 always;
        Origin "origin" Name; Note "note" Long always;
    }
}

/// A checkpoint, and where it is recorded.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Signed {
    pub(crate) place: Place,
    pub(crate) fact: CheckpointSigned,
}

impl Row for Signed {
    type Columns = CheckpointColumn;

    fn write(&self, _: Time, row: &mut Sheet<CheckpointColumn>) {
        use CheckpointColumn as C;
        row.set(C::Seq, self.place.index);
        row.set(C::Ts, self.place.time);
        row.set(C::Size, self.fact.size);
        row.set(C::Root, self.fact.root.0.as_slice());
        let read = Checkpoint::read(self.fact.note.as_str()).ok();
        row.set_some(C::Origin, read.as_ref().map(|read| read.origin.as_str()));
        row.set(C::Note, self.fact.note.as_str());
    }
}
