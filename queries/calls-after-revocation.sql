-- question: Was any call allowed that a revocation before it covers? There must be none.
-- controls: SOC 2 CC6.2, CC6.3; ISO 27001 A.5.18; NIST 800-53 AC-2, AC-3, AU-10; EU AI Act 26(6)
--
-- A call breaks a revocation when its grant was issued before it, or when it came while the
-- revocation's suspension had not been lifted. A delegated grant is broken with each of the up to
-- eight above it. Every selector but a resource is compared for equality, so that the join stays
-- cheap over many calls.
with passed as (
    select grant_id, parent_grant_id, agent_id, task_id from grants
),
allowed as (
    select c.seq, c.grant_id, c.agent_id, c.owner_id, c.task_id, c.server || '/' || c.tool as tool_id, c.resource, g.seq as grant_seq, g.parent_grant_id
    from calls c
    join grants g on g.grant_id = c.grant_id
    where c.decision = 'allow'
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
    from allowed s
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
named as (
    select seq, false as of_line, selector,
        case selector when 'grant' then grant_id when 'agent' then agent_id when 'owner' then owner_id
            when 'task' then task_id when 'tool' then tool_id else '' end as selector_id
    from allowed
    cross join (values ('grant'), ('agent'), ('owner'), ('task'), ('tool'), ('all')) as k (selector)
    union all
    select seq, true, selector, case selector when 'grant' then above when 'agent' then agent_id else task_id end
    from lines
    cross join (values ('grant'), ('agent'), ('task')) as k (selector)
),
matched as (
    select n.seq, n.of_line, r.seq as revocation_seq
    from named n
    join revocations r on r.selector = n.selector and coalesce(r.selector_id, '') = n.selector_id
    where n.seq > r.seq
    union all
    select a.seq, false, r.seq
    from allowed a
    join revocations r on a.seq > r.seq
    where r.selector = 'resource'
      and (a.resource = r.selector_id
        or starts_with(a.resource, r.selector_id || case when ends_with(r.selector_id, '/') then '' else '/' end))
)
select distinct c.seq, c.ts, c.agent_id, c.action, c.resource, c.grant_id, r.seq as revocation_seq, r.revocation_id, r.selector, r.selector_id, r.ts as revoked_at, r.lifted_at
from matched m
join allowed a on a.seq = m.seq
join calls c on c.seq = m.seq
join revocations r on r.seq = m.revocation_seq
where a.grant_seq < r.seq
   or (not m.of_line and r.suspend and (r.lifted_seq is null or c.seq < r.lifted_seq))
order by c.seq, revocation_seq
