-- check: raw.course_orders
-- severity: warn
-- No order line was delivered on two days. Within one day the newest file wins; across days nobody can tell which of
-- the two is right, and counting both counts the money twice. Ask the course platform to withdraw one.
select
    order_line_id,
    count(distinct dt) as days,
    min(dt) as first_on,
    max(dt) as last_on
from raw.course_orders
group by order_line_id
having count(distinct dt) > 1
