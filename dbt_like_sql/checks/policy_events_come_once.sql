-- check: raw.policies
-- severity: warn
-- No policy event was delivered on two days. Staging counts the premium once (the day it first happened keeps the event,
-- of one day the newest delivery; staging.duplicate_events lists what was left out), but only the insurer knows which
-- is right. Ask it to withdraw one.
select
    policy_event_id,
    count(distinct dt) as days,
    min(dt) as first_on,
    max(dt) as last_on
from raw.policies
group by policy_event_id
having count(distinct dt) > 1
