-- grain: as_of_on, person_id
-- partition: as_of_on
-- One row per person whose consent to profiling is in force, as of the end of the day: who the person is, what the person
-- does, is worth, cares about and is likely to do next, each label with its reasons in words. The table to read for
-- anything about people, but claims, claim risk and income: those need a consent of their own and are in
-- segments.sensitive_profile. Earlier days stay: compare two days of a person by as_of_on.
-- Trap: an empty share means that nobody could tell, not zero; the band is then 'unknown', or 'not scored' where the
-- question does not arise (nobody without a policy can lose one).
with ranked as (
    select
        i.person_id,
        max(case when i.interest_rank = 1 then i.topic end) as first_topic,
        max(case when i.interest_rank = 2 then i.topic end) as second_topic,
        max(case when i.interest_rank = 3 then i.topic end) as third_topic,
        max(case when i.interest_rank = 1 then i.strength_share end) as first_share,
        max(case when i.interest_rank = 2 then i.strength_share end) as second_share,
        max(case when i.interest_rank = 3 then i.strength_share end) as third_share
    from segments.person_interests as i
    where i.as_of_on = cast($start as date) and i.interest_rank <= 3
    group by i.person_id
),
next_topics as (
    select n.person_id, n.topic, n.share, n.why
    from segments.next_interest as n
    where n.as_of_on = cast($start as date) and n.rank = 1
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
    coalesce(c.why, c.reason) as value_why, -- Why this group, in words; where there is none, why not
    nullif(concat_ws('|', r.first_topic, r.second_topic, r.third_topic), '') as interests, -- Up to three topics separated by |, strongest first; empty = nothing known
    nullif(
        concat_ws(
            ', ',
            case when r.first_topic is not null then concat(r.first_topic, ' ', cast(cast(round(100 * r.first_share) as integer) as varchar), '%') end,
            case when r.second_topic is not null then concat(r.second_topic, ' ', cast(cast(round(100 * r.second_share) as integer) as varchar), '%') end,
            case when r.third_topic is not null then concat(r.third_topic, ' ', cast(cast(round(100 * r.third_share) as integer) as varchar), '%') end
        ),
        ''
    ) as interests_in_words, -- The same topics with the part of all interest that each holds
    r.first_share as top_interest_share, -- Part of all interest that the first topic holds
    n.topic as next_interest, -- Topic the person most probably turns to in the next 30 days; empty where it could not be told
    n.share as next_interest_share, -- Probability of this topic among all topics, given that there is a next one
    n.why as next_interest_why, -- Why this topic, in words
    l.lapse_risk_share, -- Probability of losing a policy within 60 days; empty where unknown or without a policy
    coalesce(l.lapse_risk_band, 'not scored') as lapse_risk_band, -- The probability against that of all people scored @not_null @accepted(low, medium, high, unknown, not scored)
    coalesce(l.why, l.reason) as lapse_risk_why, -- What raises and lowers it, in words; where there is none, why not
    b.course_purchase_share, -- Probability of paying for a course within 30 days; empty where unknown or no user of the platform
    coalesce(b.course_purchase_band, 'not scored') as course_purchase_band, -- The probability against that of all people scored @not_null @accepted(low, medium, high, unknown, not scored)
    coalesce(b.why, b.reason) as course_purchase_why, -- What raises and lowers it, in words; where there is none, why not
    q.product_purchase_share, -- Probability of taking out a policy within 60 days; empty where unknown
    coalesce(q.product_purchase_band, 'not scored') as product_purchase_band, -- The probability against that of all people scored @not_null @accepted(low, medium, high, unknown, not scored)
    coalesce(q.why, q.reason) as product_purchase_why, -- What raises and lowers it, in words; where there is none, why not
    f.course_view_count, -- Views of course pages and lectures @not_null
    f.dwell_seconds, -- Time spent on course pages @not_null
    f.course_order_count, -- Paid course orders @not_null
    f.paid_fen, -- Paid for courses, refunds left out @not_null
    f.product_view_count, -- Views of insurance product pages @not_null
    f.active_policy_count, -- Policies in force at the end of the day @not_null
    f.premium_fen, -- Premiums of all terms issued or renewed; empty where the insurer shares none
    f.mean_rating, -- Mean stars given in course reviews; empty = no review
    t.visit_84d_count, -- Visits at both firms in the last 84 days; empty where trends were not made
    t.visit_trend_ratio, -- Change of visits from the first to the last 28 of these days, -1 (stopped) to 1 (new)
    f.days_since_course_order, -- Days since the last paid order; empty = never
    f.days_since_last_activity -- Days since the last event of any kind; empty = no event
from segments.person_features as f
left join segments.person_clusters as c on c.as_of_on = f.as_of_on and c.person_id = f.person_id
left join segments.person_trends as t on t.as_of_on = f.as_of_on and t.person_id = f.person_id
left join segments.lapse_risk as l on l.as_of_on = f.as_of_on and l.person_id = f.person_id
left join segments.course_purchase as b on b.as_of_on = f.as_of_on and b.person_id = f.person_id
left join segments.product_purchase as q on q.as_of_on = f.as_of_on and q.person_id = f.person_id
left join ranked as r on r.person_id = f.person_id
left join next_topics as n on n.person_id = f.person_id
where f.as_of_on = cast($start as date)
