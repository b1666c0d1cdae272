-- check: recommenders.course_recommendations
-- Nobody is recommended courses who did not pass the profiling gate of the same day. Rebuild the day named: its
-- recommendations are older than its gate.
select
    r.as_of_on,
    r.person_id,
    count(*) as recommendations
from recommenders.course_recommendations as r
where r.as_of_on >= cast($start as date) and r.as_of_on < cast($end as date)
    and not exists (
        select 1
        from staging.gate_profiling as g
        where g.as_of_on = r.as_of_on and g.person_id = r.person_id
    )
group by r.as_of_on, r.person_id
