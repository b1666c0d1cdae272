-- grain: table_name, event_id, delivered_on
-- partition: happened_on
-- mapping: same day
-- One row per delivered event that staging leaves out because its unique id was delivered before: the day it first
-- happened keeps the event, of one day the newest delivery. Of other days the 31 before are looked at; an id that comes
-- back later than that is an event of its own (check grain_is_unique_over_all_days of its table finds it). An identical
-- repeat costs nothing; of one that differs somebody should ask the partner which is right (check repeated_events_agree).
-- Repeats within one delivery are counted in raw.file_ledger. Claims, eligibility and campaign events follow the same
-- rule and are not listed here.
with outdone as (
    select
        'course_views' as table_name, 'course_platform' as partner, r.view_id as event_id, r.user_id as subject_id,
        cast(r.viewed_at as date) as happened_on, r.dt as delivered_on,
        cast(e.viewed_at as date) as kept_on, e.dt as kept_delivered_on,
        r.user_id is not distinct from e.user_id
            and r.course_id is not distinct from e.course_id
            and r.viewed_at is not distinct from e.viewed_at
            and r.dwell_seconds is not distinct from e.dwell_seconds
            and r.source is not distinct from e.source as is_identical
    from raw.course_views as r
    inner join raw.course_views as e on e.view_id = r.view_id
    where r.viewed_at >= $start and r.viewed_at < $end and e.viewed_at >= $start - interval 31 day and e.viewed_at < $end
        and cast(e.viewed_at as date) >= cast(r.viewed_at as date) - interval 31 day
        and (
            cast(e.viewed_at as date) < cast(r.viewed_at as date)
            or (cast(e.viewed_at as date) = cast(r.viewed_at as date) and e.dt > r.dt)
        )
    union all
    select
        'course_orders' as table_name, 'course_platform' as partner, r.order_line_id as event_id, r.user_id as subject_id,
        cast(r.ordered_at as date) as happened_on, r.dt as delivered_on,
        cast(e.ordered_at as date) as kept_on, e.dt as kept_delivered_on,
        r.order_id is not distinct from e.order_id
            and r.user_id is not distinct from e.user_id
            and r.course_id is not distinct from e.course_id
            and r.ordered_at is not distinct from e.ordered_at
            and r.paid_fen is not distinct from e.paid_fen
            and r.status is not distinct from e.status as is_identical
    from raw.course_orders as r
    inner join raw.course_orders as e on e.order_line_id = r.order_line_id
    where r.ordered_at >= $start and r.ordered_at < $end and e.ordered_at >= $start - interval 31 day and e.ordered_at < $end
        and cast(e.ordered_at as date) >= cast(r.ordered_at as date) - interval 31 day
        and (
            cast(e.ordered_at as date) < cast(r.ordered_at as date)
            or (cast(e.ordered_at as date) = cast(r.ordered_at as date) and e.dt > r.dt)
        )
    union all
    select
        'course_reviews' as table_name, 'course_platform' as partner, r.review_id as event_id, r.user_id as subject_id,
        cast(r.reviewed_at as date) as happened_on, r.dt as delivered_on,
        cast(e.reviewed_at as date) as kept_on, e.dt as kept_delivered_on,
        r.user_id is not distinct from e.user_id
            and r.course_id is not distinct from e.course_id
            and r.reviewed_at is not distinct from e.reviewed_at
            and r.rating is not distinct from e.rating
            and r.review_text is not distinct from e.review_text as is_identical
    from raw.course_reviews as r
    inner join raw.course_reviews as e on e.review_id = r.review_id
    where r.reviewed_at >= $start and r.reviewed_at < $end and e.reviewed_at >= $start - interval 31 day and e.reviewed_at < $end
        and cast(e.reviewed_at as date) >= cast(r.reviewed_at as date) - interval 31 day
        and (
            cast(e.reviewed_at as date) < cast(r.reviewed_at as date)
            or (cast(e.reviewed_at as date) = cast(r.reviewed_at as date) and e.dt > r.dt)
        )
    union all
    select
        'product_views' as table_name, 'insurer' as partner, r.view_id as event_id, r.customer_id as subject_id,
        cast(r.viewed_at as date) as happened_on, r.dt as delivered_on,
        cast(e.viewed_at as date) as kept_on, e.dt as kept_delivered_on,
        r.customer_id is not distinct from e.customer_id
            and r.product_id is not distinct from e.product_id
            and r.viewed_at is not distinct from e.viewed_at
            and r.dwell_seconds is not distinct from e.dwell_seconds
            and r.source is not distinct from e.source as is_identical
    from raw.product_views as r
    inner join raw.product_views as e on e.view_id = r.view_id
    where r.viewed_at >= $start and r.viewed_at < $end and e.viewed_at >= $start - interval 31 day and e.viewed_at < $end
        and cast(e.viewed_at as date) >= cast(r.viewed_at as date) - interval 31 day
        and (
            cast(e.viewed_at as date) < cast(r.viewed_at as date)
            or (cast(e.viewed_at as date) = cast(r.viewed_at as date) and e.dt > r.dt)
        )
    union all
    select
        'policies' as table_name, 'insurer' as partner, r.policy_event_id as event_id, r.customer_id as subject_id,
        cast(r.occurred_at as date) as happened_on, r.dt as delivered_on,
        cast(e.occurred_at as date) as kept_on, e.dt as kept_delivered_on,
        r.policy_id is not distinct from e.policy_id
            and r.order_id is not distinct from e.order_id
            and r.customer_id is not distinct from e.customer_id
            and r.product_id is not distinct from e.product_id
            and r.event is not distinct from e.event
            and r.occurred_at is not distinct from e.occurred_at
            and r.term_start_on is not distinct from e.term_start_on
            and r.term_end_on is not distinct from e.term_end_on
            and r.premium_fen is not distinct from e.premium_fen
            and r.sum_insured_fen is not distinct from e.sum_insured_fen as is_identical
    from raw.policies as r
    inner join raw.policies as e on e.policy_event_id = r.policy_event_id
    where r.occurred_at >= $start and r.occurred_at < $end and e.occurred_at >= $start - interval 31 day and e.occurred_at < $end
        and cast(e.occurred_at as date) >= cast(r.occurred_at as date) - interval 31 day
        and (
            cast(e.occurred_at as date) < cast(r.occurred_at as date)
            or (cast(e.occurred_at as date) = cast(r.occurred_at as date) and e.dt > r.dt)
        )
)

select
    table_name, -- Table of staging that holds the event that was kept @accepted(course_views, course_orders, course_reviews, product_views, policies)
    partner, -- Firm that delivered it @accepted(course_platform, insurer)
    event_id, -- Unique id of the event
    subject_id, -- Whose event it is, by the firm's own id
    happened_on, -- Day (UTC) the event left out gives as its own
    delivered_on, -- Day of the delivery that was left out
    kept_on, -- Day (UTC) of the event that was kept @not_null
    kept_delivered_on, -- Day of its delivery @not_null
    is_identical -- Whether both say the same in every column @not_null
from outdone
qualify row_number() over (
    partition by table_name, event_id, delivered_on order by kept_on, kept_delivered_on desc
) = 1
