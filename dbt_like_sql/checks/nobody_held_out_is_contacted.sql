-- check: evaluation.experiment_assignments
-- Nobody in the control arm of a list was shown, or clicked on, that campaign, under any account known when the list was
-- made. A contacted control makes the campaign look weaker than it is: find out who sent it. Conversions are left
-- out: they are purchases that sellers credit, also to people nobody contacted.
with accounts as (
    select campaign_id, person_id, 'course_platform' as partner, user_id as subject_id
    from campaigns.campaign_list
    where arm = 'control' and user_id is not null
    union
    select campaign_id, person_id, 'insurer' as partner, customer_id as subject_id
    from campaigns.campaign_list
    where arm = 'control' and customer_id is not null
    union
    select l.campaign_id, l.person_id, g.partner, g.subject_id
    from campaigns.campaign_list as l
    inner join staging.gate_measurement as g on g.as_of_on = l.as_of_on and g.person_id = l.person_id
    where l.arm = 'control'
)

select
    a.campaign_id,
    a.person_id,
    e.partner,
    e.event_id,
    e.event,
    e.occurred_at
from accounts as a
inner join staging.campaign_events as e
    on e.campaign_id = a.campaign_id and e.partner = a.partner and e.subject_id = a.subject_id
where e.event in ('exposure', 'click')
