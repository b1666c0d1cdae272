-- grain: partner, subject_id
-- One row per account at one firm, with the person it belongs to. Personal: only staging reads it.
-- How accounts are joined is said in staging.identity_links. A person is named after the account known first, so the
-- name stays when other accounts are found later. Where two accounts that stood alone prove to be one person, the one
-- known later takes the other's name; own_person_id is the name it had, under which older rows know it.
with accounts as (
    select 'course_platform' as partner, user_id as subject_id, registered_at as known_at from staging.users
    union all
    select 'insurer', customer_id, became_customer_at from staging.customers
),

numbered as (
    select
        *,
        'p' || substr(md5(partner || ':' || subject_id), 1, 16) as own_person_id,
        row_number() over (order by known_at, partner, subject_id) as account_no
    from accounts
),

joined as (
    select
        a.account_no,
        b.account_no as other_no,
        l.kind,
        r.precedence,
        r.is_proof,
        l.linked_on
    from staging.identity_links as l
    inner join numbered as a on l.partner = a.partner and l.subject_id = a.subject_id
    inner join numbered as b on l.other_partner = b.partner and l.other_subject_id = b.subject_id
    inner join staging.identifier_rules as r on l.kind = r.kind
    where l.is_joined
),

touched as (
    select account_no, kind, precedence, linked_on from joined
    union all
    select other_no, kind, precedence, linked_on from joined
),

strongest as (
    select * from touched
    qualify row_number() over (partition by account_no order by precedence, linked_on) = 1
),

units as (
    select n.*, coalesce(p.account_no, n.account_no) as unit_no
    from numbered as n
    left join joined as p on n.account_no = p.other_no and p.is_proof
),

named as (
    select
        u.*,
        least(u.unit_no, h.account_no, k.other_no) as founder_no,
        s.kind,
        s.linked_on
    from units as u
    left join joined as h on u.unit_no = h.other_no and not h.is_proof
    left join joined as k on u.unit_no = k.account_no and not k.is_proof
    left join strongest as s on u.account_no = s.account_no
)

select
    n.partner, -- Firm that keeps the account @accepted(course_platform, insurer)
    n.subject_id, -- The account, by the firm's own id
    f.own_person_id as person_id, -- The person @not_null
    coalesce(n.kind, 'none') as linked_by, -- Highest identifier that joined the account to another one @accepted(none, id_card, phone, email, wechat_openid)
    n.linked_on, -- Day from which it did; empty for an account that stands alone
    n.known_at, -- When the firm opened the account (UTC) @not_null
    row_number() over (partition by f.account_no, n.partner order by n.account_no)
    = 1 as is_main_account, -- Whether it is the person's first known account at the firm @not_null
    n.own_person_id -- The person's name while the account stands alone; differs from person_id once it is joined to an earlier one @not_null
from named as n
inner join numbered as f on n.founder_no = f.account_no
