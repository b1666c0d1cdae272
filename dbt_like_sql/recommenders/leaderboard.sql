-- grain: as_of_on, target, model, metric
-- partition: as_of_on
-- One row per recommender and metric as of a date, courses and products together: the metric with its 95 % interval
-- over people, and its paired gain over popularity under the same eligibility. Where nobody could be judged there is one
-- row 'not applicable' with the reason in note. Trap: numbers of different days or targets stand on different cases;
-- compare models within one day and target, and by the gain, not by whether two intervals overlap.
with entry as (
    select
        as_of_on, target, model, metric, compared_with, value, ci_low, ci_high, cases, persons, run_id, fit_seconds, note
    from recommenders.course_leaderboard
    where as_of_on = cast($start as date)
    union all
    select
        as_of_on, target, model, metric, compared_with, value, ci_low, ci_high, cases, persons, run_id, fit_seconds, note
    from recommenders.product_leaderboard
    where as_of_on = cast($start as date)
)

select
    e.as_of_on, -- Day up to whose end interactions were known
    e.target, -- What was recommended @accepted(course, product)
    e.model, -- The recommender, or 'not applicable'
    e.metric, -- Hit rate (hr), ndcg, mrr, map: means over cases; coverage: share of items shown; with the cut-off; higher is better
    e.value, -- The metric; empty where not applicable
    e.ci_low, -- Lower end of its 95 % interval; empty where there is none (coverage, fewer than two people)
    e.ci_high, -- Upper end of its 95 % interval
    g.value as gain, -- The metric minus popularity's on the same cases; empty for popularity itself
    g.ci_low as gain_low, -- Lower end of the paired 95 % interval; above 0 = better than popularity
    g.ci_high as gain_high, -- Upper end of the paired 95 % interval
    e.cases, -- Purchase occasions judged on @not_null
    e.persons, -- People behind them @not_null
    e.run_id, -- MLflow run
    e.fit_seconds, -- Time to learn
    e.note -- Why not applicable; else empty
from entry as e
left join entry as g
    on
        e.as_of_on = g.as_of_on
        and e.target = g.target
        and e.model = g.model
        and e.metric = g.metric
        and g.compared_with = 'popularity'
where e.compared_with = 'nothing'
