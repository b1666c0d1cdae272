-- grain: topic, seen_on
-- partition: seen_on
-- One row per topic and day, from the courses of the topic.
select
    topic, -- Topic
    seen_on, -- Day (UTC)
    cast(sum(views) as bigint) as views, -- Pages seen @not_null
    cast(sum(orders) as bigint) as orders, -- Lines paid @not_null
    cast(sum(paid_fen) as bigint) as paid_fen, -- Money paid @not_null
    round(sum(orders) / sum(views), 6) as orders_per_view_share -- Lines paid per page seen @not_null
from segments.course_days
where seen_on >= cast($start as date) and seen_on < cast($end as date)
group by topic, seen_on
