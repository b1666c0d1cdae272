-- grain: order_line_id
-- partition: ordered_on
-- One row per course in a paid order.
select
    order_line_id, -- Unique id of this line of the order
    person_id, -- Who bought @not_null
    course_id, -- What was bought @not_null @references(raw.courses.course_id)
    ordered_at, -- When the order was paid (UTC) @not_null
    cast(ordered_at as date) as ordered_on, -- Day of the order (UTC) @not_null
    cast(paid_fen as bigint) as paid_fen, -- Price paid for this line @not_null
    status -- paid, or refunded when the money went back @accepted(paid, refunded)
from raw.course_orders
where ordered_at >= $start and ordered_at < $end
