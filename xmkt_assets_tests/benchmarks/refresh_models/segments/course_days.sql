-- grain: course_id, seen_on
-- partition: seen_on
-- One row per course and day: who looked, who bought.
with views as (
    select course_id, viewed_on as seen_on, count(*) as views, count(distinct person_id) as viewers
    from staging.course_views
    where viewed_at >= $start and viewed_at < $end
    group by course_id, viewed_on
),
orders as (
    select course_id, ordered_on as seen_on, count(*) as orders, sum(paid_fen) as paid_fen
    from staging.course_orders
    where ordered_at >= $start and ordered_at < $end and status = 'paid'
    group by course_id, ordered_on
)
select
    c.course_id, -- Course @references(raw.courses.course_id)
    v.seen_on, -- Day (UTC)
    c.topic, -- Topic of the course @not_null
    v.views, -- Pages seen @not_null
    v.viewers, -- People who looked @not_null
    coalesce(o.orders, 0) as orders, -- Lines paid @not_null
    cast(coalesce(o.paid_fen, 0) as bigint) as paid_fen -- Money paid @not_null
from views as v
inner join raw.courses as c on c.course_id = v.course_id
left join orders as o on o.course_id = v.course_id and o.seen_on = v.seen_on
