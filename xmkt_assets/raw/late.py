"""Late rows: events of earlier days that came in a later day's folder, and the days to rebuild for them. Pure.

A row keeps the folder it came in (`dt`), because that is what a corrected delivery replaces; staging reads events by
their own time. So a load that brings rows of an earlier day, or takes some away, makes that day of staging stale. How
late a row may be is the contract's `late_days`; rebuilding is ``automation``'s work.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

from xmkt_assets.contracts import Contract
from xmkt_assets.warehouse import Session, literal

LATE: Final = "raw.late_rows"
LATE_DESCRIPTION: Final = (
    "One row per delivered day and earlier day whose events it brought, or took away. Trap: row_count is 0 where an "
    "earlier delivery had brought late rows and the corrected one no longer does."
)
LATE_COLUMNS: Final[Mapping[str, str]] = {
    "partner": "Firm that delivered the rows",
    "feed": "Feed the rows belong to",
    "dt": "Day of the folder they came in",
    "event_on": "Day (UTC) on which they happened; staging of this day is rebuilt",
    "row_count": "Late rows of that day in this delivery",
    "run_id": "Run that loaded them",
}


def stage_late_rows(
    session: Session,
    contract: Contract,
    days: Sequence[date],
    *,
    staged: str,
    held: Iterable[tuple[str, date]],
    run_id: str,
) -> None:
    """Stage ``new_late_rows`` from the rows in `staged`, which replace those of `days` in the lake.

    `held` are partners' days that stay as they are: nothing became stale by them.
    """
    moment = contract.event_time
    if moment is None or not contract.late_days:
        found = "select null as partner, null as dt, null as event_on, 0 as row_count where false"
    else:
        late = f"cast({moment} as date) < dt"
        found = f"select partner, dt, cast({moment} as date) as event_on, count(*) as row_count from {staged} "
        found += f"where {late} group by all"
        table = f"raw.{contract.feed}"
        if session.columns(table):
            of_days = f"dt in (select unnest([{', '.join(f'date {d.isoformat()!r}' for d in days)}]))"
            found += (
                f" union all select distinct partner, dt, cast({moment} as date), 0 from {table} "
                f"where {of_days} and {late} and partner in (select distinct partner from drop_files)"
            )
    session.stage(
        "new_late_rows",
        "select cast(partner as varchar) as partner, $feed as feed, cast(dt as date) as dt, "
        "cast(event_on as date) as event_on, cast(sum(row_count) as bigint) as row_count, $run_id as run_id "
        f"from ({found}) where {_not_held(held)} group by partner, dt, event_on",
        {"feed": contract.feed, "run_id": run_id},
    )


def _not_held(held: Iterable[tuple[str, date]]) -> str:
    days = ", ".join(f"({literal(partner)}, date '{day}')" for partner, day in held)
    return f"(partner, dt) not in ({days})" if days else "true"
