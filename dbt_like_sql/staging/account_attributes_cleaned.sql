-- grain: as_of_on, partner, subject_id
-- kind: view
-- audit: as_of_on in (select max(as_of_on) from staging.cleaning_statistics)
-- One row per account and day: what its person stated, as delivered, cleaned and marked, by the rules in
-- staging.cleaning_rules as they were fitted at the end of as_of_on (staging.cleaning_statistics). No row is dropped.
-- Personal: read it through a gate. Clean values serve models; who may be contacted or sold to is decided on what was
-- stated. Trap: name one as_of_on in every query.
with years as (
    select * from staging.cleaning_statistics
    where table_name = 'account_attributes' and column_name = 'birth_year'
),

tiers as (
    select * from staging.cleaning_statistics
    where table_name = 'account_attributes' and column_name = 'city_tier'
),

genders as (
    select * from staging.cleaning_statistics
    where table_name = 'account_attributes' and column_name = 'gender'
),

occupations as (
    select * from staging.cleaning_statistics
    where table_name = 'account_attributes' and column_name = 'occupation'
),

cleaned as (
    select
        a.*,
        case
            when coalesce(a.birth_year, y.fill_value) is not null
                then least(greatest(cast(coalesce(a.birth_year, y.fill_value) as double), y.clip_low), y.clip_high)
        end as clean_year,
        a.birth_year is null and y.fill_value is not null as year_is_imputed,
        coalesce(a.birth_year < y.outlier_low or a.birth_year > y.outlier_high, false) as year_is_outlier,
        y.scale_centre as year_centre,
        y.scale_width as year_width,
        case
            when coalesce(a.city_tier, t.fill_value) is not null
                then least(greatest(cast(coalesce(a.city_tier, t.fill_value) as double), t.clip_low), t.clip_high)
        end as clean_tier,
        a.city_tier is null and t.fill_value is not null as tier_is_imputed,
        coalesce(a.city_tier < t.outlier_low or a.city_tier > t.outlier_high, false) as tier_is_outlier,
        t.scale_centre as tier_centre,
        t.scale_width as tier_width,
        g.fill_word as gender_fill,
        o.fill_word as occupation_fill
    from staging.account_attributes as a
    left join years as y
        on y.as_of_on = a.as_of_on and y.group_value = case when y.grouped_by = 'none' then 'all' else a.partner end
    left join tiers as t
        on t.as_of_on = a.as_of_on and t.group_value = case when t.grouped_by = 'none' then 'all' else a.partner end
    left join genders as g
        on g.as_of_on = a.as_of_on and g.group_value = case when g.grouped_by = 'none' then 'all' else a.partner end
    left join occupations as o
        on o.as_of_on = a.as_of_on and o.group_value = case when o.grouped_by = 'none' then 'all' else a.partner end
)

select
    as_of_on, -- Day at whose end this was known and values are cleaned
    partner, -- Firm that keeps the account
    subject_id, -- The account, by the firm's own id
    birth_year, -- Year of birth as stated
    clean_year as birth_year_clean, -- The same, cleaned as the rule says; filled years may have decimals
    year_is_imputed as birth_year_is_imputed, -- Whether it was missing and is filled @not_null
    year_is_outlier as birth_year_is_outlier, -- Whether the stated year is an outlier @not_null
    (clean_year - year_centre) / year_width as birth_year_scaled, -- The clean value, scaled as the rule says
    city_tier, -- Tier of the home city as stated, 1 (largest) to 5
    clean_tier as city_tier_clean, -- The same, cleaned as the rule says
    tier_is_imputed as city_tier_is_imputed, -- Whether it was missing and is filled @not_null
    tier_is_outlier as city_tier_is_outlier, -- Whether the stated tier is an outlier @not_null
    (clean_tier - tier_centre) / tier_width as city_tier_scaled, -- The clean value, scaled as the rule says
    gender, -- Gender as stated
    coalesce(gender, gender_fill) as gender_clean, -- The same, filled as the rule says
    gender is null and gender_fill is not null as gender_is_imputed, -- Whether it was missing and is filled @not_null
    occupation, -- Occupation in the partner's words
    coalesce(occupation, occupation_fill) as occupation_clean, -- The same, filled as the rule says
    occupation is null and occupation_fill is not null as occupation_is_imputed -- Whether it was missing and is filled @not_null
from cleaned
