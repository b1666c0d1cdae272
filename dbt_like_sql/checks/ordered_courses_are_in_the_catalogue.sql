-- check: segments.person_interests
-- severity: warn
-- Every course ever ordered is in the catalogue. An unknown course has no topics, so its buyers' interests miss it and
-- nobody can be recommended it. Ask the course platform for the course in its courses feed.
select
    o.course_id,
    count(*) as order_lines,
    max(o.ordered_on) as last_ordered_on
from staging.course_orders as o
where not exists (
    select 1
    from staging.courses as c
    where c.course_id = o.course_id
)
group by o.course_id
