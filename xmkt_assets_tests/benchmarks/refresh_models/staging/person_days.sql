-- grain: person_id, seen_on
-- partition: seen_on
-- One row per person and day with anything done at either firm.
with done as (
    select person_id, viewed_on as seen_on, 1 as course_views, 0 as product_views, dwell_seconds, 0 as orders, 0 as paid_fen
    from staging.course_views
    where viewed_at >= $start and viewed_at < $end
    union all
    select person_id, viewed_on as seen_on, 0 as course_views, 1 as product_views, dwell_seconds, 0 as orders, 0 as paid_fen
    from staging.product_views
    where viewed_at >= $start and viewed_at < $end
    union all
    select person_id, ordered_on as seen_on, 0 as course_views, 0 as product_views, 0 as dwell_seconds, 1 as orders, paid_fen
    from staging.course_orders
    where ordered_at >= $start and ordered_at < $end and status = 'paid'
)
select
    person_id, -- Who
    seen_on, -- Day (UTC)
    cast(sum(course_views) as bigint) as course_views, -- Course pages seen @not_null
    cast(sum(product_views) as bigint) as product_views, -- Product pages seen @not_null
    cast(sum(dwell_seconds) as bigint) as dwell_seconds, -- Time spent on both @not_null
    cast(sum(orders) as bigint) as orders, -- Course lines paid @not_null
    cast(sum(paid_fen) as bigint) as paid_fen -- Money paid @not_null
from done
group by person_id, seen_on
