"""Segments in Dagster: what Python adds to the SQL of this stage, one module per family."""

from xmkt_assets.assets.segments import clusters, drift, fairness, next_interest, rules, scores, sentiment

ASSETS = [
    *clusters.ASSETS,
    *scores.ASSETS,
    *sentiment.ASSETS,
    *drift.ASSETS,
    *fairness.ASSETS,
    *next_interest.ASSETS,
    *rules.ASSETS,
]
