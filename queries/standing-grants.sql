-- question: What could each agent do at a given moment, on whose authority, and until when?
-- parameter: $at timestamptz = now; the moment
-- controls: SOC 2 CC6.1, CC6.2, CC6.3; ISO 27001 A.5.15, A.5.18; NIST 800-53 AC-2, AC-3, AC-6; PCI DSS 7.2.4
select owner_id, agent_id, action, resource, grant_id, valid_from, valid_to, expires_at, issuance, rule_ids, justification
from grants
where valid_from <= $at and valid_to > $at
order by owner_id, agent_id, action, resource, seq
