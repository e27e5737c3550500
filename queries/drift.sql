-- question: Which agents act most unlike how they acted before?
-- parameter: $baseline timestamptz = 1970-01-01T00:00:00Z; from when on their habits are counted
-- parameter: $since timestamptz; up to when, and from when on they are compared with them
-- parameter: $until timestamptz = now; the first moment that does not count
-- controls: SOC 2 CC7.2; ISO 27001 A.8.15; NIST 800-53 AU-6; EU AI Act 12, 26(6)
--
-- Drift is half the sum, over the actions that an agent tried, of how far their shares of its
-- calls lie apart, in millionths: 0 is as before, 1,000,000 nothing in common. An agent that did
-- nothing before has no habits and is not here.
with counted as (
    select agent_id, action,
        sum(case when ts < $since then 1 else 0 end) as before,
        sum(case when ts < $since then 0 else 1 end) as after
    from calls
    where ts >= $baseline and ts < $until and agent_id is not null
    group by agent_id, action
),
shares as (
    select agent_id, action, before, after,
        sum(before) over (partition by agent_id) as all_before,
        sum(after) over (partition by agent_id) as all_after
    from counted
),
apart as (
    select agent_id, action, all_before, all_after, before,
        before * 1000000 / all_before - after * 1000000 / all_after as difference
    from shares
    where all_before > 0 and all_after > 0
)
select agent_id, sum(case when difference < 0 then -difference else difference end) / 2 as drift, sum(case when before = 0 then 1 else 0 end) as new_actions, max(all_before) as calls_before, max(all_after) as calls_since
from apart
group by agent_id
order by drift desc, agent_id
