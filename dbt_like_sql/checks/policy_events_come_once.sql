-- check: raw.policies
-- severity: warn
-- No policy event was delivered on two days. Within one day the newest file wins; across days nobody can tell which of
-- the two is right, and counting both counts the premium twice. Ask the insurer to withdraw one.
select
    policy_event_id,
    count(distinct dt) as days,
    min(dt) as first_on,
    max(dt) as last_on
from raw.policies
group by policy_event_id
having count(distinct dt) > 1
