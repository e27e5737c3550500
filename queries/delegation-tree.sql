-- question: Which grants were passed on to other agents, to whom, and what was done with them?
-- parameter: $grant text = null; any grant of the tree; without it every tree
-- controls: SOC 2 CC6.3; ISO 27001 A.5.15, A.5.18; NIST 800-53 AC-3, AC-6; EU AI Act 26(6)
with trees as (
    select distinct root_grant_id from grants where depth > 0
),
wanted as (
    select root_grant_id from grants where grant_id = $grant
)
select g.root_grant_id, g.depth, g.grant_id, g.parent_grant_id, g.owner_id, g.agent_id, g.action, g.resource, g.valid_from, g.valid_to, g.status, g.ended_by, g.uses, g.denied, g.last_used
from trees t
join grants g on g.root_grant_id = t.root_grant_id
left join wanted w on w.root_grant_id = g.root_grant_id
where $grant is null or w.root_grant_id is not null
order by g.root_grant_id, g.depth, g.seq
