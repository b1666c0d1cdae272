-- grain: view_id
-- partition: viewed_on
-- One row per view of an insurance product page.
select
    view_id, -- Unique id of the view
    customer_id, -- Who viewed, by the insurer's id @not_null
    product_id, -- What was viewed @not_null
    viewed_at, -- When the view began (UTC) @not_null
    cast(viewed_at as date) as viewed_on, -- Day of the view (UTC) @not_null
    dwell_seconds, -- Time spent on the page @not_null
    coalesce(source, 'organic') as source -- How the customer came; organic where not said @accepted(organic, search, campaign, course_page)
from raw.product_views
where viewed_at >= $start and viewed_at < $end
