-- grain: as_of_on, partner, subject_id
-- partition: as_of_on
-- One row per account at one firm with what its person stated there, as known at the end of the day: a change made later
-- is not seen. Personal: read it through a gate. Cleaned values are in staging.account_attributes_cleaned.
with users as (
    select * from raw.users
    where updated_at < $end
    qualify row_number() over (partition by user_id order by updated_at desc, dt desc) = 1
),

customers as (
    select * from raw.customers
    where updated_at < $end
    qualify row_number() over (partition by customer_id order by updated_at desc, dt desc) = 1
),

accounts as (
    select 'course_platform' as partner, user_id as subject_id, gender, birth_year, occupation, city_tier from users
    union all
    select 'insurer' as partner, customer_id as subject_id, gender, birth_year, occupation, city_tier from customers
)

select
    cast($start as date) as as_of_on, -- Day at whose end this was known
    partner, -- Firm that keeps the account @accepted(course_platform, insurer)
    subject_id, -- The account, by the firm's own id
    gender, -- Gender as stated; empty where not stated
    birth_year, -- Year of birth; empty where unknown
    occupation, -- Occupation in the partner's words; empty where unknown
    city_tier -- Tier of the home city, 1 (largest) to 5; empty where unknown
from accounts
