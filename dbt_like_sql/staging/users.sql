-- grain: user_id
-- One row per user of the course platform, latest state. Personal: only staging reads it.
with latest as (
    select * from raw.users
    qualify row_number() over (partition by user_id order by updated_at desc, dt desc) = 1
)

select
    user_id, -- The course platform's own id of the user
    phone_hash, -- Keyed hash of the phone number
    email_hash, -- Keyed hash of the e-mail address
    gender, -- Gender as stated @accepted(female, male, other)
    birth_year, -- Year of birth
    occupation, -- Occupation in the partner's words
    city_tier, -- Tier of the home city, 1 (largest) to 5
    interests, -- Topics the user stated, separated by |
    registered_at, -- When the account was opened (UTC)
    updated_at -- When the partner last changed the row (UTC)
from latest
