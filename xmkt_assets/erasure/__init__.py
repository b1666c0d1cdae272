"""Erasure: one person leaves the platform, everywhere, provably (PIPL Art. 47, GDPR Art. 17). Pure: no Dagster.

- ``requests``     a request as a file, and what is known of its person while the work lasts
- ``tables``       which rows of which tables are the person's, found from the lake's columns
- ``suppression``  who must not come back with a later delivery
- ``lake``         older snapshots, data files, rows and statistics in the catalog
- ``files``        landing, exports and everything else under the home
- ``models``       what was trained with the person
- ``receipts``     the proof, which says nothing of the person
- ``work``         the steps in order, each of which may be done again

Run it: ``python -m xmkt_assets.erasure --partner insurer --subject k123``.
"""
