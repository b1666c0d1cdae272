-- grain: person_id, as_of_on
-- partition: as_of_on
-- One row per person seen in the 7 days up to the day: how recent, how often, how much.
select
    person_id, -- Who
    cast($start as date) as as_of_on, -- Day whose end the row describes
    max(seen_on) as last_seen_on, -- Newest day with anything done @not_null
    count(*) as active_days, -- Days with anything done @not_null
    cast(sum(course_views + product_views) as bigint) as views, -- Pages seen @not_null
    cast(sum(orders) as bigint) as orders, -- Course lines paid @not_null
    cast(sum(paid_fen) as bigint) as paid_fen -- Money paid @not_null
from staging.person_days
where seen_on >= cast($start - interval 6 days as date) and seen_on < cast($end as date)
group by person_id
