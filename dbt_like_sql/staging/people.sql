-- grain: person_id
-- One row per person known to at least one firm, with basic attributes; the insurer's word comes first where both speak.
-- Personal: only staging reads it. Marketing tables read the gates.
with sides as (
    select
        i.person_id,
        max(case when i.partner = 'course_platform' then 1 else 0 end) as on_course_side,
        max(case when i.partner = 'insurer' then 1 else 0 end) as on_insurance_side,
        max(c.gender) as customer_gender,
        max(u.gender) as user_gender,
        max(c.birth_year) as customer_birth_year,
        max(u.birth_year) as user_birth_year,
        max(c.occupation) as customer_occupation,
        max(u.occupation) as user_occupation,
        max(c.city_tier) as customer_city_tier,
        max(u.city_tier) as user_city_tier,
        max(c.annual_income_fen) as annual_income_fen,
        max(u.interests) as stated_interests,
        min(u.registered_at) as registered_at,
        min(c.became_customer_at) as became_customer_at
    from staging.identities as i
    left join staging.users as u on i.partner = 'course_platform' and i.subject_id = u.user_id
    left join staging.customers as c on i.partner = 'insurer' and i.subject_id = c.customer_id
    group by i.person_id
)

select
    person_id, -- The person
    on_course_side = 1 as has_course_side, -- Known to the course platform @not_null
    on_insurance_side = 1 as has_insurance_side, -- Known to the insurer @not_null
    coalesce(customer_gender, user_gender) as gender, -- Gender as stated
    coalesce(customer_birth_year, user_birth_year) as birth_year, -- Year of birth
    coalesce(customer_occupation, user_occupation) as occupation, -- Occupation in the partner's words
    coalesce(customer_city_tier, user_city_tier) as city_tier, -- Tier of the home city, 1 (largest) to 5
    annual_income_fen, -- Declared yearly income; empty where not declared
    stated_interests, -- Topics the person stated, separated by |
    least(registered_at, became_customer_at) as first_known_at -- When the first firm came to know the person (UTC)
from sides
