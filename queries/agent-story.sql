-- question: What happened to one agent, in order, and why?
-- parameter: $agent text; whose story
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- parameter: $until timestamptz = now; the first moment that does not
-- controls: SOC 2 CC7.2; ISO 27001 A.8.15; NIST 800-53 AU-3, AU-6, AU-12; EU AI Act 12, 26(6); HIPAA 164.312(b)
--
-- A revocation counts when it names the agent or everything; the grants that others ended are in
-- `grants`.
select seq, ts, kind, actor_id, grant_id, approval_id, server, tool, action, resource, decision, reason, outcome, rule_ids, coalesce(justification, purpose) as why, cause_seq
from events
where ts >= $since and ts < $until
  and (agent_id = $agent
    or (kind = 'revocation.issued' and agent_id is null and owner_id is null and grant_id is null
      and task_id is null and tool is null and resource is null))
order by seq
