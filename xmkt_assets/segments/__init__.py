"""Segments: who a person is, as of a date, in groups and probabilities.

Not here: the features themselves, which are SQL (``dbt_like_sql/segments``).

clusters    value groups by k-means, named by rule
risk        probability of a claim in the next 60 days
intervals   bootstrap intervals of the numbers both report
pictures    what the UI and MLflow show of both
"""
