-- grain: as_of_on, partner, subject_id
-- partition: as_of_on
-- One row per account whose person consented to profiling and, separately, to the use of sensitive data for it (PIPL
-- Art. 29), as of a date. THE GATE for that purpose: the only door from claims and from declared income to people. What
-- is made behind it stays in segments (xmkt_assets/purposes.py names the tables) and is not published.
select
    cast($start as date) as as_of_on, -- Day at whose end the consent holds
    i.partner, -- Firm that keeps the account @accepted(course_platform, insurer)
    i.subject_id, -- The account, by the firm's own id
    d.person_id, -- The person @not_null
    d.consent_id, -- The grant relied on, as partner:consent_id @not_null
    g.annual_income_fen -- Declared yearly income; empty where not declared
from staging.consent_decisions as d
inner join staging.consent_decisions as p
    on p.person_id = d.person_id and p.as_of_on = d.as_of_on and p.purpose = 'profiling' and p.is_allowed
inner join staging.identities as i on d.person_id = i.person_id
inner join staging.people as g on d.person_id = g.person_id
where d.as_of_on = cast($start as date) and d.purpose = 'sensitive_profiling' and d.is_allowed and i.known_at < $end
