-- grain: view_id
-- partition: viewed_on
-- One row per view of a course page.
select
    view_id, -- Unique id of the view
    person_id, -- Who viewed @not_null
    course_id, -- What was viewed @not_null @references(raw.courses.course_id)
    viewed_at, -- When the view began (UTC) @not_null
    cast(viewed_at as date) as viewed_on, -- Day of the view (UTC) @not_null
    cast(dwell_seconds as integer) as dwell_seconds, -- Time spent on the page @not_null
    coalesce(source, 'organic') as source -- How the person came @accepted(organic, search, campaign)
from raw.course_views
where viewed_at >= $start and viewed_at < $end
