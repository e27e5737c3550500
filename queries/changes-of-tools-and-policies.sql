-- question: Which tools, policies, input schemas and settings changed, when, by whom, and why?
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- parameter: $until timestamptz = now; the first moment that does not
-- controls: SOC 2 CC6.1, CC7.2; ISO 27001 A.8.15; NIST 800-53 AU-2, AU-12; PCI DSS 10.2; EU AI Act 12, 19
select seq, ts, kind, actor_id, actor_kind, case when tool is null then coalesce(rule_ids, action) else server || '/' || tool end as what, policy_hash, justification, detail
from events
where kind in ('policy.put', 'policy.removed', 'policies.activated', 'schema.put', 'tool.pinned', 'tool.unpinned', 'tool.changed', 'config.changed')
  and ts >= $since and ts < $until
order by seq
