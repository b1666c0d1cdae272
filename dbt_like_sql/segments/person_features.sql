-- grain: as_of_on, person_id
-- partition: as_of_on
-- One row per person whose consent to profiling is in force at the end of the day, known to one firm or to both.
-- Behaviour is everything that happened strictly before $end; a person without history has zero counts and empty
-- days_since columns. Attributes come from the gate, so they are the ones known on that day.
-- Trap: counts over all history grow with the length of the history; compare people of one day, not days of one person
-- (the _30d columns have a fixed window). Every event table passes the gate where it is read, and is aggregated per
-- person there: adding up per account would count a course twice that a person viewed under two accounts.
-- Columns named _clean are made of the cleaned values (staging.cleaning_rules, fitted as of the day) and serve models; the
-- columns beside them of what was delivered, and serve reports and rules.
-- Nothing here is made of claims or income, which need a consent of their own: see segments.sensitive_profile.
with person as (
    select
        g.person_id,
        max(g.gender) as gender,
        max(g.birth_year) as birth_year,
        max(g.occupation) as occupation,
        max(g.city_tier) as city_tier,
        max(case when g.partner = 'course_platform' then 1 else 0 end) = 1 as has_course_side,
        max(case when g.partner = 'insurer' then 1 else 0 end) = 1 as has_insurance_side
    from staging.gate_profiling as g
    where g.as_of_on = cast($start as date)
    group by g.person_id
),
attributes as (
    select
        g.person_id,
        max(case when a.partner = 'insurer' and not a.birth_year_is_imputed then a.birth_year_clean end)
            as insurer_birth_year,
        max(case when not a.birth_year_is_imputed then a.birth_year_clean end) as stated_birth_year,
        max(a.birth_year_clean) as filled_birth_year,
        max(case when a.partner = 'insurer' and not a.city_tier_is_imputed then a.city_tier_clean end)
            as insurer_city_tier,
        max(case when not a.city_tier_is_imputed then a.city_tier_clean end) as stated_city_tier,
        max(a.city_tier_clean) as filled_city_tier
    from staging.account_attributes_cleaned as a
    inner join staging.gate_profiling as g
        on g.partner = a.partner and g.subject_id = a.subject_id and g.as_of_on = cast($start as date)
    where a.as_of_on = cast($start as date)
    group by g.person_id
),
course_views as (
    select
        g.person_id,
        count(*) as views,
        sum(case when v.viewed_at >= $end - interval 30 day then 1 else 0 end) as views_30d,
        sum(v.dwell_seconds) as dwell_seconds,
        sum(case when v.viewed_at >= $end - interval 30 day then v.dwell_seconds else 0 end) as dwell_30d_seconds,
        sum(v.dwell_seconds_clean) as dwell_clean_seconds,
        sum(case when v.viewed_at >= $end - interval 30 day then v.dwell_seconds_clean else 0 end)
            as dwell_30d_clean_seconds,
        sum(case when v.dwell_seconds_is_outlier then 1 else 0 end) as outliers,
        count(distinct v.course_id) as courses,
        min(v.viewed_at) as first_at,
        max(v.viewed_at) as last_at
    from staging.course_views_cleaned as v
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = v.user_id and g.as_of_on = cast($start as date)
    where v.as_of_on = cast($start as date) and v.viewed_at < $end
    group by g.person_id
),
course_orders as (
    select
        g.person_id,
        count(distinct case when o.status = 'paid' then o.order_id end) as orders,
        count(distinct case when o.status = 'paid' and o.ordered_at >= $end - interval 30 day then o.order_id end)
            as orders_30d,
        count(distinct case when o.status = 'paid' then o.course_id end) as courses,
        sum(case when o.status = 'refunded' then 1 else 0 end) as refunded_lines,
        sum(case when o.status = 'paid' then o.paid_fen else 0 end) as paid_fen,
        sum(case when o.status = 'paid' and o.ordered_at >= $end - interval 30 day then o.paid_fen else 0 end)
            as paid_30d_fen,
        sum(case when o.status = 'paid' then o.paid_fen_clean else 0 end) as paid_clean_fen,
        sum(case when o.paid_fen_is_outlier then 1 else 0 end) as outliers,
        min(o.ordered_at) as first_at,
        max(o.ordered_at) as last_at,
        max(case when o.status = 'paid' then o.ordered_at end) as last_paid_at
    from staging.course_orders_cleaned as o
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = o.user_id and g.as_of_on = cast($start as date)
    where o.as_of_on = cast($start as date) and o.ordered_at < $end
    group by g.person_id
),
course_reviews as (
    select
        g.person_id,
        count(*) as reviews,
        avg(r.rating) as mean_rating,
        min(r.reviewed_at) as first_at,
        max(r.reviewed_at) as last_at
    from staging.course_reviews as r
    inner join staging.gate_profiling as g
        on g.partner = 'course_platform' and g.subject_id = r.user_id and g.as_of_on = cast($start as date)
    where r.reviewed_at < $end
    group by g.person_id
),
product_views as (
    select
        g.person_id,
        count(*) as views,
        sum(case when v.viewed_at >= $end - interval 30 day then 1 else 0 end) as views_30d,
        sum(v.dwell_seconds) as dwell_seconds,
        sum(v.dwell_seconds_clean) as dwell_clean_seconds,
        sum(case when v.dwell_seconds_is_outlier then 1 else 0 end) as outliers,
        min(v.viewed_at) as first_at,
        max(v.viewed_at) as last_at
    from staging.product_views_cleaned as v
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = v.customer_id and g.as_of_on = cast($start as date)
    where v.as_of_on = cast($start as date) and v.viewed_at < $end
    group by g.person_id
),
-- A policy is in force when its newest event is no cancellation and a term covers the day. A term without dates covers
-- every day: an insurer that does not share terms would otherwise seem to have no policies.
each_policy as (
    select
        g.person_id,
        p.policy_id,
        max(case when p.event = 'issued' then 1 else 0 end) as is_issued,
        sum(case when p.event in ('issued', 'renewed') then p.premium_fen end) as premium_fen,
        sum(p.premium_fen_clean) as premium_clean_fen,
        sum(case when p.premium_fen_is_outlier then 1 else 0 end) as outliers,
        min(case when p.event in ('issued', 'renewed') then coalesce(p.term_start_on, date '1900-01-01') end)
            as covered_from_on,
        max(case when p.event in ('issued', 'renewed') then coalesce(p.term_end_on, date '9999-12-31') end)
            as covered_until_on,
        max(case when p.event = 'issued' then p.occurred_at end) as issued_at,
        max(case when p.event in ('issued', 'renewed') then p.occurred_at end) as begun_at,
        max(case when p.event = 'cancelled' then p.occurred_at end) as cancelled_at,
        min(p.occurred_at) as first_at,
        max(p.occurred_at) as last_at
    from staging.policies_cleaned as p
    inner join staging.gate_profiling as g
        on g.partner = 'insurer' and g.subject_id = p.customer_id and g.as_of_on = cast($start as date)
    where p.as_of_on = cast($start as date) and p.occurred_at < $end
    group by g.person_id, p.policy_id
),
policies as (
    select
        person_id,
        sum(
            case
                when begun_at is not null
                    and (cancelled_at is null or cancelled_at < begun_at)
                    and covered_from_on <= cast($start as date)
                    and covered_until_on >= cast($start as date)
                    then 1
                else 0
            end
        ) as active_policies,
        sum(is_issued) as issued_policies,
        sum(premium_fen) as premium_fen,
        sum(premium_clean_fen) as premium_clean_fen,
        sum(outliers) as outliers,
        max(issued_at) as last_issued_at,
        min(first_at) as first_at,
        max(last_at) as last_at
    from each_policy
    group by person_id
),
joined as (
    select
        p.*,
        year(cast($start as date)) - p.birth_year as age_years,
        year(cast($start as date)) - coalesce(a.insurer_birth_year, a.stated_birth_year, a.filled_birth_year)
            as age_clean_years,
        a.stated_birth_year is null and a.filled_birth_year is not null as age_is_imputed,
        coalesce(a.insurer_city_tier, a.stated_city_tier, a.filled_city_tier) as city_tier_clean,
        a.stated_city_tier is null and a.filled_city_tier is not null as city_tier_is_imputed,
        cv.views as course_views,
        cv.views_30d as course_views_30d,
        cv.dwell_seconds,
        cv.dwell_30d_seconds,
        cv.dwell_clean_seconds,
        cv.dwell_30d_clean_seconds,
        cv.courses as viewed_courses,
        cv.last_at as course_viewed_at,
        co.orders as course_orders,
        co.orders_30d as course_orders_30d,
        co.courses as bought_courses,
        co.refunded_lines,
        co.paid_fen,
        co.paid_30d_fen,
        co.paid_clean_fen,
        co.last_paid_at as course_ordered_at,
        pv.views as product_views,
        pv.views_30d as product_views_30d,
        pv.dwell_seconds as product_dwell_seconds,
        pv.dwell_clean_seconds as product_dwell_clean_seconds,
        pv.last_at as product_viewed_at,
        po.active_policies,
        po.issued_policies,
        case when po.person_id is null then 0 else po.premium_fen end as premium_fen,
        case when po.person_id is null then 0 else po.premium_clean_fen end as premium_clean_fen,
        coalesce(cv.outliers, 0) + coalesce(co.outliers, 0) + coalesce(pv.outliers, 0) + coalesce(po.outliers, 0)
            as outliers,
        po.last_issued_at as policy_issued_at,
        cr.mean_rating,
        cr.reviews,
        least(cv.first_at, co.first_at, cr.first_at, pv.first_at, po.first_at) as first_active_at,
        greatest(cv.last_at, co.last_at, cr.last_at, pv.last_at, po.last_at) as last_active_at
    from person as p
    left join attributes as a on a.person_id = p.person_id
    left join course_views as cv on cv.person_id = p.person_id
    left join course_orders as co on co.person_id = p.person_id
    left join course_reviews as cr on cr.person_id = p.person_id
    left join product_views as pv on pv.person_id = p.person_id
    left join policies as po on po.person_id = p.person_id
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    person_id, -- Person known to at least one firm @not_null
    gender, -- Gender as stated; empty where not stated @accepted(female, male, other)
    cast(birth_year as integer) as birth_year, -- Year of birth; empty where unknown
    cast(age_years as integer) as age_years, -- Age reached within the year of as_of_on; empty where the year of birth is unknown
    case
        when age_years is null then 'unknown'
        when age_years < 25 then 'under 25'
        when age_years < 35 then '25-34'
        when age_years < 45 then '35-44'
        when age_years < 55 then '45-54'
        when age_years < 65 then '55-64'
        else '65 and over'
    end as age_band, -- Age in bands of ten years @not_null @accepted(under 25, 25-34, 35-44, 45-54, 55-64, 65 and over, unknown)
    occupation, -- Occupation in the partner's words; empty where unknown
    cast(city_tier as integer) as city_tier, -- Tier of the home city, 1 (largest) to 5; empty where unknown
    cast(round(age_clean_years) as integer) as age_clean_years, -- Age for models: as stated by the day, else the usual one; empty where not fitted
    coalesce(age_is_imputed, false) as age_is_imputed, -- Whether age_clean_years is the usual one and not stated @not_null
    cast(round(city_tier_clean) as integer) as city_tier_clean, -- City tier for models: as stated by the day, else the usual one; empty where not fitted
    coalesce(city_tier_is_imputed, false) as city_tier_is_imputed, -- Whether city_tier_clean is the usual one and not stated @not_null
    has_course_side, -- Whether the person is a user of the course platform @not_null
    has_insurance_side, -- Whether the person is a customer of the insurer @not_null
    cast(coalesce(course_views, 0) as bigint) as course_view_count, -- Views of course pages and lectures @not_null
    cast(coalesce(course_views_30d, 0) as bigint) as course_view_30d_count, -- Of these, in the last 30 days @not_null
    cast(coalesce(viewed_courses, 0) as bigint) as viewed_course_count, -- Different courses viewed @not_null
    cast(coalesce(dwell_seconds, 0) as bigint) as dwell_seconds, -- Time spent on course pages @not_null
    cast(coalesce(dwell_30d_seconds, 0) as bigint) as dwell_30d_seconds, -- Of this, in the last 30 days @not_null
    cast(round(coalesce(dwell_clean_seconds, 0)) as bigint) as dwell_clean_seconds, -- Time spent on course pages, cleaned: a forgotten tab counts no longer than the longest usual visit @not_null
    cast(round(coalesce(dwell_30d_clean_seconds, 0)) as bigint) as dwell_30d_clean_seconds, -- Of this, in the last 30 days @not_null
    date_diff('day', cast(course_viewed_at as date), cast($start as date)) as days_since_course_view, -- Days since the last course view; empty = never
    cast(coalesce(course_orders, 0) as bigint) as course_order_count, -- Paid course orders (an order of three courses counts once) @not_null
    cast(coalesce(course_orders_30d, 0) as bigint) as course_order_30d_count, -- Of these, in the last 30 days @not_null
    cast(coalesce(bought_courses, 0) as bigint) as bought_course_count, -- Different courses paid for @not_null
    cast(coalesce(refunded_lines, 0) as bigint) as refunded_course_count, -- Order lines whose money went back @not_null
    cast(coalesce(paid_fen, 0) as bigint) as paid_fen, -- Paid for courses, refunds left out @not_null
    cast(coalesce(paid_30d_fen, 0) as bigint) as paid_30d_fen, -- Of this, in the last 30 days @not_null
    cast(round(coalesce(paid_clean_fen, 0)) as bigint) as paid_clean_fen, -- Paid for courses, refunds left out, each line cleaned; not for accounts @not_null
    date_diff('day', cast(course_ordered_at as date), cast($start as date)) as days_since_course_order, -- Days since the last paid order; empty = never
    cast(coalesce(product_views, 0) as bigint) as product_view_count, -- Views of insurance product pages @not_null
    cast(coalesce(product_views_30d, 0) as bigint) as product_view_30d_count, -- Of these, in the last 30 days @not_null
    cast(coalesce(product_dwell_seconds, 0) as bigint) as product_dwell_seconds, -- Time spent on product pages @not_null
    cast(round(coalesce(product_dwell_clean_seconds, 0)) as bigint) as product_dwell_clean_seconds, -- The same, cleaned @not_null
    date_diff('day', cast(product_viewed_at as date), cast($start as date)) as days_since_product_view, -- Days since the last product view; empty = never
    cast(coalesce(active_policies, 0) as bigint) as active_policy_count, -- Policies in force at the end of the day @not_null
    cast(coalesce(issued_policies, 0) as bigint) as issued_policy_count, -- Policies issued so far @not_null
    cast(premium_fen as bigint) as premium_fen, -- Premiums of all terms issued or renewed; empty where the insurer shares none
    cast(round(premium_clean_fen) as bigint) as premium_clean_fen, -- The same, each term cleaned; not for accounts
    cast(outliers as bigint) as outlier_count, -- Events of the person whose time or money is an outlier @not_null
    date_diff('day', cast(policy_issued_at as date), cast($start as date)) as days_since_policy_issue, -- Days since a policy was last issued; empty = never
    mean_rating, -- Mean stars given in course reviews, 1 to 5; empty = no review
    cast(coalesce(reviews, 0) as bigint) as review_count, -- Course reviews written @not_null
    date_diff('day', cast(first_active_at as date), cast($start as date)) as days_since_first_activity, -- Days since the first event of any kind; empty = no event
    date_diff('day', cast(last_active_at as date), cast($start as date)) as days_since_last_activity -- Days since the last event of any kind; empty = no event
from joined
