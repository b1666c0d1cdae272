-- grain: person_id
-- One row per person known to at least one firm, with basic attributes; the insurer's word comes first where both speak.
-- Of several accounts of a person at one firm the newest word counts; of birth years the latest, which protects minors.
-- Personal: only staging reads it. Marketing tables read the gates.
with users as (
    select i.person_id, u.*
    from staging.identities as i
    inner join staging.users as u on i.subject_id = u.user_id
    where i.partner = 'course_platform'
),

customers as (
    select i.person_id, c.*
    from staging.identities as i
    inner join staging.customers as c on i.subject_id = c.customer_id
    where i.partner = 'insurer'
),

user_sides as (
    select
        person_id,
        max_by(gender, row(updated_at, user_id)) as gender,
        max(birth_year) as birth_year,
        max_by(occupation, row(updated_at, user_id)) as occupation,
        max_by(city_tier, row(updated_at, user_id)) as city_tier,
        max_by(interests, row(updated_at, user_id)) as stated_interests,
        min(registered_at) as known_at
    from users
    group by person_id
),

customer_sides as (
    select
        person_id,
        max_by(gender, row(updated_at, customer_id)) as gender,
        max(birth_year) as birth_year,
        max_by(occupation, row(updated_at, customer_id)) as occupation,
        max_by(city_tier, row(updated_at, customer_id)) as city_tier,
        max_by(annual_income_fen, row(updated_at, customer_id)) as annual_income_fen,
        min(became_customer_at) as known_at
    from customers
    group by person_id
)

select
    coalesce(c.person_id, u.person_id) as person_id, -- The person
    u.person_id is not null as has_course_side, -- Known to the course platform @not_null
    c.person_id is not null as has_insurance_side, -- Known to the insurer @not_null
    coalesce(c.gender, u.gender) as gender, -- Gender as stated
    coalesce(c.birth_year, u.birth_year) as birth_year, -- Year of birth
    coalesce(c.occupation, u.occupation) as occupation, -- Occupation in the partner's words
    coalesce(c.city_tier, u.city_tier) as city_tier, -- Tier of the home city, 1 (largest) to 5
    c.annual_income_fen, -- Declared yearly income; empty where not declared
    u.stated_interests, -- Topics the person stated, separated by |
    least(u.known_at, c.known_at) as first_known_at -- When the first firm came to know the person (UTC)
from user_sides as u
full join customer_sides as c on u.person_id = c.person_id
