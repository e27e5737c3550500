//! When another writer has taken up the ledger: this process follows what that one writes, refuses
//! what it cannot record, still takes revocations in force, and takes the ledger up again once the
//! other is silent and there is something to record.
//!
//! Correctness rests on the expected head alone: whoever appends there first is the writer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_core::command::Command;
use bailiwick_core::enforce::LEASE;
use bailiwick_core::record::{KeyRing, Signatures};

use super::batch::{Batch, Step};
use super::deliver::refuse;
use super::queue::Waiting;
use super::run::{Engine, Going, LOOK_EVERY};
use crate::Error;
use crate::error::report;
use crate::log::Reader;
use crate::replay::{self, Verified};

/// For how long the head has to stand still before a follower takes up the ledger.
const SILENCE: Duration = Duration::from_millis(LEASE.0);

/// What this process is to the ledger.
pub(super) enum Role {
    Writer,
    Follower(Following),
}

/// Where a follower stands, besides its state and position.
pub(super) struct Following {
    reader: Arc<dyn Reader>,
    /// The keys that may sign the next entry.
    keys: KeyRing,
    /// When the head was last seen to have moved.
    moved: Instant,
    /// Whether the log had more than was read the last time.
    pub(super) is_behind: bool,
}

impl Engine {
    /// Another writer was faster. What was decided and not recorded has not happened: the state is
    /// taken back to what is committed, and `undone` is handled as a follower does.
    pub(super) fn overtaken(&mut self, undone: Vec<Waiting>) -> Going {
        let shared = Arc::clone(&self.shared);
        shared.standing.lose();
        let keys;
        // A projector that lags behind is no harm: what it lacks is read from the log again.
        (self.state, self.position, keys) =
            shared.projector.read(shared.tail.head().entry, |committed| {
                (committed.state.clone(), committed.position, committed.keys.clone())
            });
        let (reader, moved) = (self.log.reader(), Instant::now());
        self.role = Role::Follower(Following { reader, keys, moved, is_behind: true });
        tracing::warn!(entry = self.position.entry_number, "another writer took up the ledger");
        match self.follow(undone) {
            Going::On | Going::Overtaken => Going::Overtaken,
            Going::Stopped => Going::Stopped,
        }
    }

    /// One round of a follower.
    pub(super) fn follow(&mut self, commands: Vec<Waiting>) -> Going {
        self.heed_operator();
        let asks = commands.iter().any(|one| !one.is_revocation() && one.in_force.is_none());
        let is_due = self.until_look().is_zero() || asks && self.is_silent();
        let away = match if is_due { self.read_on() } else { Ok(()) } {
            Ok(()) => None,
            Err(Error::Unavailable { what }) => Some(what),
            Err(error) => return self.halt(commands, report(&error)),
        };
        let why = self.why_not_writer(away.as_deref());
        *self.shared.trouble() = Some(why.clone());
        let (revocations, others): (Vec<_>, Vec<_>) = commands
            .into_iter()
            .filter(|one| one.in_force.is_none())
            .partition(Waiting::is_revocation);
        self.take_in_force(revocations);
        let is_at_head = is_due && away.is_none() && !self.has_more();
        if is_at_head && self.is_silent() && (asks || !self.overlay.is_empty()) {
            return self.take_over(others);
        }
        refuse(others, &why);
        Going::On
    }

    /// Handles what was not decided any more.
    pub(super) fn turn_away(&mut self, commands: Vec<Waiting>) -> Going {
        match self.follow(commands) {
            Going::On | Going::Overtaken => Going::Overtaken,
            Going::Stopped => Going::Stopped,
        }
    }

    /// Whether the head has stood still for so long that its writer counts as gone.
    fn is_silent(&self) -> bool {
        match &self.role {
            Role::Writer => false,
            Role::Follower(following) => following.moved.elapsed() >= SILENCE,
        }
    }

    fn why_not_writer(&self, away: Option<&str>) -> String {
        let epoch = self.state.epoch();
        let mut why = format!(
            "another writer took up the ledger as epoch {epoch}; this process follows it, and takes \
             the ledger up again when nothing was written for {LEASE} and there is something to \
             record"
        );
        if let Some(away) = away {
            why.push_str("; the log is away: ");
            why.push_str(away);
        }
        why
    }

    /// Reads what the other has written, for a while at most, verifies it and makes it visible.
    fn read_on(&mut self) -> Result<(), Error> {
        let Role::Follower(following) = &mut self.role else { return Ok(()) };
        self.looked = Instant::now();
        following.is_behind = false;
        let head = self.log.head()?;
        let (reader, mut keys) = (Arc::clone(&following.reader), following.keys.clone());
        while self.position.entry_number < head && self.looked.elapsed() < LOOK_EVERY {
            let mut position = self.position;
            let signatures = Signatures::Check;
            let batch =
                replay::read_on(self.ledger, &mut position, &mut keys, signatures, &*reader)?;
            if batch.is_empty() {
                break;
            }
            for verified in batch {
                self.take_in(verified);
            }
            if let Role::Follower(following) = &mut self.role {
                (following.keys, following.moved) = (keys.clone(), Instant::now());
            }
        }
        let reached = self.position.entry_number;
        if let Role::Follower(following) = &mut self.role {
            following.is_behind = reached < head;
        }
        if reached > head {
            let what = format!("it ends at entry {head}, shorter than it was");
            return Err(Error::Unavailable { what });
        }
        Ok(())
    }

    fn take_in(&mut self, Verified { entry, position, .. }: Verified) {
        for recorded in &entry.events {
            self.state.apply(recorded.place, &recorded.event);
        }
        self.position = position;
        self.clock.follow(position.last_time);
        if entry.number > self.shared.tail.head().entry {
            self.publish(entry);
        }
    }

    /// Becomes the writer, if nobody is faster, and records what there is: first the revocations in
    /// force.
    fn take_over(&mut self, mut waiting: Vec<Waiting>) -> Going {
        if self.clock.unsure().is_some() {
            self.refuse_unsure(waiting);
            return Going::On;
        }
        let epoch = self.state.epoch() + 1;
        let now = self.clock.read();
        let mut batch = Batch::begin(self.ledger, &self.position, epoch);
        let start = Waiting::by_system(Command::StartWriter { epoch });
        if let Step::Full(_) = batch.take(&mut self.state, start, now, &mut self.chance) {
            unreachable!("one small event fits an entry");
        }
        match self.commit(batch) {
            Going::On => {}
            Going::Overtaken => return self.turn_away(waiting),
            Going::Stopped => {
                let why = self.shared.trouble().clone().unwrap_or_default();
                refuse(waiting, &why);
                return Going::Stopped;
            }
        }
        tracing::info!(epoch, "took up the ledger");
        self.epoch = epoch;
        self.role = Role::Writer;
        self.shared.standing.take_up();
        self.vouch(self.looked);
        *self.shared.trouble() = None;
        // It may have taken a while; what nobody waits for any more was refused.
        waiting.retain(Waiting::is_wanted);
        self.write(waiting)
    }
}
