-- grain: as_of_on, from_label, to_label
-- partition: as_of_on
-- One row per pair of value groups between which people moved, or in which they stayed, from the newest earlier snapshot
-- of segments.person_clusters to this one. Who was not in the earlier one comes from 'new', who is not in this one goes
-- to 'gone'. Nobody is named. Trap: a day without an earlier snapshot has no rows; and groups keep their names while they
-- are the same (see the page of segments.person_clusters), so a pair of different names may also be a group named anew.
with before as (
    select max(c.as_of_on) as as_of_on
    from segments.person_clusters as c
    where c.as_of_on < cast($start as date)
),
earlier as (
    select c.person_id, c.value_label
    from segments.person_clusters as c
    inner join before as b on b.as_of_on = c.as_of_on
),
later as (
    select c.person_id, c.value_label
    from segments.person_clusters as c
    where c.as_of_on = cast($start as date)
),
moves as (
    select
        coalesce(e.value_label, 'new') as from_label,
        coalesce(n.value_label, 'gone') as to_label,
        count(*) as people
    from earlier as e
    full join later as n on n.person_id = e.person_id
    group by coalesce(e.value_label, 'new'), coalesce(n.value_label, 'gone')
)
select
    cast($start as date) as as_of_on, -- Day whose end the row describes @not_null
    b.as_of_on as previous_as_of_on, -- Day of the snapshot that people come from @not_null
    m.from_label, -- Value group on that day; new = was not there @not_null
    m.to_label, -- Value group on this day; gone = is not there any more @not_null
    cast(m.people as bigint) as people, -- People who went this way @not_null
    cast(m.people as double) / sum(m.people) over (partition by m.from_label) as people_share -- Part of all who come from from_label @not_null
from moves as m
cross join before as b
where b.as_of_on is not null
