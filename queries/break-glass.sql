-- question: When was a break-glass policy used, by whom, why, and what was done with it?
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- controls: SOC 2 CC6.1, CC7.2; ISO 27001 A.5.18, A.8.15; NIST 800-53 AC-2, AC-6, AU-6; PCI DSS 10.2; HIPAA 164.312(b)
select b.seq, b.ts, b.owner_id, b.agent_id, b.action, b.resource, b.justification, b.rule_ids, b.grant_id, g.uses, g.denied, g.last_used, g.valid_to, g.ended_by
from events b
left join grants g on g.grant_id = b.grant_id
where b.kind = 'breakglass.used' and b.ts >= $since
order by b.seq
