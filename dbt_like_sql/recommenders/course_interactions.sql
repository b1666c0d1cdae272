-- grain: as_of_on, event, interaction_id
-- partition: as_of_on
-- One row per thing a consenting person did with a course before the end of the day: a paid order line or a page view.
-- Weights are for learning: a purchase counts 1, a view 0.1 for ten minutes or more and less in proportion. Refunded
-- lines and views without dwell time say nothing and are left out. Trap: only rows with event 'purchase' may be counted
-- as purchases or used as truth; a sum of weights mixes both.
with purchases as (
    select
        'purchase' as event,
        o.order_line_id as interaction_id,
        g.person_id,
        o.course_id as item_id,
        o.order_id as occasion_id,
        o.ordered_at as occurred_at,
        cast(1 as double) as weight
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    where o.status = 'paid' and o.ordered_at < $end
),

views as (
    select
        'view' as event,
        v.view_id as interaction_id,
        g.person_id,
        v.course_id as item_id,
        v.view_id as occasion_id,
        v.viewed_at as occurred_at,
        cast(least(v.dwell_seconds, 600) as double) / 6000 as weight
    from staging.course_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = v.user_id and g.as_of_on = cast($start as date)
    where v.dwell_seconds > 0 and v.viewed_at < $end
),

everything as (
    select event, interaction_id, person_id, item_id, occasion_id, occurred_at, weight from purchases
    union all
    select event, interaction_id, person_id, item_id, occasion_id, occurred_at, weight from views
)

select
    cast($start as date) as as_of_on, -- Day before whose end it happened
    e.event, -- What the person did @accepted(purchase, view)
    e.interaction_id, -- Order line or view, by the course platform's id
    e.person_id, -- Who @not_null
    e.item_id, -- Which course @not_null
    e.occasion_id, -- The order, or the view itself: what happened together @not_null
    e.occurred_at, -- When (UTC) @not_null
    e.weight -- How much it says about the person's interest, 0 to 1 @not_null
from everything as e
