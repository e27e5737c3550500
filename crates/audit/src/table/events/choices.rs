//! Cells of approvals, tools, delegates, reviews and settings. What has no column is in `detail`.

use bailiwick_core::event::{
    AccessReviewed, AgentReassigned, ApprovalDenied, ApprovalExpired, ApprovalGranted,
    ApprovalRequested, ApprovalWithdrawn, BreakglassUsed, CheckpointSigned, ConfigChanged,
    DelegateAdded, DelegateRemoved, DenialsAggregated, QueryRun, RiskChanged, SchemaPut,
    SegmentSealed, ToolChanged, ToolPinned, ToolUnpinned,
};
use bailiwick_core::id::ApprovalId;

use super::calls::{call, tool};
use super::{Cells, EventColumn as C, joined};
use crate::table::sheet::Sheet;

impl Cells for ConfigChanged {
    fn write(&self, _: u64, _: &mut Sheet<C>) {}
}

impl Cells for DenialsAggregated {
    fn write(&self, _: u64, _: &mut Sheet<C>) {}
}

/// Which question, by which door and as of which event is in `detail`.
impl Cells for QueryRun {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::Outcome, self.outcome.as_str());
        row.set_some(C::Reason, self.code.as_ref());
        row.set(C::LatencyUs, 1_000 * u64::from(self.milliseconds));
        row.set(C::BytesOut, self.bytes);
    }
}

impl Cells for SegmentSealed {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::BytesOut, self.bytes);
        row.set(C::ResultDigest, &self.file);
    }
}

/// The tree's size and the note are in `detail`.
impl Cells for CheckpointSigned {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::ResultDigest, self.root.0.as_slice());
    }
}

impl Cells for DelegateAdded {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::OwnerId, &self.owner);
        row.set_some(C::ValidTo, self.expires_at);
    }
}

impl Cells for DelegateRemoved {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::OwnerId, &self.owner);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for AgentReassigned {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::AgentId, &self.agent);
        row.set(C::OwnerId, &self.to);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for ToolPinned {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        tool(row, Some(&self.tool));
    }
}

impl Cells for ToolUnpinned {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        tool(row, Some(&self.tool));
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for ToolChanged {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        tool(row, Some(&self.tool));
    }
}

impl Cells for SchemaPut {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::Action, &self.action);
    }
}

impl Cells for AccessReviewed {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::GrantId, self.grant);
        row.set(C::OwnerId, &self.owner);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for BreakglassUsed {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::GrantId, self.grant);
        row.set_some(C::AgentId, self.agent.as_ref());
        row.set(C::OwnerId, &self.owner);
        row.set(C::Action, &self.action);
        row.set(C::Resource, &self.resource);
        row.set_some(C::RuleIds, joined(&self.policies));
        row.set(C::Justification, &self.justification);
    }
}

impl Cells for ApprovalRequested {
    fn write(&self, index: u64, row: &mut Sheet<C>) {
        call(row, &self.call);
        row.set(C::ApprovalId, ApprovalId(index));
        row.set(C::OwnerId, &self.owner);
        row.set(C::Resource, self.scope.to_string());
        row.set(C::MaxUses, self.max_uses);
        row.set(C::ValidTo, self.expires_at);
        row.set_some(C::RuleIds, joined(&self.policies));
        row.set(C::PolicyHash, &self.policy_hash);
    }
}

impl Cells for ApprovalGranted {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::ApprovalId, self.approval);
        row.set(C::ApproverId, &self.by);
        row.set(C::Decision, "allow");
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for ApprovalDenied {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::ApprovalId, self.approval);
        row.set(C::ApproverId, &self.by);
        row.set(C::Decision, "deny");
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for ApprovalExpired {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::ApprovalId, self.approval);
    }
}

impl Cells for ApprovalWithdrawn {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::ApprovalId, self.approval);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for RiskChanged {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::AgentId, &self.agent);
        row.set(C::Risk, f64::from(self.to));
        row.set_some(C::Justification, self.reason.as_ref());
    }
}
