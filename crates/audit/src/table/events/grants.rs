//! Cells of grants, from request to end, and of revocations.

use bailiwick_core::event::{
    GrantDenied, GrantEnded, GrantIssued, GrantRequested, GrantReturned, RevocationEnforced,
    RevocationIssued, Selector, SuspensionLifted,
};
use bailiwick_core::id::{GrantId, RevocationId};

use super::{Cells, EventColumn as C, calls::tool, joined};
use crate::table::sheet::Sheet;

impl Cells for GrantRequested {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::AgentId, &self.agent);
        row.set(C::OwnerId, &self.owner);
        row.set_some(C::TaskId, self.task);
        row.set(C::Action, &self.action);
        row.set(C::Resource, self.scope.to_string());
        row.set(C::MaxUses, self.max_uses);
        row.set_some(C::Justification, self.justification.as_ref());
    }
}

impl Cells for GrantIssued {
    fn write(&self, index: u64, row: &mut Sheet<C>) {
        let id = GrantId(index);
        row.set(C::GrantId, id);
        row.set_some(C::ParentGrantId, self.parent);
        if self.parent.is_none() {
            row.set(C::RootGrantId, id);
            row.set(C::Depth, 0u8);
        }
        row.set_some(C::ApprovalId, self.approval);
        row.set_some(C::AgentId, self.agent.as_ref());
        row.set(C::OwnerId, &self.owner);
        row.set_some(C::TaskId, self.task);
        tool(row, self.tool.as_ref());
        row.set(C::Action, &self.action);
        row.set(C::Resource, self.scope.to_string());
        row.set(C::ValidFrom, self.not_before);
        row.set(C::ValidTo, self.expires_at);
        row.set(C::MaxUses, self.max_uses);
        row.set_some(C::RuleIds, joined(&self.policies));
        row.set(C::PolicyHash, &self.policy_hash);
        row.set_some(C::Justification, self.justification.as_ref());
    }
}

impl Cells for GrantDenied {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::CauseSeq, self.request.0);
        row.set(C::Decision, "deny");
        row.set(C::Reason, self.code.as_str());
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for GrantReturned {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::GrantId, self.grant);
    }
}

impl Cells for GrantEnded {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::GrantId, self.grant);
    }
}

impl Cells for RevocationIssued {
    fn write(&self, index: u64, row: &mut Sheet<C>) {
        row.set(C::RevocationId, RevocationId(index));
        selector(row, &self.selector);
        row.set(C::Reason, &self.reason_code);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

impl Cells for SuspensionLifted {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        selector(row, &self.selector);
        row.set_some(C::Justification, self.reason.as_ref());
    }
}

/// Who acknowledged and whose lease ran out is in `detail`.
impl Cells for RevocationEnforced {
    fn write(&self, _: u64, _: &mut Sheet<C>) {}
}

/// What a selector names goes into the column where calls and grants have it.
fn selector(row: &mut Sheet<C>, selector: &Selector) {
    match selector {
        Selector::Grant(id) => row.set(C::GrantId, *id),
        Selector::Agent(id) => row.set(C::AgentId, id),
        Selector::Owner(id) => row.set(C::OwnerId, id),
        Selector::Task(id) => row.set(C::TaskId, *id),
        Selector::Tool(id) => tool(row, Some(id)),
        Selector::Resource(id) => row.set(C::Resource, id),
        Selector::All => {}
    }
}
