"""Segments in Dagster: what Python adds to the SQL of this stage, one module per family."""

from xmkt_assets.assets.segments import clusters, scores

ASSETS = [*clusters.ASSETS, *scores.ASSETS]
