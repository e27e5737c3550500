-- question: Who did what, on what, was it allowed, and why?
-- controls: SOC 2 CC6.1, CC7.2; ISO 27001 A.8.15; NIST 800-53 AU-2, AU-3, AU-12; PCI DSS 10.2; EU AI Act 12
select ts, owner_id, agent_id, action, resource, decision, reason, justification, grant_id, rule_ids, outcome
from calls
order by seq
