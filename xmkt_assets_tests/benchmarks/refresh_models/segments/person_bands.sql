-- grain: person_id, as_of_on
-- partition: as_of_on
-- One row per person: the band the person falls into.
select
    person_id, -- Who
    as_of_on, -- Day whose end the row describes
    case
        when orders >= 2 then 'buyer'
        when orders = 1 then 'first_order'
        when views >= 5 then 'browser'
        else 'passer_by'
    end as band, -- Band by what was done @accepted(buyer, first_order, browser, passer_by) @not_null
    ntile(10) over (order by paid_fen desc, views desc, person_id) as value_decile -- 1 = paid most @not_null
from segments.person_activity
where as_of_on = cast($start as date)
