-- grain: order_id, product_id
-- partition: checked_on
-- One row per product the insurer said a customer could buy at a purchase occasion. Empty where the insurer does not send it.
select
    order_id, -- Purchase occasion at which eligibility was checked
    product_id, -- Product that could be bought
    customer_id, -- Who could buy, by the insurer's id @not_null
    checked_at, -- When eligibility was checked (UTC) @not_null
    cast(checked_at as date) as checked_on -- Day of the check (UTC) @not_null
from raw.product_eligibility as r
where r.checked_at >= $start and r.checked_at < $end
    -- The same id delivered again: the day it first happened keeps it, of one day the newest delivery.
    and not exists (
        select 1
        from raw.product_eligibility as e
        where e.order_id = r.order_id and e.product_id = r.product_id and (
            cast(e.checked_at as date) < cast(r.checked_at as date)
            or (cast(e.checked_at as date) = cast(r.checked_at as date) and e.dt > r.dt)
        )
    )
