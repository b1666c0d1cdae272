-- grain: partner, subject_id, other_partner, other_subject_id, kind
-- engine: duckdb - proofs are followed by a recursive query, which Sail lacks; hashes compared as numbers, which Spark lacks
-- One row per two accounts that an identifier speaks of together, with what was decided; joined rows make the people of
-- staging.identities. Without hashes, but personal: only staging reads it. The sharing agreement gives the order of
-- precedence (staging.identifier_rules) and the life of the keys (staging.hash_keys).
-- Proofs (id_card): accounts with the same proof are one person, at one firm too. An account with two proofs of a kind
-- under one key, or a proof on too many accounts of a firm, proves nothing.
-- Hints (phone, email, …): join one person of each firm, if each of the two was the only one at its firm to carry the
-- hash when the later of them did. So a second account of a household joins nobody, and breaks no link that stands.
-- A hint joins nobody against a proof, nor two accounts of one firm by way of the other firm, nor people whose birth
-- years or genders differ, unless two kinds say the same. Of several hints the higher kind wins, then the earlier one;
-- who loses stays alone: better two profiles of one person than one profile of two.
-- A key makes no new links after retired_on. The links it made stay until both have that kind under a later key.
-- An account stands for all that share its proofs: the one known first. Chains of proofs are followed for four steps.
with recursive accounts as (
    select 'course_platform' as partner, user_id as subject_id, registered_at as known_at, birth_year, gender
    from staging.users
    union all
    select 'insurer', customer_id, became_customer_at, birth_year, gender from staging.customers
),

numbered as materialized (
    select *, row_number() over (order by known_at, partner, subject_id) as account_no from accounts
),

held as materialized (
    select
        a.account_no,
        a.partner,
        i.kind,
        r.precedence,
        r.is_proof,
        r.at_most_accounts,
        k.position as key_no,
        k.retired_on,
        md5_number(i.identifier_hash) as hash_no,
        i.first_on,
        coalesce(i.until_on, date '9999-12-31') as until_on,
        i.status = 'valid' and coalesce(i.first_on <= i.until_on, true) as is_valid
    from staging.identifiers as i
    inner join staging.identifier_rules as r on i.kind = r.kind
    inner join staging.hash_keys as k on i.key_version = k.version
    inner join numbered as a on i.partner = a.partner and i.subject_id = a.subject_id
),

later_keys as materialized (
    select h.account_no, h.kind, k.position as key_no
    from held as h
    inner join staging.hash_keys as k on h.key_no > k.position
    where k.retired_on is not null
    group by h.account_no, h.kind, k.position
),

proofs as (
    select
        *,
        count(*) over (partition by account_no, kind, key_no) as own_proofs,
        count(*) over (partition by partner, kind, key_no, hash_no) as accounts
    from held
    where is_proof and is_valid
),

good_proofs as materialized (
    select * from proofs
    where own_proofs = 1 and accounts <= at_most_accounts
),

proven as materialized (
    select a.account_no, b.account_no as other_no, a.kind, a.precedence, greatest(a.first_on, b.first_on) as linked_on
    from good_proofs as a
    inner join good_proofs as b
        on a.kind = b.kind and a.key_no = b.key_no and a.hash_no = b.hash_no
            and a.account_no <> b.account_no
    left join later_keys as l on a.account_no = l.account_no and a.kind = l.kind and a.key_no = l.key_no
    left join later_keys as m on b.account_no = m.account_no and b.kind = m.kind and b.key_no = m.key_no
    where
        greatest(a.first_on, b.first_on) <= least(a.until_on, b.until_on)
        and (l.account_no is null or m.account_no is null)
),

reached (account_no, other_no, steps) as (
    select account_no, account_no, 0 from proven
    union
    select r.account_no, p.other_no, r.steps + 1
    from reached as r
    inner join proven as p on r.other_no = p.account_no
    where r.steps < 4 and r.account_no <> p.other_no
),

groups as materialized (
    select account_no, min(other_no) as unit_no from reached
    group by account_no
),

units as materialized (
    select
        a.account_no,
        a.partner,
        a.subject_id,
        a.birth_year,
        case when a.gender <> 'other' then a.gender end as gender,
        coalesce(g.unit_no, a.account_no) as unit_no
    from numbered as a
    left join groups as g on a.account_no = g.account_no
),

unit_traits as materialized (
    select
        unit_no,
        max(birth_year) as birth_year,
        max(gender) as gender,
        bool_or(partner = 'course_platform') as has_user,
        bool_or(partner = 'insurer') as has_customer
    from units
    group by unit_no
),

hints as (
    select
        h.partner,
        h.kind,
        h.precedence,
        h.key_no,
        h.hash_no,
        u.unit_no,
        min(h.first_on) as first_on,
        max(h.until_on) as until_on
    from held as h
    inner join units as u on h.account_no = u.account_no
    where h.is_valid and not h.is_proof
    group by all
),

carriers as (
    select
        partner,
        kind,
        precedence,
        key_no,
        hash_no,
        min(row(first_on, unit_no)) as first_one,
        arg_min(until_on, row(first_on, unit_no)) as until_on,
        coalesce(min(first_on, 2)[2], date '9999-12-31') as second_on
    from hints
    group by all
),

unit_later_keys as (
    select distinct u.unit_no, l.kind, l.key_no
    from later_keys as l
    inner join units as u on l.account_no = u.account_no
),

meetings as (
    select
        c.kind,
        c.precedence,
        c.first_one[2] as user_no,
        i.first_one[2] as customer_no,
        greatest(c.first_one[1], i.first_one[1]) as linked_on,
        greatest(c.first_one[1], i.first_one[1]) < least(c.second_on, i.second_on) as is_sole
    from carriers as c
    inner join carriers as i on c.kind = i.kind and c.key_no = i.key_no and c.hash_no = i.hash_no
    left join unit_later_keys as l
        on c.first_one[2] = l.unit_no and c.kind = l.kind and c.key_no = l.key_no
    left join unit_later_keys as m
        on i.first_one[2] = m.unit_no and i.kind = m.kind and i.key_no = m.key_no
    where
        c.partner = 'course_platform'
        and i.partner = 'insurer'
        and c.first_one[2] <> i.first_one[2]
        and greatest(c.first_one[1], i.first_one[1]) <= least(c.until_on, i.until_on)
        and (l.unit_no is null or m.unit_no is null)
),

pairs as materialized (
    select
        user_no,
        customer_no,
        bool_or(is_sole) as is_sole,
        count(distinct case when is_sole then kind end) as kinds_agreeing,
        coalesce(min(case when is_sole then precedence end), min(precedence)) as precedence,
        coalesce(min(case when is_sole then row(precedence, linked_on) end)[2], min(linked_on)) as linked_on
    from meetings
    group by user_no, customer_no
),

unit_proofs as materialized (
    select distinct u.unit_no, g.kind, g.key_no
    from good_proofs as g
    inner join units as u on g.account_no = u.account_no
),

-- In steps: joined at once, DuckDB may begin with all proofs of a kind, or all people, against one another.
user_proofs as materialized (
    select p.user_no, p.customer_no, a.kind, a.key_no
    from pairs as p
    inner join unit_proofs as a on p.user_no = a.unit_no
),

proof_denials as (
    select distinct p.user_no, p.customer_no
    from user_proofs as p
    inner join unit_proofs as b on p.customer_no = b.unit_no and p.kind = b.kind and p.key_no = b.key_no
),

tolerance as (
    select max(birth_year_tolerance_years) as years from staging.identifier_rules
),

users_known as materialized (
    select p.*, u.birth_year as user_birth_year, u.gender as user_gender, u.has_customer
    from pairs as p
    inner join unit_traits as u on p.user_no = u.unit_no
),

both_known as materialized (
    select p.*, c.birth_year as customer_birth_year, c.gender as customer_gender, c.has_user
    from users_known as p
    inner join unit_traits as c on p.customer_no = c.unit_no
),

weighed as (
    select
        p.*,
        coalesce(abs(p.user_birth_year - p.customer_birth_year) > t.years, false)
        or coalesce(p.user_gender <> p.customer_gender, false) as differs,
        case
            when not p.is_sole then 'several accounts of a firm carry it'
            when d.user_no is not null then 'their proofs differ'
            when p.has_customer or p.has_user then 'it would join two accounts of one firm'
            when p.kinds_agreeing = 1 and differs then 'birth year or gender differs'
        end as objection
    from both_known as p
    cross join tolerance as t
    left join proof_denials as d on p.user_no = d.user_no and p.customer_no = d.customer_no
),

ranked as (
    select
        *,
        row_number() over (
            partition by user_no, objection is null order by precedence, linked_on, customer_no
        ) as user_choice,
        row_number() over (
            partition by customer_no, objection is null order by precedence, linked_on, user_no
        ) as customer_choice
    from weighed
),

by_hint as (
    select
        user_no as account_no,
        customer_no as other_no,
        precedence,
        linked_on,
        objection is null and user_choice = 1 and customer_choice = 1 as is_joined,
        case
            when objection is not null then objection
            when user_choice > 1 or customer_choice > 1 then 'another identifier speaks for another account'
            when differs then 'birth year or gender differs'
        end as conflict
    from ranked
),

first_proofs as materialized (
    select account_no, min(precedence) as precedence, min(linked_on) as linked_on from proven
    group by account_no
),

grouped as materialized (
    select g.unit_no, g.account_no, p.precedence, p.linked_on
    from groups as g
    inner join first_proofs as p on g.account_no = p.account_no
    where g.unit_no <> g.account_no
),

grouped_known as materialized (
    select g.*, b.birth_year, b.gender
    from grouped as g
    inner join units as b on g.account_no = b.account_no
),

by_proof as (
    select
        g.unit_no as account_no,
        g.account_no as other_no,
        g.precedence,
        g.linked_on,
        true as is_joined,
        case when abs(a.birth_year - g.birth_year) > t.years or a.gender <> g.gender then 'birth year or gender differs'
        end as conflict
    from grouped_known as g
    inner join units as a on g.unit_no = a.account_no
    cross join tolerance as t
),

useless_proofs as (
    select
        account_no,
        account_no as other_no,
        precedence,
        min(first_on) as linked_on,
        false as is_joined,
        case when max(own_proofs) > 1 then 'the account has two' else 'too many accounts of a firm carry it' end
            as conflict
    from proofs
    where own_proofs > 1 or accounts > at_most_accounts
    group by account_no, precedence
),

everything as (
    select * from by_hint
    union all
    select * from by_proof
    union all
    select * from useless_proofs
)

select
    a.partner, -- Firm that keeps the one account @accepted(course_platform, insurer)
    a.subject_id, -- The account; of several with one proof the first known
    b.partner as other_partner, -- Firm that keeps the other account @accepted(course_platform, insurer)
    b.subject_id as other_subject_id, -- The other account; the same one where it contradicts itself
    r.kind, -- Highest identifier that speaks for the two @not_null
    e.linked_on, -- Day from which it did @not_null
    e.is_joined, -- Whether the two are one person by it @not_null
    e.conflict -- What speaks against it, or did; empty = nothing @accepted(several accounts of a firm carry it, their proofs differ, it would join two accounts of one firm, birth year or gender differs, another identifier speaks for another account, the account has two, too many accounts of a firm carry it)
from everything as e
inner join numbered as a on e.account_no = a.account_no
inner join numbered as b on e.other_no = b.account_no
inner join staging.identifier_rules as r on e.precedence = r.precedence
