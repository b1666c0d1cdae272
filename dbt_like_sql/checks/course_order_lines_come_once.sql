-- check: raw.course_orders
-- severity: warn
-- No order line of the days loaded was delivered on another day within 31 days of them. Staging counts the money once
-- (the day it first happened keeps the line, of one day the newest delivery; staging.duplicate_events lists what was left
-- out), but only the course platform knows which is right. Ask it to withdraw one.
select
    order_line_id,
    count(distinct dt) as days,
    min(dt) as first_on,
    max(dt) as last_on
from raw.course_orders
where dt >= cast($start - interval 31 day as date) and dt < cast($end + interval 31 day as date)
group by order_line_id
having count(distinct dt) > 1
    and max(case when dt >= cast($start as date) and dt < cast($end as date) then 1 else 0 end) = 1
