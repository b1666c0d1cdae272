-- grain: view_id
-- partition: viewed_on
-- One row per view of an insurance product.
select
    view_id, -- Unique id of the view
    person_id, -- Who viewed @not_null
    product_id, -- What was viewed @not_null
    viewed_at, -- When the view began (UTC) @not_null
    cast(viewed_at as date) as viewed_on, -- Day of the view (UTC) @not_null
    cast(dwell_seconds as integer) as dwell_seconds -- Time spent on the page @not_null
from raw.product_views
where viewed_at >= $start and viewed_at < $end
