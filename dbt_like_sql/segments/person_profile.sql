-- grain: as_of_on, person_id
-- partition: as_of_on
-- One row per person whose consent to profiling is in force, as of the end of the day: who the person is, what the person
-- does, is worth and cares about. The table to read for anything about people, but claims, claim risk and income: those
-- need a consent of their own and are in segments.sensitive_profile.
with ranked as (
    select
        i.person_id,
        max(case when i.interest_rank = 1 then i.topic end) as first_topic,
        max(case when i.interest_rank = 2 then i.topic end) as second_topic,
        max(case when i.interest_rank = 3 then i.topic end) as third_topic,
        max(case when i.interest_rank = 1 then i.strength_share end) as top_share
    from segments.person_interests as i
    where i.as_of_on = cast($start as date)
    group by i.person_id
)
select
    f.as_of_on, -- Day whose end the row describes @not_null
    f.person_id, -- Person known to at least one firm @not_null
    f.gender, -- Gender as stated; empty where not stated
    f.age_years, -- Age reached within the year; empty where unknown
    f.age_band, -- Age in bands of ten years @not_null
    f.occupation, -- Occupation in the partner's words; empty where unknown
    f.city_tier, -- Tier of the home city, 1 (largest) to 5; empty where unknown
    f.has_course_side, -- Whether the person is a user of the course platform @not_null
    f.has_insurance_side, -- Whether the person is a customer of the insurer @not_null
    coalesce(c.value_label, 'unknown') as value_label, -- Value group the person's behaviour falls into @not_null
    nullif(concat_ws('|', r.first_topic, r.second_topic, r.third_topic), '') as interests, -- Up to three topics separated by |, strongest first; empty = nothing known
    r.top_share as top_interest_share, -- Part of all interest that the first topic holds
    f.course_view_count, -- Views of course pages and lectures @not_null
    f.dwell_seconds, -- Time spent on course pages @not_null
    f.course_order_count, -- Paid course orders @not_null
    f.paid_fen, -- Paid for courses, refunds left out @not_null
    f.product_view_count, -- Views of insurance product pages @not_null
    f.active_policy_count, -- Policies in force at the end of the day @not_null
    f.premium_fen, -- Premiums of all terms issued or renewed; empty where the insurer shares none
    f.mean_rating, -- Mean stars given in course reviews; empty = no review
    f.days_since_course_order, -- Days since the last paid order; empty = never
    f.days_since_last_activity -- Days since the last event of any kind; empty = no event
from segments.person_features as f
left join segments.person_clusters as c on c.as_of_on = f.as_of_on and c.person_id = f.person_id
left join ranked as r on r.person_id = f.person_id
where f.as_of_on = cast($start as date)
