//! What the ledger's own doors and keepers record: who was turned away, who asked, what was put away
//! and what was signed. Nothing is decided by it.

use super::{Draft, refuse};
use crate::command::{Answer, Done, RefusalCode};
use crate::event::{
    About, Actor, CheckpointSigned, DenialsAggregated, Fact, QueryRun, REFUSED_MAX, SegmentSealed,
};
use crate::record::note::Checkpoint;

/// How many events old the tree of a checkpoint may be when it is recorded. Whoever verifies a ledger
/// remembers so many roots.
pub const CHECKPOINT_AGE_MAX: u64 = 65_536;

/// What doors turned away, counted.
pub(super) fn refused(draft: &mut Draft<'_>, told: &DenialsAggregated) -> Answer {
    if told.denials.len() > REFUSED_MAX {
        return refuse(RefusalCode::OutOfRange, format!("at most {REFUSED_MAX} refusals at once"));
    }
    draft.done(Fact::DenialsAggregated(told.clone()))
}

/// A question that a door answered, or did not: whoever asked did it, though the door tells of it.
pub(super) fn query(draft: &mut Draft<'_>, by: &Actor, told: &QueryRun) -> Answer {
    let about = About {
        actor: by.clone(),
        on_behalf_of: draft.state.human(by).cloned(),
        cause: None,
        request: None,
        trace: draft.submission.trace,
    };
    let fact = Fact::QueryRun(told.clone());
    let kind = fact.kind();
    let index = draft.push(about, fact);
    Answer::Done(Done { kind, index, grant: None, repeats: None })
}

/// A range of events that is on the ledger.
pub(super) fn segment(draft: &mut Draft<'_>, sealed: &SegmentSealed) -> Answer {
    let holds = sealed.last.checked_sub(sealed.first).and_then(|more| more.checked_add(1));
    if sealed.last >= draft.state.next_index() || holds != Some(sealed.rows) {
        let SegmentSealed { first, last, rows, .. } = sealed;
        let message = format!("{rows} rows are not the events {first} to {last} of this ledger");
        return refuse(RefusalCode::OutOfRange, message);
    }
    draft.done(Fact::SegmentSealed(sealed.clone()))
}

/// The ledger's tree, signed a moment ago. Each is of a larger tree than the one before, so that no
/// two can contradict each other.
pub(super) fn checkpoint(draft: &mut Draft<'_>, signed: &CheckpointSigned) -> Answer {
    let (state, size) = (draft.state, signed.size);
    let next = state.next_index();
    if next.checked_sub(size).is_none_or(|age| age > CHECKPOINT_AGE_MAX) {
        let message = format!(
            "a tree of {size} events is none of the last {CHECKPOINT_AGE_MAX} of a ledger of {next}"
        );
        return refuse(RefusalCode::OutOfRange, message);
    }
    if let Some((_, last)) = state.checkpoint().filter(|(_, last)| last.size >= size) {
        let message = format!("a tree of {} events is signed already", last.size);
        return refuse(RefusalCode::AlreadyExists, message);
    }
    let origin = state.ledger().map(|created| created.origin.as_str());
    let agrees = Checkpoint::read(signed.note.as_str()).is_ok_and(|read| {
        Some(read.origin.as_str()) == origin && read.size == size && read.root == signed.root
    });
    if !agrees {
        let message = "the note is not of this ledger, size and root";
        return refuse(RefusalCode::WrongState, message);
    }
    draft.done(Fact::CheckpointSigned(signed.clone()))
}
