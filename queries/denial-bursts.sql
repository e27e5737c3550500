-- question: When was an agent refused unusually often in a short time?
-- parameter: $count bigint = 20; how many refusals
-- parameter: $seconds bigint = 60; within how many seconds
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- controls: SOC 2 CC7.2; ISO 27001 A.8.15; NIST 800-53 AU-6; PCI DSS 10.2; EU AI Act 26(6)
--
-- Windows of `count` refusals that overlap are one burst.
with denied as (
    select agent_id, seq, ts,
        row_number() over (partition by agent_id order by seq) as nth,
        lag(seq, $count - 1) over (partition by agent_id order by seq) as first_seq,
        lag(ts, $count - 1) over (partition by agent_id order by seq) as first_ts
    from calls
    where decision = 'deny' and ts >= $since
),
windows as (
    select agent_id, seq, ts, nth, first_seq, first_ts,
        lag(nth) over (partition by agent_id order by nth) as before
    from denied
    where first_seq is not null and date_part('epoch', ts) - date_part('epoch', first_ts) <= $seconds
),
bursts as (
    select agent_id, seq, ts, nth, first_seq, first_ts,
        sum(case when nth - before < $count then 0 else 1 end) over (partition by agent_id order by nth) as burst
    from windows
)
select agent_id, max(nth) - min(nth) + $count as denials, min(first_ts) as first_at, max(ts) as last_at, min(first_seq) as first_seq, max(seq) as last_seq
from bursts
group by agent_id, burst
order by first_seq
