"""Raw: partner files become rows, unchanged but typed. Pure: no Dagster.

``landing`` finds the files and says which belong to nobody; ``load`` turns the files of a feed into good rows,
quarantined rows and a ledger line per file. Cleaning is not done here: see ``dbt_like_sql/staging/``.
"""
