-- check: raw.policies
-- severity: warn
-- No policy event of the days loaded was delivered on another day within 31 days of them. Staging counts the premium once
-- (the day it first happened keeps the event, of one day the newest delivery; staging.duplicate_events lists what was left
-- out), but only the insurer knows which is right. Ask it to withdraw one.
select
    policy_event_id,
    count(distinct dt) as days,
    min(dt) as first_on,
    max(dt) as last_on
from raw.policies
where dt >= cast($start - interval 31 day as date) and dt < cast($end + interval 31 day as date)
group by policy_event_id
having count(distinct dt) > 1
    and max(case when dt >= cast($start as date) and dt < cast($end as date) then 1 else 0 end) = 1
