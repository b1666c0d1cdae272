-- grain: as_of_on, person_id, observed_at
-- partition: as_of_on
-- One row per person with a policy in force and moment of observation: 60 days before the end of the day, with what then
-- became of the policies as label (to learn from), and the end of the day, with an empty label (to be scored).
-- Lapsed = of the policies in force at the moment at least one is not in force 60 days later: cancelled and not taken up
-- again, or its cover ended and was not renewed. In force is the same rule at both ends: begun, not cancelled since,
-- and covered on the last day before the moment. Policies of a term under 28 days are left out: a trip that is over is
-- no lapse. A policy whose terms are not shared can lapse by a cancellation alone. Features are computed from what
-- happened strictly before observed_at; nothing counts over all history, so that both moments see the same.
-- Trap: person attributes and product classes are as of the day for both moments.
with moments as (
    select $end - interval 60 day as observed_at, true as is_labelled
    union all
    select cast($end as timestamp) as observed_at, false as is_labelled
),
person as (
    select g.person_id, max(g.city_tier) as city_tier
    from staging.gate_profiling as g
    where g.as_of_on = cast($start as date)
    group by g.person_id
),
each_policy as (
    select
        m.observed_at,
        g.person_id,
        p.policy_id,
        max(p.product_id) as product_id,
        min(case when p.event in ('issued', 'renewed') then coalesce(p.term_start_on, date '1900-01-01') end)
            as covered_from_on,
        max(case when p.event in ('issued', 'renewed') then coalesce(p.term_end_on, date '9999-12-31') end)
            as covered_until_on,
        max(case when p.event in ('issued', 'renewed') then date_diff('day', p.term_start_on, p.term_end_on) + 1 end)
            as term_days,
        max(case when p.event in ('issued', 'renewed') then p.premium_fen end) as premium_fen,
        max(case when p.event in ('issued', 'renewed') then p.occurred_at end) as begun_at,
        max(case when p.event = 'renewed' then p.occurred_at end) as renewed_at,
        max(case when p.event = 'cancelled' then p.occurred_at end) as cancelled_at
    from staging.policies as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    inner join moments as m on p.occurred_at < m.observed_at
    group by m.observed_at, g.person_id, p.policy_id
),
lasting as (
    select
        e.*,
        (e.cancelled_at is null or e.cancelled_at < e.begun_at)
        and e.covered_from_on <= cast(e.observed_at - interval 1 day as date)
        and e.covered_until_on >= cast(e.observed_at - interval 1 day as date) as is_in_force
    from each_policy as e
    where e.begun_at is not null and coalesce(e.term_days, 365) >= 28
),
-- The later moment is 60 days after the earlier one: what is in force at it did not lapse.
in_force as (
    select
        f.*,
        case when k.policy_id is null then 1 else 0 end as is_lost
    from lasting as f
    left join lasting as k
        on k.person_id = f.person_id and k.policy_id = f.policy_id and k.is_in_force and k.observed_at = $end
    where f.is_in_force
),
holders as (
    select
        f.observed_at,
        f.person_id,
        max(f.is_lost) as has_lost,
        count(*) as policies,
        sum(f.premium_fen) as premium_fen,
        sum(case when r.product_class = 'health' then 1 else 0 end) as health_policies,
        sum(case when r.product_class = 'accident' then 1 else 0 end) as accident_policies,
        sum(case when r.product_class = 'motor' then 1 else 0 end) as motor_policies,
        sum(case when r.product_class in ('life', 'pension') then 1 else 0 end) as life_policies,
        min(f.term_days) as shortest_term_days,
        min(least(60, date_diff('day', cast(f.observed_at - interval 1 day as date), f.covered_until_on)))
            as first_end_days,
        min(least(60, date_diff('day', cast(f.begun_at as date), cast(f.observed_at as date)))) as days_since_begun,
        sum(case when f.renewed_at = f.begun_at then 1 else 0 end) as renewed_policies
    from in_force as f
    left join staging.products as r on r.product_id = f.product_id
    group by f.observed_at, f.person_id
),
ended as (
    select e.observed_at, e.person_id, count(*) as policies
    from lasting as e
    where not e.is_in_force
        and (
            (e.cancelled_at >= e.observed_at - interval 60 day)
            or (
                e.covered_until_on >= cast(e.observed_at - interval 61 day as date)
                and e.covered_until_on < cast(e.observed_at - interval 1 day as date)
            )
        )
    group by e.observed_at, e.person_id
),
product_views as (
    select m.observed_at, g.person_id, count(*) as views_30d, max(v.viewed_at) as last_at
    from staging.product_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = v.customer_id and g.as_of_on = cast($start as date)
    inner join moments as m on v.viewed_at < m.observed_at and v.viewed_at >= m.observed_at - interval 30 day
    group by m.observed_at, g.person_id
),
course_views as (
    select m.observed_at, g.person_id, count(*) as views_30d, sum(v.dwell_seconds) as dwell_30d_seconds
    from staging.course_views as v
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = v.user_id and g.as_of_on = cast($start as date)
    inner join moments as m on v.viewed_at < m.observed_at and v.viewed_at >= m.observed_at - interval 30 day
    group by m.observed_at, g.person_id
),
course_orders as (
    select m.observed_at, g.person_id, count(distinct o.order_id) as orders_30d
    from staging.course_orders as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    inner join moments as m on o.ordered_at < m.observed_at and o.ordered_at >= m.observed_at - interval 30 day
    where o.status = 'paid'
    group by m.observed_at, g.person_id
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    h.person_id, -- Person with a policy in force @not_null
    h.observed_at, -- Moment of observation (UTC): what the features know ends here @not_null
    case when m.is_labelled then h.has_lost = 1 end as has_lapsed_60d, -- Whether of these policies at least one was not in force 60 days after observed_at; empty = not yet known, to be scored
    cast(p.city_tier as integer) as city_tier, -- Tier of the home city, 1 (largest) to 5; empty where unknown
    cast(h.policies as bigint) as active_policy_count, -- Policies in force at observed_at, of a term of 28 days or longer @not_null
    cast(h.health_policies as bigint) as health_policy_count, -- Of these, health @not_null
    cast(h.accident_policies as bigint) as accident_policy_count, -- Of these, accident @not_null
    cast(h.motor_policies as bigint) as motor_policy_count, -- Of these, motor @not_null
    cast(h.life_policies as bigint) as life_policy_count, -- Of these, life and pension @not_null
    cast(h.premium_fen as bigint) as active_premium_fen, -- Highest premium of a term of each of these policies, added up; empty where not shared
    cast(h.shortest_term_days as bigint) as shortest_term_days, -- Days of the shortest term among them; empty where terms are not shared
    cast(h.first_end_days as bigint) as first_end_days, -- Days until the first of them ends if not renewed, 60 = later than in 60 days @not_null
    cast(h.days_since_begun as bigint) as days_since_begun, -- Days since the newest term was sold or renewed, 60 = longer ago @not_null
    cast(h.renewed_policies as bigint) as renewed_policy_count, -- Of these policies, in a renewed term @not_null
    cast(coalesce(n.policies, 0) as bigint) as ended_policy_60d_count, -- Other policies that ended or were cancelled in the 60 days before observed_at @not_null
    cast(coalesce(pv.views_30d, 0) as bigint) as product_view_30d_count, -- Product views of the 30 days before observed_at @not_null
    date_diff('day', cast(pv.last_at as date), cast(h.observed_at as date)) as days_since_product_view_30d, -- Days since the last of them; empty = none
    cast(coalesce(cv.views_30d, 0) as bigint) as course_view_30d_count, -- Course views of the 30 days before observed_at @not_null
    cast(coalesce(co.orders_30d, 0) as bigint) as course_order_30d_count, -- Paid course orders of the 30 days before observed_at @not_null
    cast(coalesce(cv.dwell_30d_seconds, 0) as bigint) as dwell_30d_seconds -- Time on course pages in the 30 days before observed_at @not_null
from holders as h
inner join moments as m on m.observed_at = h.observed_at
inner join person as p on p.person_id = h.person_id
left join ended as n on n.observed_at = h.observed_at and n.person_id = h.person_id
left join product_views as pv on pv.observed_at = h.observed_at and pv.person_id = h.person_id
left join course_views as cv on cv.observed_at = h.observed_at and cv.person_id = h.person_id
left join course_orders as co on co.observed_at = h.observed_at and co.person_id = h.person_id
