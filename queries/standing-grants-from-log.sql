-- question: What could each agent do at a given moment, told from the events alone?
-- parameter: $at timestamptz = now; the moment
-- controls: SOC 2 CC6.1, CC6.2, CC6.3; ISO 27001 A.5.15, A.5.18; NIST 800-53 AC-2, AC-3, AC-6, AU-10; PCI DSS 7.2.4
--
-- The same as `standing-grants`, which reads a table that was folded from the events, by another
-- way: a grant stands unless something between its issue and the moment ended it, or one of the
-- up to eight that it was delegated from.
with issued as (
    select seq, ts, grant_id, parent_grant_id, owner_id, agent_id, task_id, server || '/' || tool as tool_id, action, resource, valid_from, valid_to, rule_ids, justification
    from events
    where kind = 'grant.issued' and ts <= $at
),
standing as materialized (
    select * from issued where valid_from <= $at and valid_to > $at
),
passed as materialized (
    select grant_id, parent_grant_id, agent_id, task_id
    from issued
    where grant_id in (select parent_grant_id from issued where parent_grant_id is not null)
),
chain as (
    select s.seq, s.grant_id,
        p1.grant_id as g1, p1.agent_id as a1, p1.task_id as t1,
        p2.grant_id as g2, p2.agent_id as a2, p2.task_id as t2,
        p3.grant_id as g3, p3.agent_id as a3, p3.task_id as t3,
        p4.grant_id as g4, p4.agent_id as a4, p4.task_id as t4,
        p5.grant_id as g5, p5.agent_id as a5, p5.task_id as t5,
        p6.grant_id as g6, p6.agent_id as a6, p6.task_id as t6,
        p7.grant_id as g7, p7.agent_id as a7, p7.task_id as t7,
        p8.grant_id as g8, p8.agent_id as a8, p8.task_id as t8
    from standing s
    join passed p1 on p1.grant_id = s.parent_grant_id
    left join passed p2 on p2.grant_id = p1.parent_grant_id
    left join passed p3 on p3.grant_id = p2.parent_grant_id
    left join passed p4 on p4.grant_id = p3.parent_grant_id
    left join passed p5 on p5.grant_id = p4.parent_grant_id
    left join passed p6 on p6.grant_id = p5.parent_grant_id
    left join passed p7 on p7.grant_id = p6.parent_grant_id
    left join passed p8 on p8.grant_id = p7.parent_grant_id
),
lines as (
    select seq, grant_id, case l.level when 1 then g1 when 2 then g2 when 3 then g3 when 4 then g4 when 5 then g5 when 6 then g6 when 7 then g7 when 8 then g8 end as above,
        case l.level when 1 then a1 when 2 then a2 when 3 then a3 when 4 then a4 when 5 then a5 when 6 then a6 when 7 then a7 when 8 then a8 end as agent_id,
        case l.level when 1 then t1 when 2 then t2 when 3 then t3 when 4 then t4 when 5 then t5 when 6 then t6 when 7 then t7 when 8 then t8 end as task_id
    from chain
    cross join (values (1), (2), (3), (4), (5), (6), (7), (8)) as l (level)
),
keys as (
    select grant_id, seq, key,
        case key when 'grant' then grant_id when 'agent' then agent_id when 'owner' then owner_id
            when 'task' then task_id when 'tool' then tool_id else '' end as value
    from standing
    cross join (values ('grant'), ('agent'), ('owner'), ('task'), ('tool'), ('all')) as k (key)
    union all
    select grant_id, seq, key, case key when 'grant' then above when 'agent' then agent_id else task_id end
    from lines
    cross join (values ('grant'), ('agent'), ('task')) as k (key)
),
spent as (
    select seq, grant_id
    from events
    where kind in ('grant.returned', 'grant.exhausted') and ts <= $at
),
ends as materialized (
    select seq,
        case when grant_id is not null then 'grant' when task_id is not null then 'task' when tool is not null then 'tool'
            when resource is not null then 'resource' when agent_id is not null then 'agent' when owner_id is not null then 'owner' else 'all' end as key,
        coalesce(grant_id, task_id, server || '/' || tool, resource, agent_id, owner_id, '') as value
    from events
    where kind in ('revocation.issued', 'agent.suspended', 'agent.retired', 'agent.reassigned', 'owner.disabled', 'task.closed')
      and ts <= $at
),
ended as (
    select k.grant_id
    from keys k
    join spent e on e.grant_id = k.value
    where k.key = 'grant' and e.seq > k.seq
    union
    select k.grant_id
    from keys k
    join ends e on e.key = k.key and e.value = k.value
    where e.seq > k.seq
    union
    select s.grant_id
    from standing s
    join ends e on e.seq > s.seq
    where e.key = 'resource' and (s.resource = e.value or s.resource = e.value || '/**'
        or starts_with(s.resource, e.value || case when ends_with(e.value, '/') then '' else '/' end))
)
select s.owner_id, s.agent_id, s.action, s.resource, s.grant_id, case when s.valid_from > s.ts then s.valid_from else s.ts end as valid_from, s.valid_to as expires_at, s.rule_ids, s.justification
from standing s
left join ended e on e.grant_id = s.grant_id
where e.grant_id is null
order by s.owner_id, s.agent_id, s.action, s.resource, s.seq
