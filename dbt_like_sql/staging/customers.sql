-- grain: customer_id
-- One row per customer or registered prospect of the insurer, latest state. Personal: only staging reads it.
with latest as (
    select * from raw.customers
    qualify row_number() over (partition by customer_id order by updated_at desc, dt desc) = 1
)

select
    customer_id, -- The insurer's own id of the customer
    phone_hash, -- Keyed hash of the phone number
    email_hash, -- Keyed hash of the e-mail address
    gender, -- Gender as stated @accepted(female, male, other)
    birth_year, -- Year of birth
    occupation, -- Occupation in the partner's words
    city_tier, -- Tier of the home city, 1 (largest) to 5
    annual_income_fen, -- Declared yearly income; empty where not declared
    became_customer_at, -- When the insurer first registered the person (UTC)
    updated_at -- When the partner last changed the row (UTC)
from latest
