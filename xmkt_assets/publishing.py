"""Zero-row checks in Dagster: before an asset's rows become visible, and on demand. Thin: the overlay is in ``audits``.

Whatever an asset writes through the warehouse passes here, SQL and Python assets alike. A check of severity error that
finds rows stops the commit: the old rows stand, the step fails, and the check is shown as failed in the UI.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import dagster as dg
import duckdb

from xmkt_assets.audits import Finding, audit_changes, run_check
from xmkt_assets.materialisation import rows_table
from xmkt_assets.showing import masked_rows
from xmkt_assets.sql_file import headers_of
from xmkt_assets.sql_models import CHECKS_FOLDER, SqlCheck, load_checks
from xmkt_assets.warehouse import Session

BEFORE: Final = "before the rows became visible"
_RANGE: Final = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def audit_of(folder: Path) -> Callable[[Session, Sequence[object]], None]:
    """What a session is to do before each commit of an asset step: run the checks of `folder` on the new rows."""

    def audit(session: Session, changes: Sequence[object]) -> None:
        context = _current_step()
        if context is not None:
            _audit(context, session, changes, [c for c in _checks(folder) if c.severity == "error"])

    return audit


def check_result(context: dg.AssetCheckExecutionContext, session: Session, check: SqlCheck) -> dg.AssetCheckResult:
    """Result of one check as a step of its own. What this run has asked before publishing is not asked again."""
    if check.severity == "error" and _passed_before(context, check):
        return dg.AssetCheckResult(passed=True, metadata={"checked": BEFORE, **_query(check)})
    found = run_check(session, check, days=_days_of_run(context.run.tags))
    return dg.AssetCheckResult(passed=found.passed, severity=_severity(check), metadata=_metadata(found))


@cache
def _checks(folder: Path) -> tuple[SqlCheck, ...]:
    """Every check of the folder; that the tables it names exist is known since the definitions were built."""
    headers = [headers_of(path.read_text(encoding="utf-8")) for path in (folder / CHECKS_FOLDER).glob("*.sql")]
    return load_checks(folder, tables=[found["check"] for found in headers if "check" in found])


def _current_step() -> dg.AssetExecutionContext | None:
    """The asset step under way; None in a tool, a sensor or a check, which publish nothing by themselves."""
    try:
        return dg.AssetExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return None


def _audit(
    context: dg.AssetExecutionContext, session: Session, changes: Sequence[object], checks: Iterable[SqlCheck]
) -> None:
    try:
        findings = audit_changes(session, changes, checks)
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        first = str(error).strip().splitlines()[0]
        raise dg.Failure(
            f"A check on the new rows cannot run, so they were not published: {first} Materialise the tables that the "
            f"checks of {', '.join(sorted({c.table for c in checks}))} read first, or correct the check."
        ) from error
    for found in findings:
        context.log_event(_evaluation(found))
    if broken := [found for found in findings if not found.passed]:
        raise dg.Failure(_refusal(broken), allow_retries=False)


def _evaluation(found: Finding) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(found.check.table.split(".")),
        check_name=found.check.name,
        passed=found.passed,
        severity=_severity(found.check),
        metadata={"checked": BEFORE, **_metadata(found)},
        blocking=True,
    )


def _metadata(found: Finding) -> dict[str, Any]:
    metadata: dict[str, Any] = {"offending_rows": found.offending, **_query(found.check)}
    if not found.passed:
        metadata["first_rows"] = rows_table(masked_rows(found.check.table, found.first))
    return metadata


def _query(check: SqlCheck) -> dict[str, Any]:
    return {"query": dg.MetadataValue.md(f"```sql\n{check.sql}\n```")}


def _refusal(broken: Sequence[Finding]) -> str:
    tables = ", ".join(sorted({found.check.table for found in broken}))
    said = [
        f"{f.check.name}: {f.check.description} Found {f.offending} rows, first {masked_rows(f.check.table, f.first)}."
        for f in broken
    ]
    return (
        f"{tables}: the new rows fail {len(broken)} check(s) and were not published; the old rows stand. "
        + " ".join(said)
        + f" Mend what made the rows, or {', '.join(found.check.path for found in broken)}, and run again."
    )


def _severity(check: SqlCheck) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if check.severity == "error" else dg.AssetCheckSeverity.WARN


def _passed_before(context: dg.AssetCheckExecutionContext, check: SqlCheck) -> bool:
    key = dg.AssetCheckKey(dg.AssetKey(check.table.split(".")), check.name)
    found = context.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return any(record.run_id == context.run.run_id and record.status.value == "SUCCEEDED" for record in found)


def _days_of_run(tags: Mapping[str, str]) -> list[date]:
    """The days a run makes; none where it makes no day, as a check that is run on demand."""
    first, last = (_day(tags.get(tag) or tags.get("dagster/partition")) for tag in _RANGE)
    if first is None or last is None:
        return []
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:  # a campaign
        return None
