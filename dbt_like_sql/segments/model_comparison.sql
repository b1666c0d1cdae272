-- grain: as_of_on, target, candidate, metric
-- kind: view
-- One row per target, kind of model and metric as of a date: how well each kind foretold what then happened, out of fold,
-- with its 95 % interval, and which one made the scores. No rows of a target on days on which nothing was learnt.
-- Trap: targets stand on different people and events; compare kinds of models within one day and target only.
select
    as_of_on, -- Day whose examples they were compared on
    target, -- What is foretold: claim_risk, lapse_risk, course_purchase, product_purchase
    candidate, -- Kind of model: logistic_regression, linear_svm, cart, random_forest, lightgbm
    metric, -- auc (0.5 = chance, 1 = perfect), brier and log_loss (smaller is better), calibration_slope (1 is perfect), calibration_intercept (0 is perfect)
    value, -- The metric
    low, -- Lower end of its 95 % interval
    high, -- Upper end of its 95 % interval
    is_chosen -- Whether this kind of model made the scores of the day @not_null
from segments.claim_risk_comparison
union all
select as_of_on, target, candidate, metric, value, low, high, is_chosen from segments.lapse_risk_comparison
union all
select as_of_on, target, candidate, metric, value, low, high, is_chosen from segments.course_purchase_comparison
union all
select as_of_on, target, candidate, metric, value, low, high, is_chosen from segments.product_purchase_comparison
