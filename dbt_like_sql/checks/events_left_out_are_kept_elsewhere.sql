-- check: staging.duplicate_events
-- Every event left out as a repeat still stands in the delivery that was kept. It does not once that delivery is corrected
-- and leaves the event out: load the day happened_on again, so that staging takes it from the other. Asked of the days
-- loaded and the 31 after them, which may rely on what they held.
with kept as (
    select d.table_name, d.event_id, d.delivered_on
    from staging.duplicate_events as d
    inner join raw.course_views as r
        on r.view_id = d.event_id and r.dt = d.kept_delivered_on and cast(r.viewed_at as date) = d.kept_on
            and r.viewed_at >= $start - interval 31 day and r.viewed_at < $end + interval 31 day
    where d.table_name = 'course_views'
        and d.happened_on >= cast($start as date) and d.happened_on < cast($end + interval 31 day as date)
    union all
    select d.table_name, d.event_id, d.delivered_on
    from staging.duplicate_events as d
    inner join raw.course_orders as r
        on r.order_line_id = d.event_id and r.dt = d.kept_delivered_on and cast(r.ordered_at as date) = d.kept_on
            and r.ordered_at >= $start - interval 31 day and r.ordered_at < $end + interval 31 day
    where d.table_name = 'course_orders'
        and d.happened_on >= cast($start as date) and d.happened_on < cast($end + interval 31 day as date)
    union all
    select d.table_name, d.event_id, d.delivered_on
    from staging.duplicate_events as d
    inner join raw.course_reviews as r
        on r.review_id = d.event_id and r.dt = d.kept_delivered_on and cast(r.reviewed_at as date) = d.kept_on
            and r.reviewed_at >= $start - interval 31 day and r.reviewed_at < $end + interval 31 day
    where d.table_name = 'course_reviews'
        and d.happened_on >= cast($start as date) and d.happened_on < cast($end + interval 31 day as date)
    union all
    select d.table_name, d.event_id, d.delivered_on
    from staging.duplicate_events as d
    inner join raw.product_views as r
        on r.view_id = d.event_id and r.dt = d.kept_delivered_on and cast(r.viewed_at as date) = d.kept_on
            and r.viewed_at >= $start - interval 31 day and r.viewed_at < $end + interval 31 day
    where d.table_name = 'product_views'
        and d.happened_on >= cast($start as date) and d.happened_on < cast($end + interval 31 day as date)
    union all
    select d.table_name, d.event_id, d.delivered_on
    from staging.duplicate_events as d
    inner join raw.policies as r
        on r.policy_event_id = d.event_id and r.dt = d.kept_delivered_on and cast(r.occurred_at as date) = d.kept_on
            and r.occurred_at >= $start - interval 31 day and r.occurred_at < $end + interval 31 day
    where d.table_name = 'policies'
        and d.happened_on >= cast($start as date) and d.happened_on < cast($end + interval 31 day as date)
)

select
    d.table_name,
    d.event_id,
    d.kept_on,
    d.happened_on
from staging.duplicate_events as d
where d.happened_on >= cast($start as date) and d.happened_on < cast($end + interval 31 day as date)
    and not exists (
        select 1
        from kept as k
        where k.table_name = d.table_name and k.event_id = d.event_id and k.delivered_on = d.delivered_on
    )
