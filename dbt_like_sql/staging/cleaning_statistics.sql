-- grain: as_of_on, table_name, column_name, group_value
-- partition: as_of_on
-- One row per rule of staging.cleaning_rules, and group where it has one: what the rule comes to, fitted on what happened
-- up to the end of the day and within its window, never on anything later. Figures of whole columns: nobody is in them.
-- Exact: each column is counted per value first, and quartiles (linear between neighbours), mean and standard deviation
-- (of a population) follow from the counts. The order is: bounds from the values as delivered; winsorising; filling;
-- scaling fitted on the clean values. Trap: a column of which half or more is one value has no quartile distance, so the
-- iqr rule calls nothing an outlier there.
with fitting as (
    select
        *,
        cast($end as timestamp) - window_days * interval 1 day as from_at
    from staging.cleaning_rules
),

counts as (
    select 'course_views' as table_name, 'dwell_seconds' as column_name, 'all' as group_value,
        cast(v.dwell_seconds as double) as value, cast(null as varchar) as word, count(*) as n
    from staging.course_views as v
    where v.viewed_at < $end and v.viewed_at >= (
        select max(f.from_at) from fitting as f where f.table_name = 'course_views' and f.column_name = 'dwell_seconds'
    )
    group by v.dwell_seconds
    union all
    select 'product_views' as table_name, 'dwell_seconds' as column_name, 'all' as group_value,
        cast(v.dwell_seconds as double) as value, null as word, count(*) as n
    from staging.product_views as v
    where v.viewed_at < $end and v.viewed_at >= (
        select max(f.from_at) from fitting as f where f.table_name = 'product_views' and f.column_name = 'dwell_seconds'
    )
    group by v.dwell_seconds
    union all
    select 'course_orders' as table_name, 'paid_fen' as column_name, 'all' as group_value,
        cast(o.paid_fen as double) as value, null as word, count(*) as n
    from staging.course_orders as o
    where o.ordered_at < $end and o.ordered_at >= (
        select max(f.from_at) from fitting as f where f.table_name = 'course_orders' and f.column_name = 'paid_fen'
    )
    group by o.paid_fen
    union all
    select 'course_reviews' as table_name, 'rating' as column_name, 'all' as group_value,
        cast(r.rating as double) as value, null as word, count(*) as n
    from staging.course_reviews as r
    where r.reviewed_at < $end and r.reviewed_at >= (
        select max(f.from_at) from fitting as f where f.table_name = 'course_reviews' and f.column_name = 'rating'
    )
    group by r.rating
    union all
    -- A cancellation has no premium: it is not missing there.
    select 'policies' as table_name, 'premium_fen' as column_name, coalesce(c.product_class, 'unknown') as group_value,
        cast(p.premium_fen as double) as value, null as word, count(*) as n
    from staging.policies as p
    left join staging.products as c on c.product_id = p.product_id
    where p.event in ('issued', 'renewed') and p.occurred_at < $end and p.occurred_at >= (
        select max(f.from_at) from fitting as f where f.table_name = 'policies' and f.column_name = 'premium_fen'
    )
    group by coalesce(c.product_class, 'unknown'), p.premium_fen
    union all
    select 'account_attributes' as table_name, 'birth_year' as column_name, a.partner as group_value,
        cast(a.birth_year as double) as value, null as word, count(*) as n
    from staging.account_attributes as a
    where a.as_of_on = cast($start as date)
    group by a.partner, a.birth_year
    union all
    select 'account_attributes' as table_name, 'city_tier' as column_name, a.partner as group_value,
        cast(a.city_tier as double) as value, null as word, count(*) as n
    from staging.account_attributes as a
    where a.as_of_on = cast($start as date)
    group by a.partner, a.city_tier
    union all
    select 'account_attributes' as table_name, 'gender' as column_name, a.partner as group_value,
        cast(null as double) as value, a.gender as word, count(*) as n
    from staging.account_attributes as a
    where a.as_of_on = cast($start as date)
    group by a.partner, a.gender
    union all
    select 'account_attributes' as table_name, 'occupation' as column_name, a.partner as group_value,
        cast(null as double) as value, a.occupation as word, count(*) as n
    from staging.account_attributes as a
    where a.as_of_on = cast($start as date)
    group by a.partner, a.occupation
),

-- A group is kept only where its rule asks for it.
grouped as (
    select
        c.table_name,
        c.column_name,
        case when f.grouped_by = 'none' then 'all' else c.group_value end as group_value,
        c.value,
        c.word,
        sum(c.n) as n
    from counts as c
    inner join fitting as f on f.table_name = c.table_name and f.column_name = c.column_name
    group by c.table_name, c.column_name, case when f.grouped_by = 'none' then 'all' else c.group_value end, c.value, c.word
),

-- Every rule has a row for the whole column, also where nothing has arrived yet.
members as (
    select table_name, column_name, group_value from grouped
    union
    select table_name, column_name, 'all' as group_value from fitting where grouped_by = 'none'
),

present as (
    select
        *,
        sum(n) over (partition by table_name, column_name, group_value order by value, word) as upto,
        max(n) over (partition by table_name, column_name, group_value) as top_n
    from grouped
    where value is not null or word is not null
),

totals as (
    select
        m.table_name,
        m.column_name,
        m.group_value,
        coalesce(sum(g.n), 0) as row_count,
        coalesce(sum(case when g.value is not null or g.word is not null then g.n else 0 end), 0) as present_count,
        sum(g.value * g.n) / sum(case when g.value is not null then g.n end) as mean,
        min(g.value) as smallest,
        max(g.value) as largest
    from members as m
    left join grouped as g
        on g.table_name = m.table_name and g.column_name = m.column_name and g.group_value = m.group_value
    group by m.table_name, m.column_name, m.group_value
),

-- Value number k of the sorted values, counted from 0, is the smallest one up to which more than k values lie.
neighbours as (
    select
        t.table_name,
        t.column_name,
        t.group_value,
        q.part,
        (t.present_count - 1) * q.part - floor((t.present_count - 1) * q.part) as way,
        min(case when p.upto > floor((t.present_count - 1) * q.part) then p.value end) as below,
        min(case when p.upto > ceil((t.present_count - 1) * q.part) then p.value end) as above
    from totals as t
    inner join present as p
        on p.table_name = t.table_name and p.column_name = t.column_name and p.group_value = t.group_value
    cross join (values (0.25), (0.5), (0.75)) as q(part)
    where p.value is not null
    group by t.table_name, t.column_name, t.group_value, q.part, t.present_count
),

quartiles as (
    select
        table_name,
        column_name,
        group_value,
        max(case when part = 0.25 then below + way * (above - below) end) as q1,
        max(case when part = 0.5 then below + way * (above - below) end) as median,
        max(case when part = 0.75 then below + way * (above - below) end) as q3
    from neighbours
    group by table_name, column_name, group_value
),

spread as (
    select
        p.table_name,
        p.column_name,
        p.group_value,
        sqrt(sum(p.n * (p.value - t.mean) * (p.value - t.mean)) / sum(case when p.value is not null then p.n end)) as sd,
        min(case when p.n = p.top_n then p.value end) as mode,
        min(case when p.n = p.top_n then p.word end) as mode_word
    from present as p
    inner join totals as t
        on t.table_name = p.table_name and t.column_name = p.column_name and t.group_value = p.group_value
    group by p.table_name, p.column_name, p.group_value
),

bounded as (
    select
        t.*,
        f.grouped_by,
        f.from_at,
        f.fill,
        f.outlier_treatment,
        f.scaling,
        q.q1,
        q.median,
        q.q3,
        s.sd,
        s.mode,
        s.mode_word,
        t.row_count - t.present_count <= f.max_missing_share * t.row_count as may_fill,
        case
            when t.present_count < f.min_rows then null
            when f.outlier_rule = 'iqr' and q.q3 > q.q1 then q.q1 - f.outlier_factor * (q.q3 - q.q1)
            when f.outlier_rule = 'zscore' and s.sd > 0 then t.mean - f.outlier_factor * s.sd
        end as outlier_low,
        case
            when t.present_count < f.min_rows then null
            when f.outlier_rule = 'iqr' and q.q3 > q.q1 then q.q3 + f.outlier_factor * (q.q3 - q.q1)
            when f.outlier_rule = 'zscore' and s.sd > 0 then t.mean + f.outlier_factor * s.sd
        end as outlier_high
    from totals as t
    inner join fitting as f on f.table_name = t.table_name and f.column_name = t.column_name
    left join quartiles as q
        on q.table_name = t.table_name and q.column_name = t.column_name and q.group_value = t.group_value
    left join spread as s
        on s.table_name = t.table_name and s.column_name = t.column_name and s.group_value = t.group_value
),

clipped as (
    select
        p.table_name,
        p.column_name,
        p.group_value,
        p.n,
        p.value < b.outlier_low or p.value > b.outlier_high as is_outlier,
        case
            when b.outlier_treatment = 'winsorise' then least(greatest(p.value, b.outlier_low), b.outlier_high)
            else p.value
        end as value
    from present as p
    inner join bounded as b
        on b.table_name = p.table_name and b.column_name = p.column_name and b.group_value = p.group_value
    where p.value is not null
),

clipped_totals as (
    select
        table_name,
        column_name,
        group_value,
        sum(n) as n,
        sum(case when is_outlier then n else 0 end) as outlier_count,
        sum(n * value) / sum(n) as mean,
        min(value) as smallest,
        max(value) as largest
    from clipped
    group by table_name, column_name, group_value
),

filled as (
    select
        b.*,
        coalesce(c.outlier_count, 0) as outlier_count,
        case when b.outlier_treatment = 'winsorise' then b.outlier_low end as clip_low,
        case when b.outlier_treatment = 'winsorise' then b.outlier_high end as clip_high,
        c.mean as clipped_mean,
        c.smallest as clipped_smallest,
        c.largest as clipped_largest,
        case
            when not b.may_fill then null
            when b.fill = 'mean' then c.mean
            when b.fill = 'median' and b.outlier_treatment = 'winsorise'
                then least(greatest(b.median, b.outlier_low), b.outlier_high)
            when b.fill = 'median' then b.median
            when b.fill = 'mode' and b.outlier_treatment = 'winsorise'
                then case when b.mode is not null then least(greatest(b.mode, b.outlier_low), b.outlier_high) end
            when b.fill = 'mode' then b.mode
        end as fill_value,
        case when b.may_fill and b.fill = 'mode' then b.mode_word end as fill_word
    from bounded as b
    left join clipped_totals as c
        on c.table_name = b.table_name and c.column_name = b.column_name and c.group_value = b.group_value
),

-- The values as a model gets them: winsorised, and as many filled ones as were missing.
clean as (
    select table_name, column_name, group_value, value, n from clipped
    union all
    select table_name, column_name, group_value, fill_value as value, row_count - present_count as n from filled
    where fill_value is not null and row_count > present_count
),

clean_totals as (
    select
        table_name,
        column_name,
        group_value,
        sum(n * value) / sum(n) as clean_mean,
        min(value) as clean_smallest,
        max(value) as clean_largest
    from clean
    group by table_name, column_name, group_value
),

clean_spread as (
    select
        c.table_name,
        c.column_name,
        c.group_value,
        max(t.clean_mean) as clean_mean,
        max(t.clean_smallest) as clean_smallest,
        max(t.clean_largest) as clean_largest,
        sqrt(sum(c.n * (c.value - t.clean_mean) * (c.value - t.clean_mean)) / sum(c.n)) as clean_sd
    from clean as c
    inner join clean_totals as t
        on t.table_name = c.table_name and t.column_name = c.column_name and t.group_value = c.group_value
    group by c.table_name, c.column_name, c.group_value
)

select
    cast($start as date) as as_of_on, -- Day at whose end the statistics hold
    f.table_name, -- Table of staging that holds the column
    f.column_name, -- The column
    f.group_value, -- Group the row is about; all = the whole column
    f.grouped_by, -- Within what the rule fits @not_null
    cast(f.from_at as date) as fitted_from_on, -- First day whose events count @not_null
    cast(f.row_count as bigint) as row_count, -- Rows fitted on @not_null
    cast(f.row_count - f.present_count as bigint) as missing_count, -- Of these, without a value @not_null
    cast(f.outlier_count as bigint) as outlier_count, -- Of these, beyond the bounds @not_null
    f.mean, -- Mean of the values as delivered
    f.sd, -- Their standard deviation (of a population)
    f.q1, -- Lower quartile
    f.median, -- Median
    f.q3, -- Upper quartile
    f.mode, -- Most frequent number; the smallest of several
    f.mode_word, -- Most frequent word; the first of several
    f.smallest, -- Smallest value
    f.largest, -- Largest value
    f.outlier_low, -- A value below it is an outlier; empty = none is
    f.outlier_high, -- A value above it is an outlier; empty = none is
    f.clip_low, -- Smallest clean value; empty = no limit (also where outliers are flagged only)
    f.clip_high, -- Largest clean value; empty = no limit
    f.fill_value, -- What a missing number becomes; empty = it stays missing
    f.fill_word, -- What a missing word becomes; empty = it stays missing
    c.clean_mean, -- Mean of the clean values (winsorised and filled)
    c.clean_sd, -- Their standard deviation
    c.clean_smallest, -- The smallest of them
    c.clean_largest, -- The largest of them
    case f.scaling when 'minmax' then c.clean_smallest when 'zscore' then c.clean_mean end as scale_centre, -- Scaled value = (clean value - scale_centre) / scale_width; empty = not scaled
    case
        when f.scaling = 'minmax' and c.clean_largest > c.clean_smallest then c.clean_largest - c.clean_smallest
        when f.scaling = 'zscore' and c.clean_sd > 0 then c.clean_sd
        when f.scaling in ('minmax', 'zscore') and c.clean_mean is not null then 1.0
    end as scale_width -- See scale_centre; 1 where all values are the same
from filled as f
left join clean_spread as c
    on c.table_name = f.table_name and c.column_name = f.column_name and c.group_value = f.group_value
