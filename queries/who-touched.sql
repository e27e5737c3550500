-- question: Who touched a resource or anything below it, was it allowed, and on what grounds?
-- parameter: $resource text; which, such as `crm://case/1234`
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- parameter: $until timestamptz = now; the first moment that does not
-- controls: SOC 2 CC6.1, CC7.2; ISO 27001 A.8.15; NIST 800-53 AU-3, AU-6, AU-12; PCI DSS 10.2; EU AI Act 12, 26(6); HIPAA 164.312(b)
select c.ts, c.owner_id, c.agent_id, c.on_behalf_of, c.action, c.resource, c.decision, c.reason, c.outcome, c.grant_id, g.issuance, g.approval_id, c.rule_ids, c.justification
from calls c
left join grants g on g.grant_id = c.grant_id
where c.ts >= $since and c.ts < $until
  and (c.resource = $resource
    or starts_with(c.resource, $resource || case when ends_with($resource, '/') then '' else '/' end))
order by c.seq
