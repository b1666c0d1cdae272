-- grain: as_of_on, value_label
-- partition: as_of_on
-- One row per value group as of the end of the day: how many people, what they do on average, what they are likely to do.
-- Trap: means of probabilities are over the people scored; a group of whom nobody was scored has none.
select
    p.as_of_on, -- Day whose end the row describes @not_null
    p.value_label, -- Value group @not_null
    cast(count(*) as bigint) as people, -- People in the group @not_null
    cast(count(*) as double) / sum(count(*)) over () as people_share, -- Part of all people of the day @not_null
    cast(sum(case when p.has_course_side and p.has_insurance_side then 1 else 0 end) as bigint) as people_of_both_firms, -- Of these, known to both firms @not_null
    cast(avg(p.age_years) as double) as mean_age_years, -- Mean age of those whose age is known
    cast(avg(p.course_order_count) as double) as mean_course_order_count, -- Mean paid course orders @not_null
    cast(avg(p.paid_fen) as double) as mean_paid_fen, -- Mean paid for courses @not_null
    cast(avg(p.active_policy_count) as double) as mean_active_policy_count, -- Mean policies in force @not_null
    cast(avg(p.premium_fen) as double) as mean_premium_fen, -- Mean premiums of those whose premiums are shared
    cast(avg(p.days_since_last_activity) as double) as mean_days_since_last_activity, -- Mean days since the last event, of those with any
    cast(avg(p.visit_84d_count) as double) as mean_visit_84d_count, -- Mean visits at both firms in the last 84 days
    cast(avg(p.visit_trend_ratio) as double) as mean_visit_trend_ratio, -- Mean change of visits over these days, -1 to 1
    cast(avg(p.lapse_risk_share) as double) as mean_lapse_risk_share, -- Mean probability of losing a policy within 60 days, of those scored
    cast(avg(p.course_purchase_share) as double) as mean_course_purchase_share, -- Mean probability of paying for a course within 30 days, of those scored
    cast(avg(p.product_purchase_share) as double) as mean_product_purchase_share -- Mean probability of taking out a policy within 60 days, of those scored
from segments.person_profile as p
where p.as_of_on = cast($start as date)
group by p.as_of_on, p.value_label
