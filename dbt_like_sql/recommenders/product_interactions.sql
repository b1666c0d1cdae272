-- grain: as_of_on, event, interaction_id
-- partition: as_of_on
-- One row per thing a consenting person did with an insurance product before the end of the day: a policy issued (the
-- purchase; renewals and cancellations are none) or a page view. Weights are for learning: a purchase counts 1, a view
-- 0.1 for ten minutes or more and less in proportion; views without dwell time are left out. Trap: only rows with event
-- 'purchase' may be counted as purchases or used as truth; a sum of weights mixes both.
with purchases as (
    select
        'purchase' as event,
        p.policy_event_id as interaction_id,
        g.person_id,
        p.product_id as item_id,
        p.order_id as occasion_id,
        p.occurred_at,
        cast(1 as double) as weight
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    where p.event = 'issued' and p.occurred_at < $end
),

views as (
    select
        'view' as event,
        v.view_id as interaction_id,
        g.person_id,
        v.product_id as item_id,
        v.view_id as occasion_id,
        v.viewed_at as occurred_at,
        cast(least(v.dwell_seconds, 600) as double) / 6000 as weight
    from staging.product_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = v.customer_id and g.as_of_on = cast($start as date)
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
    e.interaction_id, -- Policy event or view, by the insurer's id
    e.person_id, -- Who @not_null
    e.item_id, -- Which product @not_null
    e.occasion_id, -- The order, or the view itself: what happened together @not_null
    e.occurred_at, -- When (UTC) @not_null
    e.weight -- How much it says about the person's interest, 0 to 1 @not_null
from everything as e
