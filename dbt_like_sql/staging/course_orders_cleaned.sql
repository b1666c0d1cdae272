-- grain: as_of_on, order_line_id
-- kind: view
-- audit: ordered_on = as_of_on and as_of_on in (select max(as_of_on) from staging.cleaning_statistics)
-- One row per order line and day of fitting: the value as delivered, the clean value and its marks, by the rule in
-- staging.cleaning_rules as it was fitted at the end of as_of_on (staging.cleaning_statistics). No row is dropped.
-- Trap: name one as_of_on in every query; without it each order line comes once per day of fitting. Rows of days after
-- as_of_on are not in it.
with days as (
    select as_of_on from staging.cleaning_statistics
    group by as_of_on
),

cleaned as (
    select
        d.as_of_on,
        v.*,
        case
            when coalesce(v.paid_fen, s.fill_value) is not null
                then least(greatest(cast(coalesce(v.paid_fen, s.fill_value) as double), s.clip_low), s.clip_high)
        end as clean,
        v.paid_fen is null and s.fill_value is not null as is_imputed,
        coalesce(v.paid_fen < s.outlier_low or v.paid_fen > s.outlier_high, false) as is_outlier,
        s.scale_centre,
        s.scale_width
    from staging.course_orders as v
    inner join days as d on v.ordered_on <= d.as_of_on
    left join staging.cleaning_statistics as s
        on s.as_of_on = d.as_of_on and s.table_name = 'course_orders' and s.column_name = 'paid_fen'
)

select
    as_of_on, -- Day as of whose end values are cleaned
    order_line_id, -- Unique id of this line of the order
    order_id, -- Id of the order (the purchase occasion)
    user_id, -- Who bought, by the course platform's id
    course_id, -- What was bought
    ordered_at, -- When the order was paid (UTC)
    ordered_on, -- Day of the order (UTC)
    status, -- paid, or refunded when the money went back
    paid_fen, -- Price paid for this line after discounts, as delivered
    clean as paid_fen_clean, -- The same, cleaned: winsorised and filled as the rule says
    is_imputed as paid_fen_is_imputed, -- Whether the value was missing and is filled @not_null
    is_outlier as paid_fen_is_outlier, -- Whether the value as delivered is an outlier @not_null
    (clean - scale_centre) / scale_width as paid_fen_scaled -- The clean value, scaled as the rule says
from cleaned
