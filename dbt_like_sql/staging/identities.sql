-- grain: partner, subject_id
-- One row per account at one firm, with the person it belongs to. Personal: only staging reads it.
-- Precedence: a phone hash that exactly one account of each firm carries joins the two; where that finds nobody, an
-- e-mail hash does. A hash shared by several accounts of one firm (a household phone) joins nobody: better two
-- profiles of one person than one profile of two. A person is named after the account known first, so the name stays
-- when the other firm's account is found later.
with accounts as (
    select 'course_platform' as partner, user_id as subject_id, phone_hash, email_hash, registered_at as known_at
    from staging.users
    union all
    select 'insurer' as partner, customer_id as subject_id, phone_hash, email_hash, became_customer_at as known_at
    from staging.customers
),

hashes as (
    select partner, subject_id, known_at, 'phone' as kind, phone_hash as hash from accounts
    where phone_hash is not null
    union all
    select partner, subject_id, known_at, 'email' as kind, email_hash as hash from accounts
    where email_hash is not null
),

own_hashes as (
    select partner, kind, hash, min(subject_id) as subject_id, min(known_at) as known_at from hashes
    group by partner, kind, hash
    having count(*) = 1
),

meetings as (
    select
        c.subject_id as user_id,
        i.subject_id as customer_id,
        min(c.known_at) as user_known_at,
        min(i.known_at) as customer_known_at,
        max(case when c.kind = 'phone' then 1 else 0 end) as is_by_phone
    from own_hashes as c
    inner join own_hashes as i on c.kind = i.kind and c.hash = i.hash
    where c.partner = 'course_platform' and i.partner = 'insurer'
    group by c.subject_id, i.subject_id
),

ranked as (
    select
        *,
        row_number() over (partition by user_id order by is_by_phone desc, customer_id) as user_choice,
        row_number() over (partition by customer_id order by is_by_phone desc, user_id) as customer_choice
    from meetings
),

pairs as (
    select
        user_id,
        customer_id,
        is_by_phone,
        case
            when user_known_at <= customer_known_at then 'course_platform:' || user_id
            else 'insurer:' || customer_id
        end as founder
    from ranked
    where user_choice = 1 and customer_choice = 1
),

paired as (
    select 'course_platform' as partner, user_id as subject_id, founder, is_by_phone from pairs
    union all
    select 'insurer' as partner, customer_id as subject_id, founder, is_by_phone from pairs
)

select
    a.partner, -- Firm that keeps the account @accepted(course_platform, insurer)
    a.subject_id, -- The account, by the firm's own id
    'p' || substr(md5(coalesce(p.founder, a.partner || ':' || a.subject_id)), 1, 16) as person_id, -- The person @not_null
    case
        when p.is_by_phone is null then 'none'
        when p.is_by_phone = 1 then 'phone'
        else 'email'
    end as linked_by, -- Which hash joined the two firms' accounts @accepted(none, phone, email)
    a.known_at -- When the firm opened the account (UTC) @not_null
from accounts as a
left join paired as p on a.partner = p.partner and a.subject_id = p.subject_id
