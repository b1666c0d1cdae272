"""Raw: partner files become rows, unchanged but typed. Pure: no Dagster.

``landing`` finds the files in a folder or at an address (``stores``) and says which belong to nobody; ``lending``
hands them over as local files; ``load`` turns the files of a feed into good rows,
quarantined rows and a ledger line per file. Cleaning is not done here: see ``dbt_like_sql/staging/``.
"""
