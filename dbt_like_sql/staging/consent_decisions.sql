-- grain: as_of_on, purpose, person_id
-- partition: as_of_on
-- One row per known person and purpose as of a date: may the person's data be used, and why (not). This is the population
-- that every campaign accounts for. A person known to both firms needs a grant at one and a refusal at neither:
-- the newest decision at each firm counts. People under 18, by year of birth, are never allowed.
with purposes as (
    select unnest(['profiling', 'joint_marketing', 'measurement']) as purpose
),

known as (
    select person_id, birth_year from staging.people where first_known_at < $end
),

newest as (
    select
        i.person_id,
        c.partner,
        c.purpose,
        c.decision,
        c.expires_on,
        c.partner || ':' || c.consent_id as consent_id,
        row_number() over (
            partition by c.partner, c.subject_id, c.purpose
            order by c.decided_at desc, case when c.decision = 'withdrawn' then 0 else 1 end, c.consent_id desc
        ) as recency
    from staging.consents as c
    inner join staging.identities as i on c.partner = i.partner and c.subject_id = i.subject_id
    where c.decided_at < $end
),

per_person as (
    select
        person_id,
        purpose,
        sum(case when decision = 'withdrawn' then 1 else 0 end) as withdrawals,
        sum(case when decision = 'granted' and coalesce(expires_on, date '9999-12-31') < cast($start as date)
            then 1 else 0 end) as expiries,
        sum(case when decision = 'granted' and coalesce(expires_on, date '9999-12-31') >= cast($start as date)
            then 1 else 0 end) as grants,
        min(case when decision = 'granted' and coalesce(expires_on, date '9999-12-31') >= cast($start as date)
            then consent_id end) as consent_id
    from newest
    where recency = 1
    group by person_id, purpose
),

judged as (
    select
        k.person_id,
        p.purpose,
        d.consent_id,
        case
            when k.birth_year is not null and year(cast($start as date)) - k.birth_year < 18 then 'under 18'
            when d.person_id is null then 'never asked'
            when d.withdrawals > 0 then 'withdrawn'
            when d.grants > 0 then 'granted'
            else 'expired'
        end as reason
    from known as k
    cross join purposes as p
    left join per_person as d on k.person_id = d.person_id and p.purpose = d.purpose
)

select
    cast($start as date) as as_of_on, -- Day at whose end the decision holds
    purpose, -- What the data would be used for @accepted(profiling, joint_marketing, measurement)
    person_id, -- The person
    reason = 'granted' as is_allowed, -- Whether the data may be used for the purpose @not_null
    reason, -- Why, or why not @accepted(granted, withdrawn, expired, never asked, under 18)
    case when reason = 'granted' then consent_id end as consent_id -- The grant relied on, as partner:consent_id
from judged
