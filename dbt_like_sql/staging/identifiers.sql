-- grain: partner, subject_id, kind, key_version, identifier_hash
-- One row per identifier of an account and key version, latest state: those of the feed identifiers, and the phone and
-- e-mail of users and customers, which are under the agreement's first key. Personal: only staging reads it.
-- An emptied phone or e-mail of users and customers is revoked, unless the firm moved to another key: the first key is
-- retired, or the account carries a valid identifier of that kind under another one. Then the hash makes no new links.
with first_key as (
    select version, retired_on from staging.hash_keys where position = 1
),

states as (
    select
        'course_platform' as partner,
        user_id as subject_id,
        phone_hash,
        email_hash,
        dt,
        cast(epoch_us(updated_at) as hugeint) * 100000 + (dt - date '1970-01-01') as age
    from raw.users
    union all
    select
        'insurer',
        customer_id,
        phone_hash,
        email_hash,
        dt,
        cast(epoch_us(updated_at) as hugeint) * 100000 + (dt - date '1970-01-01')
    from raw.customers
),

newest as (
    select
        partner,
        subject_id,
        max_by(phone_hash, age) as phone_hash,
        max_by(email_hash, age) as email_hash,
        max(case when phone_hash is not null then age end) as phone_age,
        max(case when email_hash is not null then age end) as email_age,
        min(dt) as first_on,
        count(*) as deliveries
    from states
    group by partner, subject_id
),

histories as (
    select
        s.partner,
        s.subject_id,
        min(case when s.phone_hash = n.phone_hash then s.dt end) as phone_first_on,
        min(case when s.email_hash = n.email_hash then s.dt end) as email_first_on,
        min(case when s.phone_hash is null and s.age > n.phone_age then s.dt end) as phone_emptied_on,
        min(case when s.email_hash is null and s.age > n.email_age then s.dt end) as email_emptied_on
    from states as s
    inner join newest as n on s.partner = n.partner and s.subject_id = n.subject_id
    where n.deliveries > 1
    group by s.partner, s.subject_id
),

stated as (
    select
        n.partner,
        n.subject_id,
        k.kind,
        case k.kind when 'phone' then n.phone_hash else n.email_hash end as identifier_hash,
        coalesce(case k.kind when 'phone' then h.phone_first_on else h.email_first_on end, n.first_on) as first_on,
        case k.kind when 'phone' then h.phone_emptied_on else h.email_emptied_on end as emptied_on
    from newest as n
    left join histories as h on n.partner = h.partner and n.subject_id = h.subject_id
    cross join (values ('phone'), ('email')) as k(kind)
),

told as (
    select
        partner,
        subject_id,
        kind,
        key_version,
        identifier_hash,
        min(dt) as first_on,
        max(case when status = 'revoked' then updated_at end) as revoked_at
    from raw.identifiers
    group by partner, subject_id, kind, key_version, identifier_hash
),

returned as (
    select i.partner, i.subject_id, i.kind, i.key_version, i.identifier_hash, min(i.dt) as first_on
    from raw.identifiers as i
    inner join told as t
        on i.partner = t.partner and i.subject_id = t.subject_id and i.kind = t.kind
            and i.key_version = t.key_version and i.identifier_hash = t.identifier_hash
    where t.revoked_at is not null and i.status = 'valid' and i.updated_at > t.revoked_at
    group by i.partner, i.subject_id, i.kind, i.key_version, i.identifier_hash
),

fed as (
    select
        t.partner,
        t.subject_id,
        t.kind,
        t.key_version,
        t.identifier_hash,
        t.revoked_at is null or r.first_on is not null as is_valid,
        coalesce(r.first_on, t.first_on) as first_on
    from told as t
    left join returned as r
        on t.partner = r.partner and t.subject_id = r.subject_id and t.kind = r.kind
            and t.key_version = r.key_version and t.identifier_hash = r.identifier_hash
),

moved as (
    select distinct f.partner, f.subject_id, f.kind
    from fed as f
    cross join first_key as k
    where f.is_valid and f.key_version <> k.version
),

under_first_key as (
    select
        s.partner,
        s.subject_id,
        s.kind,
        k.version as key_version,
        s.identifier_hash,
        s.emptied_on is null or coalesce(s.emptied_on > k.retired_on, false) or m.subject_id is not null as is_valid,
        s.first_on,
        s.emptied_on
    from stated as s
    cross join first_key as k
    left join moved as m on s.partner = m.partner and s.subject_id = m.subject_id and s.kind = m.kind
    where s.identifier_hash is not null
),

united as (
    select *, null as emptied_on from fed
    union all
    select s.*
    from under_first_key as s
    anti join fed as f
        on s.partner = f.partner and s.subject_id = f.subject_id and s.kind = f.kind
            and s.key_version = f.key_version and s.identifier_hash = f.identifier_hash
)

select
    u.partner, -- Firm that keeps the account @accepted(course_platform, insurer)
    u.subject_id, -- The account, by the firm's own id
    u.kind, -- What was hashed
    u.key_version, -- Version of the key in the sharing agreement
    u.identifier_hash, -- Keyed hash of the identifier
    case when u.is_valid then 'valid' else 'revoked' end as status, -- valid, or no longer the person's; the feed identifiers has the first word @accepted(valid, revoked)
    u.first_on, -- Day of the delivery that first named it @not_null
    least(u.emptied_on - 1, k.retired_on) as until_on -- Last day on which it makes new links; empty where it still does
from united as u
left join staging.hash_keys as k on u.key_version = k.version
