-- grain: as_of_on, partner, subject_id
-- partition: as_of_on
-- One row per account whose person consented to profiling, as of a date. THE GATE for that purpose: the only door from a
-- firm's own ids to people. A person with accounts at both firms has a row for each, with the same attributes.
select
    cast($start as date) as as_of_on, -- Day at whose end the consent holds
    i.partner, -- Firm that keeps the account @accepted(course_platform, insurer)
    i.subject_id, -- The account, by the firm's own id
    d.person_id, -- The person @not_null
    d.consent_id, -- The grant relied on, as partner:consent_id @not_null
    g.gender, -- Gender as stated
    g.birth_year, -- Year of birth
    g.occupation, -- Occupation in the partner's words
    g.city_tier, -- Tier of the home city, 1 (largest) to 5
    g.stated_interests, -- Topics the person stated, separated by |
    i.known_at -- When the firm came to know the account (UTC)
from staging.consent_decisions as d
inner join staging.identities as i on d.person_id = i.person_id
inner join staging.people as g on d.person_id = g.person_id
where d.as_of_on = cast($start as date) and d.purpose = 'profiling' and d.is_allowed and i.known_at < $end
