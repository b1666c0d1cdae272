-- grain: as_of_on, purpose, person_id
-- partition: as_of_on
-- One row per known person and purpose as of a date: may the person's data be used, and why (not). This is the population
-- that every campaign accounts for. The rule, in words:
-- 1. Every use here is a joint one: the other firm receives. So a person is allowed by a grant, given at any account of
-- theirs at either firm, that covers the OTHER firm as recipient, counts (staging.consent_ledger.fault) and has not
-- expired on the day. 2. The newest decision per account, purpose and recipient speaks for that account. 3. One refusal
-- in force, at any account, towards any recipient, refuses for the whole person (the strictest word wins).
-- 4. A refusal spoken after the day refuses too ('withdrawn since'): an old day built again does not use people who have
-- withdrawn since, unless they granted again. The price: such a day built again holds fewer people than it did.
-- An expiry works by the date alone. 5. People who are not certainly 18 on the day are never allowed: of a birth we know
-- the year only, so that is those whose 18th birthday may still be to come. An unknown year of birth does not forbid;
-- a firm that wants it to makes birth_year required in its contract.
with purposes as (
    select unnest(['profiling', 'joint_marketing', 'measurement', 'sensitive_profiling']) as purpose
),

known as (
    select
        person_id,
        year(cast($start as date)) - birth_year
        - case when month(cast($start as date)) = 12 and day(cast($start as date)) = 31 then 0 else 1 end as age_at_least
    from staging.people
    where first_known_at < $end
),

newest as (
    select
        i.person_id,
        l.purpose,
        l.decision,
        l.recipient <> l.partner as is_for_the_other_firm,
        coalesce(l.expires_on, date '9999-12-31') < cast($start as date) as is_expired,
        l.fault,
        l.partner || ':' || l.consent_id as consent_id,
        row_number() over (
            partition by l.partner, l.subject_id, l.purpose, l.recipient
            order by l.decided_at desc, case when l.decision = 'withdrawn' then 0 else 1 end, l.consent_id desc
        ) as recency
    from staging.consent_ledger as l
    inner join staging.identities as i on l.partner = i.partner and l.subject_id = i.subject_id
    where l.decided_at < $end
),

per_person as (
    select
        person_id,
        purpose,
        max(case when decision = 'withdrawn' then 1 else 0 end) as is_refused,
        min(
            case when decision = 'granted' and is_for_the_other_firm and fault is null and not is_expired
                then consent_id end
        ) as consent_id,
        min(case when is_for_the_other_firm then fault end) as fault,
        max(case when decision = 'granted' and is_for_the_other_firm and is_expired then 1 else 0 end) as is_expired
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
            when k.age_at_least < 18 then 'under 18'
            when d.is_refused = 1 then 'withdrawn'
            when r.refused_at >= $end then 'withdrawn since'
            when d.person_id is null then 'never asked'
            when d.consent_id is not null then 'granted'
            when d.fault is not null then d.fault
            when d.is_expired = 1 then 'expired'
            else 'not for the other firm'
        end as reason
    from known as k
    cross join purposes as p
    left join per_person as d on k.person_id = d.person_id and p.purpose = d.purpose
    left join staging.consent_refusals as r on k.person_id = r.person_id and p.purpose = r.purpose
)

select
    cast($start as date) as as_of_on, -- Day at whose end the decision holds
    purpose, -- What the data would be used for @accepted(profiling, joint_marketing, measurement, sensitive_profiling)
    person_id, -- The person
    reason = 'granted' as is_allowed, -- Whether the data may be used for the purpose @not_null
    reason, -- Why, or why not @accepted(granted, withdrawn, withdrawn since, expired, never asked, under 18, not for the other firm, unknown notice, notice without this purpose, notice without this firm, notice not in use)
    case when reason = 'granted' then consent_id end as consent_id -- The grant relied on, as partner:consent_id
from judged
