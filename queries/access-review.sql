-- question: What may an owner's agents do now, how much of it do they use, and who last looked at it?
-- parameter: $owner text = null; whose agents; without it every owner's
-- parameter: $at timestamptz = now; the moment
-- controls: SOC 2 CC6.2, CC6.3; ISO 27001 A.5.15, A.5.18; NIST 800-53 AC-2, AC-6; PCI DSS 7.2.4
with looked as (
    select grant_id, ts, actor_id, justification,
        row_number() over (partition by grant_id order by seq desc) as back
    from events
    where kind = 'access.reviewed' and ts <= $at
)
select g.owner_id, g.agent_id, g.action, g.resource, g.grant_id, g.issuance, g.valid_from, g.expires_at, g.max_uses, g.uses, g.denied, g.last_used, l.ts as reviewed_at, l.actor_id as reviewed_by, l.justification as review_reason
from grants g
left join looked l on l.grant_id = g.grant_id and l.back = 1
where g.valid_from <= $at and g.valid_to > $at and ($owner is null or g.owner_id = $owner)
order by g.owner_id, g.agent_id, g.seq
