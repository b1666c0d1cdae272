-- grain: view_id
-- partition: viewed_on
-- mapping: same day
-- One row per view of an insurance product page.
select
    view_id, -- Unique id of the view
    customer_id, -- Who viewed, by the insurer's id @not_null
    product_id, -- What was viewed @not_null
    viewed_at, -- When the view began (UTC) @not_null
    cast(viewed_at as date) as viewed_on, -- Day of the view (UTC) @not_null
    dwell_seconds, -- Time spent on the page @not_null
    coalesce(source, 'organic') as source -- How the customer came; organic where not said @accepted(organic, search, campaign, course_page)
from raw.product_views as r
where r.viewed_at >= $start and r.viewed_at < $end
    -- The same id delivered again: the day it first happened keeps it, of one day the newest delivery.
    -- Of other days the 31 before are looked at: a day costs the same after ten years as after one.
    and not exists (
        select 1
        from raw.product_views as e
        where e.view_id = r.view_id
            and e.viewed_at >= $start - interval 31 day and e.viewed_at < $end
            and cast(e.viewed_at as date) >= cast(r.viewed_at as date) - interval 31 day
            and (
                cast(e.viewed_at as date) < cast(r.viewed_at as date)
                or (cast(e.viewed_at as date) = cast(r.viewed_at as date) and e.dt > r.dt)
            )
    )
