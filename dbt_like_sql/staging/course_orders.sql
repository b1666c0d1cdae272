-- grain: order_line_id
-- partition: ordered_on
-- mapping: same day
-- One row per course in a paid order. Refunded lines stay in with status refunded: leave them out when you count money.
select
    order_line_id, -- Unique id of this line of the order
    order_id, -- Id of the order (the purchase occasion) @not_null
    user_id, -- Who bought, by the course platform's id @not_null
    course_id, -- What was bought @not_null
    ordered_at, -- When the order was paid (UTC) @not_null
    cast(ordered_at as date) as ordered_on, -- Day of the order (UTC) @not_null
    paid_fen, -- Price paid for this line after discounts @not_null
    status -- paid, or refunded when the money went back @accepted(paid, refunded)
from raw.course_orders as r
where r.ordered_at >= $start and r.ordered_at < $end
    -- The same id delivered again: the day it first happened keeps it, of one day the newest delivery.
    -- Of other days the 31 before are looked at: a day costs the same after ten years as after one.
    and not exists (
        select 1
        from raw.course_orders as e
        where e.order_line_id = r.order_line_id
            and e.ordered_at >= $start - interval 31 day and e.ordered_at < $end
            and cast(e.ordered_at as date) >= cast(r.ordered_at as date) - interval 31 day
            and (
                cast(e.ordered_at as date) < cast(r.ordered_at as date)
                or (cast(e.ordered_at as date) = cast(r.ordered_at as date) and e.dt > r.dt)
            )
    )
