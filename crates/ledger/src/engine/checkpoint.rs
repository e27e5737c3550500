//! Checkpoints: the tree as it stands, signed (C2SP tlog-checkpoint) and recorded.
//!
//! Nobody sees a note before its event is durable, and the rules take only larger trees. So no two
//! checkpoints can contradict each other as long as the ledger is not set back. That the anchor finds;
//! and should it be overruled, this node still signs nothing unless the ledger has what it signed
//! last.

use bailiwick_core::command::{Answer, Command, Refusal, RefusalCode, Submission};
use bailiwick_core::event::{Actor, CheckpointSigned};
use bailiwick_core::id::Text;
use bailiwick_core::record::note::Checkpoint;

use super::Ledger;

impl Ledger {
    /// Signs the tree of all events so far and records that; gives the index of the event with it.
    /// Where nothing was recorded since but other checkpoints and sealed segments, the last one is
    /// given again.
    ///
    /// # Errors
    /// [`Refusal`]: `unavailable` when it cannot be recorded now, or when another process writes the
    /// ledger; `wrong_state` when the ledger lacks what this node signed last, or its origin cannot be
    /// the name of a key.
    pub async fn checkpoint(&self) -> Result<(u64, CheckpointSigned), Refusal> {
        let shared = &self.inner.shared;
        let mut noted = shared.signing.lock().await;
        let head = shared.tail.head();
        let (tree, last, is_news) = shared.projector.read(head.entry, |projection| {
            let origin =
                projection.state.ledger().map_or_else(String::new, |l| l.origin.to_string());
            let (size, root) = (projection.tree.size(), projection.tree.root());
            let last = projection.state.checkpoint().map(|(index, last)| (index, last.clone()));
            (Checkpoint { origin, size, root }, last, !projection.state.has_no_news())
        });
        if tree.size < head.next_index {
            let message = "the state lags behind the ledger; try again in a moment";
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        }
        if let Some(noted) = &*noted
            && !last.as_ref().is_some_and(|(_, last)| agree(last, noted))
        {
            let size = noted.size;
            let message = format!(
                "this node signed a tree of {size} events that the ledger does not have: it was set \
                 back; compare its checkpoint with another node's"
            );
            return Err(Refusal::new(RefusalCode::WrongState, message));
        }
        if let (Some(last), false) = (last, is_news) {
            return Ok(last);
        }
        let unnameable = |why: String| Refusal::new(RefusalCode::WrongState, why);
        let note = tree.sign(shared.home.signing()).map_err(|e| unnameable(e.to_string()))?;
        let note = Text::new(&note).map_err(|e| unnameable(e.to_string()))?;
        let signed = CheckpointSigned { size: tree.size, root: tree.root, note };
        let command = Command::RecordCheckpoint(signed.clone());
        let told = Submission { actor: Actor::System, request: None, trace: None, command };
        let reply = self.submit(told).await;
        match reply.answer {
            Answer::Done(done) if reply.durable => {
                shared.keeper.checkpoint(signed.note.to_string());
                *noted = Some(tree);
                Ok((done.index, signed))
            }
            Answer::Refused(refusal) => Err(refusal),
            Answer::Done(_) | Answer::Decided(_) => {
                Err(Refusal::new(RefusalCode::Unavailable, "the checkpoint could not be recorded"))
            }
        }
    }
}

/// Whether the ledger's last checkpoint is the one that this node signed last, or one after it.
fn agree(last: &CheckpointSigned, noted: &Checkpoint) -> bool {
    last.size > noted.size || (last.size, last.root) == (noted.size, noted.root)
}
