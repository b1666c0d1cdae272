-- grain: table_name, column_name
-- One row per column that is cleaned, and how. To switch something off or over, edit its row: fill, outlier rule and
-- scaling are independent, and none leaves values as delivered. What the rules come to on a day is in
-- staging.cleaning_statistics; the values beside their marks are in staging.<table>_cleaned.
-- Cleaned values serve models and features. Whoever may be contacted, profiled or sold to is decided on what was
-- delivered, never on an imputed age. Claims and income are not cleaned here: statistics shared by all columns would
-- carry figures of sensitive data to tables that must not have them.
select
    r.table_name, -- Table of staging that holds the column @accepted(course_views, product_views, course_orders, course_reviews, policies, account_attributes)
    r.column_name, -- The column
    r.grouped_by, -- Within what the statistics are fitted; none = over the whole column @not_null @accepted(none, product_class, partner)
    r.fill, -- What a missing value becomes: mean (winsorised), median or mode (the smallest of several) @not_null @accepted(none, mean, median, mode)
    r.outlier_rule, -- iqr: beyond outlier_factor quartile distances from the quartiles (box plot); zscore: beyond as many standard deviations from the mean @not_null @accepted(none, iqr, zscore)
    cast(r.outlier_factor as double) as outlier_factor, -- How far is too far @not_null
    r.outlier_treatment, -- flag: marked and left; winsorise: marked and set to the nearest value that is no outlier @not_null @accepted(flag, winsorise)
    r.scaling, -- minmax: smallest 0, largest 1; zscore: mean 0, standard deviation 1; of the clean values @not_null @accepted(none, minmax, zscore)
    cast(r.window_days as integer) as window_days, -- Days up to the day of fitting whose events count; accounts count with their newest state @not_null
    cast(r.min_rows as integer) as min_rows, -- With fewer values nothing is called an outlier @not_null
    cast(r.max_missing_share as double) as max_missing_share, -- With a larger share missing nothing is filled: the column would be invention @not_null
    r.reason -- Why so @not_null
from (
    values
    ('course_views', 'dwell_seconds', 'none', 'median', 'iqr', 3.0, 'winsorise', 'zscore', 365, 20, 0.5,
        'A tab left open overnight is not eight hours of interest; times are skewed, so only the far ones are cut'),
    ('product_views', 'dwell_seconds', 'none', 'median', 'iqr', 3.0, 'winsorise', 'zscore', 365, 20, 0.5,
        'As for course views'),
    ('course_orders', 'paid_fen', 'none', 'none', 'iqr', 3.0, 'winsorise', 'zscore', 365, 20, 0.5,
        'One corporate order must not make a person a value group of their own; a price is never guessed'),
    ('course_reviews', 'rating', 'none', 'none', 'none', 3.0, 'flag', 'minmax', 365, 20, 0.5,
        'The contract bounds stars to 1 to 5, so none is an outlier; min-max makes them comparable to shares'),
    ('policies', 'premium_fen', 'product_class', 'median', 'iqr', 3.0, 'winsorise', 'zscore', 365, 20, 0.5,
        'A life premium beside travel premiums is no outlier: within the class; an insurer that shares none is left empty'),
    ('account_attributes', 'birth_year', 'none', 'median', 'zscore', 4.0, 'flag', 'zscore', 365, 20, 0.5,
        'Nearly normal; a stated year is flagged for a look but believed'),
    ('account_attributes', 'city_tier', 'none', 'mode', 'none', 3.0, 'flag', 'minmax', 365, 20, 0.5,
        'Few ordered values, bounded by the contract: the most frequent stands in'),
    ('account_attributes', 'gender', 'none', 'none', 'none', 3.0, 'flag', 'none', 365, 20, 0.5,
        'A guess would be a claim about a person'),
    ('account_attributes', 'occupation', 'none', 'none', 'none', 3.0, 'flag', 'none', 365, 20, 0.5,
        'A guess would be a claim about a person; words are not scaled')
) as r (
    table_name, column_name, grouped_by, fill, outlier_rule, outlier_factor, outlier_treatment, scaling, window_days,
    min_rows, max_missing_share, reason
)
