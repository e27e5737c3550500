//! Cells of everything that is neither a grant nor a call.

use bailiwick_core::event::{
    AgentReinstated, AgentRetired, AgentSuspended, AgentWritten, CredentialIssued,
    CredentialLimited, CredentialRevoked, Entity, EntityPut, EntityRemoved, FindingRaised,
    KeyRotated, LedgerCreated, OwnerDisabled, OwnerEnabled, OwnerWritten, PoliciesActivated,
    PolicyPut, PolicyRemoved, TaskClosed, TaskOpened, WriterStarted,
};
use bailiwick_core::id::TaskId;

use super::{Cells, EventColumn as C};
use crate::table::sheet::Sheet;

impl Cells for LedgerCreated {
    fn write(&self, _: u64, _: &mut Sheet<C>) {}
}

impl Cells for WriterStarted {
    fn write(&self, _: u64, _: &mut Sheet<C>) {}
}

impl Cells for KeyRotated {
    fn write(&self, _: u64, _: &mut Sheet<C>) {}
}

impl Cells for OwnerWritten {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::OwnerId, &self.owner);
    }
}

impl Cells for OwnerDisabled {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::OwnerId, &self.owner);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for OwnerEnabled {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::OwnerId, &self.owner);
    }
}

impl Cells for AgentWritten {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::AgentId, &self.agent);
        row.set(C::OwnerId, &self.owner);
        row.set(C::Purpose, &self.settings.purpose);
        row.set_some(C::ValidTo, self.settings.expires_at);
    }
}

impl Cells for AgentSuspended {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::AgentId, &self.agent);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for AgentReinstated {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::AgentId, &self.agent);
    }
}

impl Cells for AgentRetired {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::AgentId, &self.agent);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for EntityPut {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        entity(row, &self.entity);
    }
}

impl Cells for EntityRemoved {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        entity(row, &self.entity);
    }
}

/// What has the properties; these are in `detail`.
fn entity(row: &mut Sheet<C>, entity: &Entity) {
    match entity {
        Entity::Owner(id) => row.set(C::OwnerId, id),
        Entity::Agent(id) => row.set(C::AgentId, id),
        Entity::Resource(id) => row.set(C::Resource, id),
    }
}

impl Cells for PolicyPut {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::RuleIds, &self.policy);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for PolicyRemoved {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::RuleIds, &self.policy);
    }
}

impl Cells for PoliciesActivated {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::PolicyHash, &self.hash);
    }
}

impl Cells for CredentialIssued {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set_some(C::AgentId, self.agent.as_ref());
        row.set_some(C::ValidTo, self.expires_at);
    }
}

impl Cells for CredentialRevoked {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for CredentialLimited {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::ValidTo, self.expires_at);
    }
}

impl Cells for TaskOpened {
    fn write(&self, index: u64, row: &mut Sheet<C>) {
        row.set(C::TaskId, TaskId(index));
        row.set(C::AgentId, &self.agent);
        row.set(C::OwnerId, &self.owner);
    }
}

impl Cells for TaskClosed {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::TaskId, self.task);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for FindingRaised {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::AgentId, &self.agent);
        row.set_some(C::TaskId, self.task);
        row.set(C::Score, millionths(self.score));
        row.set(C::Justification, &self.summary);
    }
}

/// A count of millionths as a number; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "scores are a few millions at most")]
pub(crate) fn millionths(count: u64) -> f64 {
    count as f64 / 1_000_000.0
}
