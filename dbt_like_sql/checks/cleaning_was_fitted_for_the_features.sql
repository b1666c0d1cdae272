-- check: segments.person_features
-- Every day of features was computed with statistics of cleaning fitted for that day. Without them the cleaned tables are
-- empty and everybody seems to have done nothing: materialise staging.cleaning_statistics for the day, then the features.
select f.as_of_on, count(*) as people
from segments.person_features as f
where f.as_of_on >= cast($start as date) and f.as_of_on < cast($end as date)
    and not exists (
        select 1
        from staging.cleaning_statistics as s
        where s.as_of_on = f.as_of_on
    )
group by f.as_of_on
