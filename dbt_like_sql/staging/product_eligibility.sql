-- grain: order_id, product_id
-- partition: checked_on
-- One row per product the insurer said a customer could buy at a purchase occasion. Empty where the insurer does not send it.
select
    order_id, -- Purchase occasion at which eligibility was checked
    product_id, -- Product that could be bought
    customer_id, -- Who could buy, by the insurer's id @not_null
    checked_at, -- When eligibility was checked (UTC) @not_null
    cast(checked_at as date) as checked_on -- Day of the check (UTC) @not_null
from raw.product_eligibility
where checked_at >= $start and checked_at < $end
