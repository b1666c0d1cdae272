-- grain: as_of_on, person_id, observed_at
-- partition: as_of_on
-- One row per insured person and moment of observation: 60 days before the end of the day, with what then happened as
-- label (to learn from), and the end of the day, with an empty label (to be scored). Insured = has a policy in force at
-- that moment. Features are computed from what happened strictly before observed_at, the label from the 60 days after it.
-- Both moments look back over the same number of days (from the first claim on file to the earlier moment, 365 at most):
-- otherwise the later one would see longer histories, and more claims, of the same people. For the same reason nothing
-- here counts over all history. Claims are sensitive: only people who consented to their use separately (the gate of
-- sensitive_profiling) are learnt from, and scored. Trap: person attributes and product classes are as of the day for both moments.
with moments as (
    select $end - interval 60 day as observed_at, true as is_labelled
    union all
    select cast($end as timestamp) as observed_at, false as is_labelled
),
person as (
    select
        g.person_id,
        max(g.birth_year) as birth_year,
        max(g.city_tier) as city_tier
    from staging.gate_profiling as g
    where g.as_of_on = cast($start as date)
    group by g.person_id
),
person_claims as (
    select g.person_id, c.claimed_at, c.claimed_fen
    from staging.claims as c
    inner join staging.gate_sensitive_profiling as g
        on g.partner = 'insurer' and g.subject_id = c.customer_id and g.as_of_on = cast($start as date)
    where c.claimed_at < $end
),
look_back as (
    select
        cast(
            case
                when min(claimed_at) is null or min(claimed_at) >= $end - interval 60 day then 0
                else least(365, date_diff('day', cast(min(claimed_at) as date), cast($end - interval 60 day as date)))
            end as integer
        ) as days
    from person_claims
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
        max(case when p.event in ('issued', 'renewed') then p.premium_fen end) as premium_fen,
        max(case when p.event in ('issued', 'renewed') then p.occurred_at end) as begun_at,
        max(case when p.event = 'cancelled' then p.occurred_at end) as cancelled_at
    from staging.policies as p
    inner join staging.gate_sensitive_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    inner join moments as m on p.occurred_at < m.observed_at
    group by m.observed_at, g.person_id, p.policy_id
),
insured as (
    select
        e.observed_at,
        e.person_id,
        count(*) as policies,
        sum(e.premium_fen) as premium_fen,
        sum(case when r.product_class = 'health' then 1 else 0 end) as health_policies,
        sum(case when r.product_class = 'accident' then 1 else 0 end) as accident_policies,
        sum(case when r.product_class = 'motor' then 1 else 0 end) as motor_policies,
        sum(case when r.product_class = 'travel' then 1 else 0 end) as travel_policies,
        -- The day of observation is the last one with known history, so cover is counted from the day after it.
        max(least(60, date_diff('day', cast(e.observed_at - interval 1 day as date), e.covered_until_on)))
            as cover_left_days
    from each_policy as e
    left join staging.products as r on r.product_id = e.product_id
    where e.begun_at is not null
        and (e.cancelled_at is null or e.cancelled_at < e.begun_at)
        and e.covered_from_on <= cast(e.observed_at - interval 1 day as date)
        and e.covered_until_on >= cast(e.observed_at - interval 1 day as date)
    group by e.observed_at, e.person_id
),
claim_counts as (
    select
        m.observed_at,
        c.person_id,
        sum(case when c.claimed_at < m.observed_at then 1 else 0 end) as claims_before,
        sum(case when c.claimed_at < m.observed_at then c.claimed_fen else 0 end) as claimed_before_fen,
        max(case when c.claimed_at < m.observed_at then c.claimed_at end) as last_claimed_at,
        max(case when c.claimed_at >= m.observed_at then 1 else 0 end) as has_claim_after
    from person_claims as c
    cross join look_back as l
    inner join moments as m
        on c.claimed_at >= m.observed_at - l.days * interval 1 day and c.claimed_at < m.observed_at + interval 60 day
    group by m.observed_at, c.person_id
),
product_views as (
    select m.observed_at, g.person_id, count(*) as views_30d
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
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    i.person_id, -- Insured person @not_null
    i.observed_at, -- Moment of observation (UTC): what the features know ends here @not_null
    case when m.is_labelled then coalesce(c.has_claim_after, 0) = 1 end as has_claim_60d, -- Whether the person claimed in the 60 days from observed_at; empty = not yet known, to be scored
    cast(year(cast(i.observed_at as date)) - p.birth_year as integer) as age_years, -- Age reached within the year of observed_at; empty where unknown
    cast(p.city_tier as integer) as city_tier, -- Tier of the home city, 1 (largest) to 5; empty where unknown
    cast(i.policies as bigint) as active_policy_count, -- Policies in force at observed_at @not_null
    cast(i.health_policies as bigint) as health_policy_count, -- Of these, health @not_null
    cast(i.accident_policies as bigint) as accident_policy_count, -- Of these, accident @not_null
    cast(i.motor_policies as bigint) as motor_policy_count, -- Of these, motor @not_null
    cast(i.travel_policies as bigint) as travel_policy_count, -- Of these, travel @not_null
    cast(i.premium_fen as bigint) as active_premium_fen, -- Highest premium of a term of each policy in force, added up; empty where not shared
    cast(i.cover_left_days as bigint) as cover_left_days, -- Days of cover among the 60 to come, by the policy that lasts longest @not_null
    l.days as look_back_days, -- Days before observed_at over which claims are counted; the same for both moments @not_null
    cast(coalesce(c.claims_before, 0) as bigint) as claim_count, -- Claims within the look-back @not_null
    cast(coalesce(c.claimed_before_fen, 0) as bigint) as claimed_fen, -- Amount claimed within the look-back @not_null
    date_diff('day', cast(c.last_claimed_at as date), cast(i.observed_at as date)) as days_since_claim, -- Days since the last claim within the look-back; empty = none
    cast(coalesce(pv.views_30d, 0) as bigint) as product_view_30d_count, -- Product views of the 30 days before observed_at @not_null
    cast(coalesce(cv.views_30d, 0) as bigint) as course_view_30d_count, -- Course views of the 30 days before observed_at @not_null
    cast(coalesce(cv.dwell_30d_seconds, 0) as bigint) as dwell_30d_seconds -- Time on course pages in the 30 days before observed_at @not_null
from insured as i
inner join moments as m on m.observed_at = i.observed_at
inner join person as p on p.person_id = i.person_id
cross join look_back as l
left join claim_counts as c on c.observed_at = i.observed_at and c.person_id = i.person_id
left join product_views as pv on pv.observed_at = i.observed_at and pv.person_id = i.person_id
left join course_views as cv on cv.observed_at = i.observed_at and cv.person_id = i.person_id
