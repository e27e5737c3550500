-- question: How long does it take until what was taken back can be used nowhere?
-- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
-- controls: SOC 2 CC6.2, CC6.3; ISO 27001 A.5.18; NIST 800-53 AC-2; EU AI Act 26(6)
--
-- Percentiles are exact: the least latency that so many revocations do not exceed.
with ranked as (
    select selector, enforced_ms, points_acknowledged, points_expired,
        row_number() over (partition by selector order by enforced_ms nulls last) as nth,
        count(enforced_ms) over (partition by selector) as enforced
    from revocations
    where ts >= $since
)
select selector, count(*) as revocations, max(enforced) as enforced, min(case when nth * 2 >= enforced then enforced_ms end) as p50_ms, min(case when nth * 100 >= enforced * 95 then enforced_ms end) as p95_ms, min(case when nth * 100 >= enforced * 99 then enforced_ms end) as p99_ms, max(enforced_ms) as max_ms, sum(points_acknowledged) as points_acknowledged, sum(points_expired) as points_expired
from ranked
group by selector
order by selector
