"""xmkt_assets: cross-domain marketing of a course platform and an insurer, as a Dagster data platform.

The flow, one word a stage: raw → staging → segments → recommenders → campaigns → evaluation.

- ``contracts``     what each partner feed must look like (one YAML file a feed)
- ``raw``           partner files → typed rows, quarantine, ledger
- ``segments``      who a person is, as of a date: value labels, claim risk
- ``recommenders``  courses and products for a person; ranking evaluation; promotion
- ``campaigns``     plans, eligibility, joint recommendation, holdout, budget
- ``evaluation``    what a campaign caused: sample ratio, effects, uplift curves
- ``assets``        the same stages as Dagster assets: wiring only
- ``automation``    jobs, schedules, sensors
- ``warehouse``     the DuckLake: sessions and transactions; ``published`` the native file for analysts
- ``lake_address``  where a lake lies; ``locks`` who may write when; ``machine``, ``spill`` memory and threads of a run
- ``snapshots``     older states; ``table_diff`` what changed; ``reproduction`` a past list made again; ``maintenance``
- ``sql_models``    ``dbt_like_sql/`` read as models, one file in ``sql_file``; ``sql_assets`` as assets and checks
- ``sql_check``     every mistake in them, told before anything runs (``sql_lint`` in one file, ``sql_columns`` and
                    ``sql_binding`` across files); ``known_tables`` what else they may read
- ``sql_portability`` what does not survive the way to Spark; ``sql_spark`` the way
- ``promises``      what a model promises of its rows; ``audits`` queries asked of rows not yet visible; ``publishing``
                    both before every commit of an asset; ``showing`` what of them a page may show
- ``tracking``      MLflow runs, versions, the champion alias
- ``simulate``      two partner firms with a known truth; ``adapters`` real public data through the same door
- ``resources``     what assets are handed; the only reader of the environment
- ``definitions``   where assets meet resources, jobs, schedules and sensors
"""

import warnings

# Dagster marks backfill_policy as beta at every use; the pinned version is the one it was tried with.
warnings.filterwarnings("ignore", message=r"Parameter `(backfill_policy|allow_nonexistent_upstream_partitions)`.*")
