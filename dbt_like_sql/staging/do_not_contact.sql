-- grain: as_of_on, person_id, channel
-- partition: as_of_on
-- One row per person and channel that must not be used, as of a date; channel all closes every channel. Either firm's word counts.
with newest as (
    select
        i.person_id,
        o.channel,
        o.decision,
        row_number() over (
            partition by o.partner, o.subject_id, o.channel
            order by o.decided_at desc, case when o.decision = 'opted_out' then 0 else 1 end, o.optout_id desc
        ) as recency
    from staging.contact_optouts as o
    inner join staging.identities as i on o.partner = i.partner and o.subject_id = i.subject_id
    where o.decided_at < $end
)

select distinct
    cast($start as date) as as_of_on, -- Day at whose end the refusal holds
    person_id, -- The person
    channel -- Channel that must not be used @accepted(all, email, sms, app_push, phone)
from newest
where recency = 1 and decision = 'opted_out'
