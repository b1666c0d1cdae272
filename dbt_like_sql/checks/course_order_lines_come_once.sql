-- check: raw.course_orders
-- severity: warn
-- No order line was delivered on two days. Staging counts the money once (the day it first happened keeps the line, of
-- one day the newest delivery; staging.duplicate_events lists what was left out), but only the course platform knows
-- which is right. Ask it to withdraw one.
select
    order_line_id,
    count(distinct dt) as days,
    min(dt) as first_on,
    max(dt) as last_on
from raw.course_orders
group by order_line_id
having count(distinct dt) > 1
