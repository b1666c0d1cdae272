"""Runs a command starts in its own process, by the jobs and on the instance that the daemon uses."""

import sys
from pathlib import Path

import dagster as dg

from xmkt_assets.automation.erasures import last_erasure
from xmkt_assets.automation.jobs import ERASE, LOAD, RETRAIN
from xmkt_assets.automation.sensors import UNFINISHED, newest_day
from xmkt_assets.console import RunFailedError, run_job
from xmkt_assets.definitions import build_defs
from xmkt_assets.resources import settings, warehouse_of


def run_erasure(home: Path, *, retrain: bool) -> bool:
    """Carry out the waiting requests now; with `retrain`, make models and lists again. False where it failed."""
    defs, instance, warehouse = build_defs(), dg.DagsterInstance.get(), warehouse_of(settings())
    if instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED), limit=1):
        sys.stdout.write(
            "Other runs are under way. The request waits; the sensor carries it out after them (`make dev`).\n"
        )
        return False
    try:
        run_job(defs, instance, ERASE, says="Erasing")
        if retrain and (found := last_erasure(warehouse)) and (day := newest_day(warehouse)):
            if found[1]:
                run_job(
                    defs, instance, LOAD, says=f"Finding the person's other account as of {day}", partition=str(day)
                )
            run_job(defs, instance, RETRAIN, says=f"Profiles and models as of {day}", partition=str(day))
    except RunFailedError as error:
        sys.stdout.write(f"{error}\n")
        return False
    if not retrain:
        sys.stdout.write("Retraining is left to the sensor retrain_after_erasure (`make dev`), or to --retrain.\n")
    return True
