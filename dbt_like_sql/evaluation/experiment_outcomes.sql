-- grain: campaign_id, person_id
-- One row per person of evaluation.experiment_assignments with what the person did within the outcome window, 0 or
-- false where nothing. Both arms are counted the same way, from the partners' own records. Trap: columns that do not
-- belong to the experiment's source are empty, not false: visits and conversions of an imported experiment come from
-- its own events, those of a list made here from views, orders and policies.
with person_subjects as (
    select
        a.campaign_id, a.person_id, a.source, a.assigned_at, a.launched_on, a.outcome_until_on, g.partner, g.subject_id
    from evaluation.experiment_assignments as a
    inner join staging.gate_measurement as g on g.person_id = a.person_id and g.as_of_on = a.measured_on
),
course_views as (
    select distinct s.campaign_id, s.person_id
    from person_subjects as s
    inner join staging.course_views as v on s.partner = 'course_platform' and v.user_id = s.subject_id
    where s.source = 'platform' and v.viewed_on >= s.launched_on and v.viewed_on <= s.outcome_until_on
),
course_orders as (
    select
        s.campaign_id,
        s.person_id,
        max(case when o.ordered_on >= s.launched_on then 1 else 0 end) as bought_within,
        max(case when o.ordered_on < s.launched_on then 1 else 0 end) as bought_before,
        sum(case when o.ordered_on >= s.launched_on then o.paid_fen else 0 end) as paid_fen
    from person_subjects as s
    inner join staging.course_orders as o on s.partner = 'course_platform' and o.user_id = s.subject_id
    where s.source = 'platform' and o.status = 'paid' and o.ordered_on <= s.outcome_until_on
    group by s.campaign_id, s.person_id
),
policies as (
    select
        s.campaign_id,
        s.person_id,
        max(case when p.event = 'issued' then 1 else 0 end) as issued,
        max(case when p.event = 'renewed' then 1 else 0 end) as renewed,
        sum(case when p.event = 'issued' then p.premium_fen else 0 end) as premium_fen
    from person_subjects as s
    inner join staging.policies as p on s.partner = 'insurer' and p.customer_id = s.subject_id
    where s.source = 'platform' and p.occurred_on >= s.launched_on and p.occurred_on <= s.outcome_until_on
    group by s.campaign_id, s.person_id
),
own_events as (
    select
        s.campaign_id,
        s.person_id,
        max(case when e.event = 'exposure' then 1 else 0 end) as exposed,
        max(case when e.event = 'click' then 1 else 0 end) as clicked,
        max(case when e.event = 'visit' then 1 else 0 end) as visited,
        max(case when e.event = 'conversion' then 1 else 0 end) as converted,
        sum(case when e.event = 'conversion' then e.amount_fen else 0 end) as amount_fen,
        min(case when e.event = 'conversion' then coalesce(e.currency, 'CNY') end) as first_currency,
        max(case when e.event = 'conversion' then coalesce(e.currency, 'CNY') end) as last_currency
    from person_subjects as s
    inner join staging.campaign_events as e
        on e.partner = s.partner and e.subject_id = s.subject_id and e.campaign_id = s.campaign_id
    where e.event <> 'assignment' and e.occurred_at >= s.assigned_at and e.occurred_on <= s.outcome_until_on
    group by s.campaign_id, s.person_id
)
select
    a.campaign_id, -- Campaign or imported experiment
    a.person_id, -- Person assigned
    case when a.source = 'platform' then v.person_id is not null end as has_course_view, -- Viewed any course; empty for imported experiments
    case when a.source = 'platform' then coalesce(o.bought_within, 0) = 1 end as has_course_order, -- Paid for any course; empty for imported experiments
    case when a.source = 'platform' then coalesce(o.bought_within * o.bought_before, 0) = 1 end as has_course_repurchase, -- Paid for a course, having paid for one before the launch; empty for imported experiments
    case when a.source = 'platform' then coalesce(p.issued, 0) = 1 end as has_policy, -- Was issued any policy; empty for imported experiments
    case when a.source = 'platform' then coalesce(p.renewed, 0) = 1 end as has_policy_renewal, -- Renewed any policy; empty for imported experiments
    coalesce(e.exposed, 0) = 1 as has_exposure, -- Was shown or sent the campaign @not_null
    coalesce(e.clicked, 0) = 1 as has_click, -- Clicked on the campaign @not_null
    case when a.source = 'imported' then coalesce(e.visited, 0) = 1 end as has_visit, -- Visited; empty for lists made here
    case when a.source = 'imported' then coalesce(e.converted, 0) = 1 end as has_conversion, -- Converted; empty for lists made here
    cast(
        case
            when a.source = 'imported' then coalesce(e.amount_fen, 0)
            else coalesce(o.paid_fen, 0) + coalesce(p.premium_fen, 0)
        end as bigint
    ) as spend_fen, -- Courses paid plus premiums of policies issued, or money of imported conversions in the smallest unit of `currency` @not_null
    case
        when a.source = 'platform' then 'CNY'
        when e.first_currency <> e.last_currency then 'mixed'
        else e.first_currency
    end as currency -- Currency of spend_fen; empty where an imported person spent nothing; mixed = several
from evaluation.experiment_assignments as a
left join course_views as v on v.campaign_id = a.campaign_id and v.person_id = a.person_id
left join course_orders as o on o.campaign_id = a.campaign_id and o.person_id = a.person_id
left join policies as p on p.campaign_id = a.campaign_id and p.person_id = a.person_id
left join own_events as e on e.campaign_id = a.campaign_id and e.person_id = a.person_id
