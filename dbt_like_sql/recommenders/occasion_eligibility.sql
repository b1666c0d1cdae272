-- grain: as_of_on, occasion_id, item_id
-- partition: as_of_on
-- One row per product the insurer itself said a consenting customer could buy at a purchase occasion before the end of
-- the day. Better than the limits of the products where it exists, because the insurer knows more than it shares. Empty
-- where the insurer does not send it.
select
    cast($start as date) as as_of_on, -- Day before whose end the check was made
    e.order_id as occasion_id, -- The purchase occasion
    e.product_id as item_id -- What could be bought then
from staging.product_eligibility as e
inner join staging.gate_profiling as g
    on g.partner = 'insurer' and g.subject_id = e.customer_id and g.as_of_on = cast($start as date)
where e.checked_at < $end
