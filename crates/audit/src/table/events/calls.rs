//! Cells of calls and what came of them.

use bailiwick_core::event::{Call, CallAuthorized, CallDenied, CallFinished};
use bailiwick_core::id::ToolId;

use super::{Cells, EventColumn as C, joined};
use crate::table::sheet::Sheet;

impl Cells for CallAuthorized {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        call(row, &self.call);
        row.set(C::Decision, "allow");
        row.set(C::GrantId, self.grant);
        row.set(C::ValidTo, self.expires_at);
        row.set_some(C::RuleIds, joined(&self.policies));
        row.set(C::PolicyHash, &self.policy_hash);
    }
}

impl Cells for CallDenied {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        call(row, &self.call);
        row.set(C::Decision, "deny");
        row.set(C::Reason, self.code.as_str());
        row.set_some(C::ApprovalId, self.approval);
        row.set_some(C::GrantId, self.grant);
        row.set_some(C::RuleIds, joined(&self.policies));
        row.set(C::PolicyHash, &self.policy_hash);
    }
}

impl Cells for CallFinished {
    fn write(&self, _: u64, row: &mut Sheet<C>) {
        row.set(C::CauseSeq, self.call.0);
        row.set(C::Outcome, self.outcome.as_str());
        row.set(C::LatencyUs, self.latency_us);
        row.set(C::BytesIn, self.bytes_in);
        row.set(C::BytesOut, self.bytes_out);
        row.set_some(C::ResultDigest, self.result.as_ref());
    }
}

pub(super) fn call(row: &mut Sheet<C>, call: &Call) {
    row.set_some(C::AgentId, call.agent.as_ref());
    row.set_some(C::OwnerId, call.owner.as_ref());
    row.set_some(C::TaskId, call.task);
    row.set_some(C::SessionId, call.session.as_ref());
    tool(row, call.tool.as_ref());
    row.set(C::Action, &call.action);
    row.set(C::Resource, &call.resource);
    row.set_some(C::ArgsCommitment, call.arguments.as_ref());
    row.set_some(C::Justification, call.justification.as_ref());
}

pub(super) fn tool(row: &mut Sheet<C>, tool: Option<&ToolId>) {
    row.set_some(C::Server, tool.map(ToolId::server));
    row.set_some(C::Tool, tool.map(ToolId::tool));
}
