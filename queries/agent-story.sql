-- question: What happened to one agent, in order, and why?
-- parameter: $agent text; whose story
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- parameter: $until timestamptz = now; the first moment that does not
-- controls: SOC 2 CC7.2; ISO 27001 A.8.15; NIST 800-53 AU-3, AU-6, AU-12; EU AI Act 12, 26(6); HIPAA 164.312(b)
--
-- Beside events that name the agent: answers to its approvals, and whatever ended a grant of its,
-- such as a revocation of its owner. A row of `grant.issued` has from when to when the grant was
-- good, and what ended it.
with held as (
    select seq, valid_from, valid_to, ended_by, ended_seq from grants where agent_id = $agent
),
asked as (
    select approval_id from events where kind = 'approval.requested' and agent_id = $agent
)
select e.seq, e.ts, e.kind, e.actor_id, e.approver_id, e.grant_id, e.approval_id, e.server, e.tool, e.action, e.resource, e.decision, e.reason, e.outcome, e.rule_ids, coalesce(e.justification, e.purpose) as why, e.cause_seq, h.valid_from, h.valid_to, h.ended_by
from events e
left join held h on h.seq = e.seq
where e.ts >= $since and e.ts < $until
  and (e.agent_id = $agent
    or e.approval_id in (select approval_id from asked)
    or e.seq in (select ended_seq from held where ended_seq is not null))
order by e.seq
