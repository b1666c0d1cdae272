-- grain: as_of_on, policy_event_id
-- kind: view
-- audit: occurred_on = as_of_on and as_of_on in (select max(as_of_on) from staging.cleaning_statistics)
-- One row per policy event and day of fitting: the premium as delivered, the clean premium and its marks, by the rule in
-- staging.cleaning_rules as it was fitted at the end of as_of_on (staging.cleaning_statistics). No row is dropped. A
-- cancellation has no premium and is never filled.
-- Trap: name one as_of_on in every query; without it each event comes once per day of fitting. Rows of days after
-- as_of_on are not in it. Classes are those of today's catalogue; a class that has no statistics is left as delivered.
with days as (
    select as_of_on from staging.cleaning_statistics
    group by as_of_on
),

cleaned as (
    select
        d.as_of_on,
        v.*,
        case
            when coalesce(v.premium_fen, s.fill_value) is not null
                then least(greatest(cast(coalesce(v.premium_fen, s.fill_value) as double), s.clip_low), s.clip_high)
        end as clean,
        v.premium_fen is null and s.fill_value is not null as is_imputed,
        coalesce(v.premium_fen < s.outlier_low or v.premium_fen > s.outlier_high, false) as is_outlier,
        s.scale_centre,
        s.scale_width
    from staging.policies as v
    inner join days as d on v.occurred_on <= d.as_of_on
    left join staging.products as c on c.product_id = v.product_id
    left join staging.cleaning_statistics as s
        on s.as_of_on = d.as_of_on and s.table_name = 'policies' and s.column_name = 'premium_fen'
        and v.event in ('issued', 'renewed')
        and s.group_value = case when s.grouped_by = 'none' then 'all' else coalesce(c.product_class, 'unknown') end
)

select
    as_of_on, -- Day as of whose end values are cleaned
    policy_event_id, -- Unique id of the event
    policy_id, -- Id of the policy
    order_id, -- Id of the purchase occasion
    customer_id, -- Policy holder, by the insurer's id
    product_id, -- What was bought
    event, -- issued, renewed or cancelled
    occurred_at, -- When it happened (UTC)
    occurred_on, -- Day it happened (UTC)
    term_start_on, -- First day covered by this term
    term_end_on, -- Last day covered by this term
    premium_fen, -- Premium of this term, as delivered; empty where not shared
    clean as premium_fen_clean, -- The same, cleaned: winsorised and filled as the rule says
    is_imputed as premium_fen_is_imputed, -- Whether the value was missing and is filled @not_null
    is_outlier as premium_fen_is_outlier, -- Whether the value as delivered is an outlier @not_null
    (clean - scale_centre) / scale_width as premium_fen_scaled -- The clean value, scaled as the rule says
from cleaned
