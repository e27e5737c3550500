-- question: Which agents are refused, for what reason, how often, and since when?
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- controls: SOC 2 CC7.2; ISO 27001 A.8.15; NIST 800-53 AU-6, AC-3; PCI DSS 10.2
select owner_id, agent_id, reason, count(*) as denials, count(distinct action) as actions, count(distinct resource) as resources, min(ts) as first_at, max(ts) as last_at
from calls
where decision = 'deny' and ts >= $since
group by owner_id, agent_id, reason
order by denials desc, owner_id, agent_id, reason
