-- question: Who was asked to approve what, what did they say, and how long did it take?
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- controls: SOC 2 CC6.2, CC6.3; ISO 27001 A.5.15, A.5.18; NIST 800-53 AC-2, AC-3; EU AI Act 19, 26(6)
with answered as (
    select approval_id, ts, kind, approver_id, justification,
        row_number() over (partition by approval_id order by seq) as nth
    from events
    where kind in ('approval.granted', 'approval.denied', 'approval.expired', 'approval.withdrawn')
),
issued as (
    select approval_id, min(grant_id) as grant_id
    from events
    where kind = 'grant.issued' and approval_id is not null
    group by approval_id
)
select q.approval_id, q.ts as asked_at, q.owner_id, q.agent_id, q.action, q.resource, coalesce(split_part(a.kind, '.', 2), 'waiting') as answer, a.nth, a.approver_id, a.ts as answered_at, date_part('epoch', a.ts) - date_part('epoch', q.ts) as waited_s, a.justification, i.grant_id
from events q
left join answered a on a.approval_id = q.approval_id
left join issued i on i.approval_id = q.approval_id and a.kind = 'approval.granted'
where q.kind = 'approval.requested' and q.ts >= $since
order by q.seq, a.nth
