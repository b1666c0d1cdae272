"""The same jobs on real public data: ``make real DATA=…``. Adapters write partner drops; the rest is the platform.

What is made up is said: Hahow publishes no times (dates are drawn by a seed), no public set links courses to
insurance (30 % of people are joined by a seed), and consent rows stand for the publishers' release. So no
cross-domain effect is claimed from it; Hillstrom's experiment is real and is measured as it was run.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from xmkt_assets.demo import clear_home, mark_home
from xmkt_assets.resources import Warehouse, prepare_home, settings, warehouse_of

FIRST, LAST = date(2018, 10, 1), date(2020, 9, 30)
# The publisher's test set begins with its first event on 2020-07-22 14:51:55; the last training event is 14:37:39.
BRUUN_SPLIT: Final = "2020-07-22T14:45:00"
CAMPAIGN: Final = "real_joint"
PLAN_TEXT: Final = """\
# A joint recommendation over real customers of two unrelated firms: it shows the mechanics, nobody is contacted.
id: real_joint
name: Joint recommendation on public data (the link between the firms is synthetic)
type: joint_recommendation
goal_metric: product_conversion_share
as_of: 2020-09-30
launch_on: 2020-10-01
outcome_days: 30
channel: email
budget_fen: 500000
contact_cost_fen: 50
incentive_fen: 0
holdout_share: 0.2
salt: real-joint-2020-b3x9
owners:
  course_platform: adapter of the Hahow data
  insurer: adapter of the Bruun data
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything on the public data. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.real", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with insurance_bruun, hahow and hillstrom")
    data = parser.parse_args(arguments).data.resolve()
    if not data.is_dir():
        sys.exit(f"There is no folder {data}. Set DATA to the folder that holds insurance_bruun, hahow and hillstrom.")
    started = time.monotonic()
    home = settings().home
    clear_home(home)
    prepare_home(home, start_on=FIRST)
    mark_home(home)
    _play(home, data)
    from xmkt_assets.console import peak_memory_mib

    print(f"\nDone in {time.monotonic() - started:.0f} s, peak memory {peak_memory_mib():,} MiB.")
    return 0


def _play(home: Path, data: Path) -> None:
    import dagster as dg

    from xmkt_assets.adapters import ADAPTERS
    from xmkt_assets.automation.jobs import EVALUATE, LOAD, PLAN, RETRAIN
    from xmkt_assets.automation.sensors import content_mark, plan_tags
    from xmkt_assets.console import run_job
    from xmkt_assets.definitions import build_defs
    from xmkt_assets.partitions import CAMPAIGNS_NAME
    from xmkt_assets.report import print_summary

    for write_drops in ADAPTERS:
        summary = write_drops(data, home / "landing")
        print(f"▶ {summary.dataset}: {summary.files:,} files, {sum(summary.rows.values()):,} rows", flush=True)
        for note in summary.notes:
            print(f"    {note}")
    (home / "campaigns" / f"{CAMPAIGN}.yaml").write_text(PLAN_TEXT, encoding="utf-8")
    defs, instance, warehouse = build_defs(), dg.DagsterInstance.get(), warehouse_of(settings())
    run_job(defs, instance, LOAD, says=f"Loading {FIRST} … {LAST}", days=(FIRST, LAST))
    split = {"recommenders__product_leaderboard": {"config": {"split_at": BRUUN_SPLIT}}}
    run_job(defs, instance, RETRAIN, says=f"Profiles and models as of {LAST}", partition=LAST.isoformat(), config=split)
    planned = plan_tags(CAMPAIGN, content_mark(home / "campaigns" / f"{CAMPAIGN}.yaml"))
    instance.add_dynamic_partitions(CAMPAIGNS_NAME, [CAMPAIGN])
    run_job(defs, instance, PLAN, says=f"Planning {CAMPAIGN} (nobody is contacted)", partition=CAMPAIGN, tags=planned)
    run_job(defs, instance, EVALUATE, says="Measuring Hillstrom's e-mail experiment; publishing")
    print_summary(warehouse, campaign=CAMPAIGN)
    _print_known_answers(warehouse)
    _run_bad_input(home)


def _run_bad_input(home: Path) -> None:
    """The corpus of bad input through the same door, in a home of its own: its rows are simulated."""
    from xmkt_assets import bad_input_run

    print("\n▶ Kinds of bad input, each through the load job (SIMULATED, in a home of their own)", flush=True)
    if bad_input_run.main(["--home", str(home / "bad_input")]):
        sys.exit("Some kinds of bad input were not handled as they must be; see above.")


def _print_known_answers(warehouse: Warehouse) -> None:
    from xmkt_assets.console import print_table

    board = warehouse.read(
        "select model, metric, value, ci_low, ci_high, cases, persons from recommenders.leaderboard "
        "where target = 'product' and metric in ('hr@1', 'hr@3', 'mrr@5', 'ndcg@5') order by metric, value desc"
    )
    print_table("Bruun, product recommenders over eligible products (popularity's known answer: hr@3 .679)", board)


if __name__ == "__main__":
    sys.exit(main())
