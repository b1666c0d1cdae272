-- grain: partner, subject_id, started_at
-- partition: visited_on
-- One row per visit: views of one account, at one firm, with at most 30 minutes between the end of one and the beginning
-- of the next (the time-oriented session heuristic, Spiliopoulou et al. 2003). A view ends its dwell time after it began,
-- two hours later at most: a tab left open all day is no visit all day.
-- Trap: visits are cut at midnight UTC, 08:00 in China, so that each day is made of its own views alone: who reads on over
-- midnight has two visits. A visit that began before midnight may end after it. A person with two accounts looking at
-- both at the same time has two visits.
with views as (
    select
        'course_platform' as partner, v.user_id as subject_id, v.view_id, v.course_id as item_id, v.viewed_at,
        v.viewed_on as visited_on,
        least(greatest(v.dwell_seconds, 0), 7200) as dwell_seconds
    from staging.course_views as v
    where v.viewed_at >= $start and v.viewed_at < $end
    union all
    select
        'insurer' as partner, v.customer_id as subject_id, v.view_id, v.product_id as item_id, v.viewed_at,
        v.viewed_on as visited_on,
        least(greatest(v.dwell_seconds, 0), 7200) as dwell_seconds
    from staging.product_views as v
    where v.viewed_at >= $start and v.viewed_at < $end
),

-- The end of all views before, not of the one before: a short look in a second tab ends no lecture.
after_others as (
    select
        *,
        max(epoch_us(viewed_at) + dwell_seconds * 1000000) over (
            partition by partner, subject_id, visited_on
            order by viewed_at, view_id
            rows between unbounded preceding and 1 preceding
        ) as others_end_us
    from views
),

numbered as (
    select
        *,
        sum(case when epoch_us(viewed_at) - others_end_us <= 1800000000 then 0 else 1 end) over (
            partition by partner, subject_id, visited_on
            order by viewed_at, view_id
            rows between unbounded preceding and current row
        ) as visit_number
    from after_others
)

select
    partner, -- Firm whose pages were looked at @accepted(course_platform, insurer)
    subject_id, -- Who visited, by the firm's own id
    min(viewed_at) as started_at, -- When the first view began (UTC)
    max(viewed_at + dwell_seconds * interval 1 second) as ended_at, -- When the last view ended (UTC) @not_null
    visited_on, -- Day the visit began (UTC) @not_null
    cast(count(*) as bigint) as view_count, -- Views in the visit @not_null
    cast(sum(dwell_seconds) as bigint) as dwell_seconds, -- Time spent on its pages, two hours a view at most @not_null
    cast(count(distinct item_id) as bigint) as item_count -- Different courses or products looked at @not_null
from numbered
group by partner, subject_id, visited_on, visit_number
