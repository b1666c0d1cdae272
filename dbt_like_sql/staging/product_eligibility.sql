-- grain: order_id, product_id
-- partition: checked_on
-- mapping: same day
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
    -- Of other days the 31 before are looked at: a day costs the same after ten years as after one.
    and not exists (
        select 1
        from raw.product_eligibility as e
        where e.order_id = r.order_id and e.product_id = r.product_id
            and e.checked_at >= $start - interval 31 day and e.checked_at < $end
            and cast(e.checked_at as date) >= cast(r.checked_at as date) - interval 31 day
            and (
                cast(e.checked_at as date) < cast(r.checked_at as date)
                or (cast(e.checked_at as date) = cast(r.checked_at as date) and e.dt > r.dt)
            )
    )
