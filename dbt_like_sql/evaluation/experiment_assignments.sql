-- grain: campaign_id, person_id
-- One row per person in an experiment, with the arm drawn and how likely that was: lists made here, and assignments of
-- experiments run elsewhere that arrived in campaign_events. Only people whose consent to measurement is in force on
-- the newest day of the gate and, for lists made here, was in force before the launch: a consent that came with the
-- purchase would let buyers in and leave others out. Trap: a person assigned twice in an imported experiment counts in the arm drawn first;
-- who was never reached stays in the arm all the same, because only assignment was random.
with measured as (
    select g.as_of_on, g.partner, g.subject_id, g.person_id
    from staging.gate_measurement as g
    inner join (select max(as_of_on) as as_of_on from staging.gate_measurement) as newest
        on newest.as_of_on = g.as_of_on
),
people as (
    select distinct as_of_on, person_id
    from measured
),
before_launch as (
    select distinct as_of_on, person_id
    from staging.gate_measurement
),
assigned as (
    select
        l.campaign_id,
        l.person_id,
        l.arm,
        'platform' as source,
        l.treatment_share,
        l.assignment_share,
        l.score,
        l.goal_metric,
        l.as_of_on as known_on,
        cast(l.launched_on as timestamp) as assigned_at,
        l.launched_on,
        l.outcome_until_on,
        p.as_of_on as measured_on,
        cast(null as varchar) as covariates,
        1 as nth
    from campaigns.campaign_list as l
    inner join people as p on p.person_id = l.person_id
    inner join before_launch as b on b.as_of_on = l.as_of_on and b.person_id = l.person_id
    union all
    select
        e.campaign_id,
        m.person_id,
        coalesce(e.arm, 'unknown') as arm,
        'imported' as source,
        cast(null as double) as treatment_share,
        e.assignment_share,
        e.score,
        cast(null as varchar) as goal_metric,
        cast(null as date) as known_on,
        e.occurred_at as assigned_at,
        cast(e.occurred_at as date) as launched_on,
        cast(cast(e.occurred_at as date) + interval 14 day as date) as outcome_until_on,
        m.as_of_on as measured_on,
        e.covariates,
        row_number() over (partition by e.campaign_id, m.person_id order by e.occurred_at, e.event_id) as nth
    from staging.campaign_events as e
    inner join measured as m on m.partner = e.partner and m.subject_id = e.subject_id
    left join (select distinct campaign_id from campaigns.campaign_list) as ours on ours.campaign_id = e.campaign_id
    where e.event = 'assignment' and ours.campaign_id is null
)
select
    campaign_id, -- Campaign or imported experiment
    person_id, -- Person assigned
    arm, -- Arm drawn; control = not contacted @not_null
    source, -- platform = list made here; imported = run elsewhere @not_null @accepted(platform, imported)
    treatment_share, -- Probability with which a listed person is contacted; empty for imported experiments
    assignment_share, -- Probability of the arm this person was assigned to; empty where the sender gave none
    score, -- Score that ranked the person before assignment; empty where none
    goal_metric, -- Metric the plan named as its goal; empty for imported experiments
    known_on, -- Day whose end the list was made from; empty for imported experiments
    assigned_at, -- Moment of assignment; for a list made here the start of the launch day (UTC) @not_null
    launched_on, -- First day of the outcome window @not_null
    outcome_until_on, -- Last day of the outcome window; imported: 14 days after assignment @not_null
    measured_on, -- Newest day of the measurement gate, on which consent was asked for @not_null
    covariates -- What was known before assignment, a JSON object; empty for lists made here
from assigned
where nth = 1
