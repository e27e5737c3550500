-- question: Which grants were issued and never used?
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- parameter: $until timestamptz = now; the first moment that does not
-- controls: SOC 2 CC6.2, CC6.3; ISO 27001 A.5.18; NIST 800-53 AC-2, AC-6; PCI DSS 7.2.4
select owner_id, agent_id, action, resource, grant_id, issuance, ts as issued_at, valid_to, ended_by, denied, justification
from grants
where uses = 0 and ts >= $since and ts < $until
order by owner_id, agent_id, seq
