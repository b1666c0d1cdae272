-- grain: session_id
-- partition: began_on
-- One row per visit: views of one person with less than 30 minutes between them.
with marked as (
    select
        person_id,
        view_id,
        viewed_at,
        viewed_on,
        dwell_seconds,
        case
            when date_diff('second', lag(viewed_at) over (partition by person_id, viewed_on order by viewed_at, view_id), viewed_at) < 1800
                then 0
            else 1
        end as is_first
    from staging.course_views
    where viewed_at >= $start and viewed_at < $end
),
numbered as (
    select
        *,
        sum(is_first) over (partition by person_id, viewed_on order by viewed_at, view_id) as number_of_day
    from marked
)
select
    min(view_id) as session_id, -- Id of one view of the visit, the smallest
    person_id, -- Who visited @not_null
    viewed_on as began_on, -- Day of the visit (UTC) @not_null
    min(viewed_at) as began_at, -- First view (UTC) @not_null
    count(*) as view_count, -- Pages seen @not_null
    cast(sum(dwell_seconds) as bigint) as dwell_seconds -- Time spent @not_null
from numbered
group by person_id, viewed_on, number_of_day
