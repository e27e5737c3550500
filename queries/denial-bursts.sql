-- question: When was an agent refused unusually often in a short time?
-- parameter: $count bigint = 20; how many refusals
-- parameter: $seconds bigint = 60; within how many seconds
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- controls: SOC 2 CC7.2; ISO 27001 A.8.15; NIST 800-53 AU-6; PCI DSS 10.2; EU AI Act 26(6)
--
-- Windows of `count` refusals that overlap are one burst.
with denied as (
    select agent_id, seq, ts, row_number() over (partition by agent_id order by seq) as nth
    from calls
    where decision = 'deny' and ts >= $since
),
windows as (
    select l.agent_id, f.nth as first_nth, l.nth as last_nth,
        lag(l.nth) over (partition by l.agent_id order by l.nth) as before
    from denied l
    join denied f on f.agent_id = l.agent_id and f.nth = l.nth - $count + 1
    where date_part('epoch', l.ts) - date_part('epoch', f.ts) <= $seconds
),
bursts as (
    select agent_id, first_nth, last_nth,
        sum(case when before >= first_nth then 0 else 1 end) over (partition by agent_id order by last_nth) as burst
    from windows
),
spans as (
    select agent_id, min(first_nth) as first_nth, max(last_nth) as last_nth from bursts group by agent_id, burst
)
select s.agent_id, s.last_nth - s.first_nth + 1 as denials, f.ts as first_at, l.ts as last_at, f.seq as first_seq, l.seq as last_seq
from spans s
join denied f on f.agent_id = s.agent_id and f.nth = s.first_nth
join denied l on l.agent_id = s.agent_id and l.nth = s.last_nth
order by f.seq
