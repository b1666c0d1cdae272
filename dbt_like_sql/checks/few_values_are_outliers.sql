-- check: staging.cleaning_statistics
-- severity: warn
-- No rule calls more than a tenth of a column's values outliers. One that does describes the column badly: widen
-- outlier_factor, or switch the rule off, in dbt_like_sql/staging/cleaning_rules.sql.
select
    s.as_of_on,
    s.table_name,
    s.column_name,
    s.group_value,
    s.outlier_count,
    s.row_count
from staging.cleaning_statistics as s
where s.outlier_count > 0.1 * (s.row_count - s.missing_count)
