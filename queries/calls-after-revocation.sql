-- question: Was any call allowed that a revocation before it covers? There must be none.
-- parameters: none
-- controls: SOC 2 CC6.2, CC6.3; ISO 27001 A.5.18; NIST 800-53 AC-2, AC-3, AU-10; EU AI Act 26(6)
--
-- A call breaks a revocation when its grant was issued before it, or when it came while the
-- revocation's suspension had not been lifted. Every selector but a resource is compared for
-- equality, so that the join stays cheap over many calls.
with allowed as (
    select c.seq, c.grant_id, c.agent_id, c.owner_id, c.task_id, c.server || '/' || c.tool as tool_id, c.resource, g.seq as grant_seq
    from calls c
    join grants g on g.grant_id = c.grant_id
    where c.decision = 'allow'
),
named as (
    select seq, 'grant' as selector, grant_id as selector_id from allowed
    union all select seq, 'agent', agent_id from allowed
    union all select seq, 'owner', owner_id from allowed
    union all select seq, 'task', task_id from allowed
    union all select seq, 'tool', tool_id from allowed
    union all select seq, 'all', '' from allowed
),
matched as (
    select n.seq, r.seq as revocation_seq
    from named n
    join revocations r on r.selector = n.selector and coalesce(r.selector_id, '') = n.selector_id
    where n.seq > r.seq
    union all
    select a.seq, r.seq
    from allowed a
    join revocations r on a.seq > r.seq
    where r.selector = 'resource'
      and (a.resource = r.selector_id
        or starts_with(a.resource, r.selector_id || case when ends_with(r.selector_id, '/') then '' else '/' end))
)
select c.seq, c.ts, c.agent_id, c.action, c.resource, c.grant_id, r.revocation_id, r.selector, r.selector_id, r.ts as revoked_at, r.lifted_at
from matched m
join allowed a on a.seq = m.seq
join calls c on c.seq = m.seq
join revocations r on r.seq = m.revocation_seq
where a.grant_seq < r.seq
   or (r.suspend and (r.lifted_seq is null or c.seq < r.lifted_seq))
order by c.seq, r.seq
