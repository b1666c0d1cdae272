"""What long work prints on a terminal: progress per asset, tables, and where to look next.

Here: running a job in this process with one line per finished step. What is run, and what is said at the end, is
in ``demo`` and ``real``.
"""

import resource
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import dagster as dg
import polars as pl

from xmkt_assets.automation.sensors import step_error
from xmkt_assets.partitions import range_tags

_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_WIDTH: Final = 46


class RunFailedError(RuntimeError):
    """A job did not succeed; the message repeats what its steps said."""


@dataclass
class _Progress:
    """Prints one line per finished step of one run."""

    total: int
    done: int = 0
    started: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __call__(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            return
        if event.event_type == dg.DagsterEventType.STEP_START:
            self.started[event.step_key] = time.monotonic()
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            metadata = event.materialization.metadata
            whole, of_day = metadata.get("dagster/row_count"), metadata.get("dagster/partition_row_count")
            if event.asset_key is not None and whole is not None:
                self.rows[".".join(event.asset_key.path)] = int(str(whole.value))
            elif event.asset_key is not None and of_day is not None:  # one event per day of a range
                table = ".".join(event.asset_key.path)
                self.rows[table] = self.rows.get(table, 0) + int(str(of_day.value))
        elif event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            self._finished(event.step_key, "")
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            self.failures.append(step_error(event))
            self._finished(event.step_key, "FAILED")

    def _finished(self, step: str, word: str) -> None:
        self.done += 1
        seconds = time.monotonic() - self.started.get(step, time.monotonic())
        fresh = ", ".join(f"{rows:,} rows" for rows in self.rows.values())
        names = ", ".join(self.rows) or step.replace("__", ".")
        print(f"  [{self.done:2}/{self.total}] {names:<{_WIDTH}} {fresh or word:>18} {seconds:6.1f} s", flush=True)
        self.rows.clear()


def run_job(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    *,
    says: str,
    partition: str | None = None,
    days: tuple[date, date] | None = None,
    config: Mapping[str, object] | None = None,
    only: Sequence[dg.AssetKey] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run `job` here and print its progress. Raises `RunFailedError` when a step fails."""
    print(f"\n▶ {says}", flush=True)
    definition = defs.resolve_job_def(job)
    run_id = str(uuid.uuid4())
    progress = _Progress(total=len(only) if only is not None else len(definition.nodes))
    instance.add_event_listener(run_id, progress)
    result = definition.execute_in_process(
        instance=instance,
        run_id=run_id,
        partition_key=partition,
        tags={**(range_tags(*days) if days else {}), **(tags or {})},
        run_config={**_QUIET, **({"ops": config} if config else {})},
        asset_selection=list(only) if only is not None else None,
        raise_on_error=False,
    )
    if not result.success:
        raise RunFailedError(f"{job} failed.\n" + "\n".join(progress.failures))
    return result


def print_table(title: str, rows: pl.DataFrame) -> None:
    """A frame as a plain table, whole."""
    print(f"\n{title}")
    if rows.is_empty():
        print("  (nothing)")
        return
    cells = [[_cell(v) for v in row] for row in rows.iter_rows()]
    numeric = [kind.is_numeric() for kind in rows.dtypes]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(rows.columns)]
    print(
        "  "
        + "  ".join(f"{n:>{w}}" if r else f"{n:<{w}}" for n, w, r in zip(rows.columns, widths, numeric, strict=True))
    )
    print("  " + "  ".join("─" * w for w in widths))
    for row in cells:
        print("  " + "  ".join(f"{c:>{w}}" if r else f"{c:<{w}}" for c, w, r in zip(row, widths, numeric, strict=True)))


def peak_memory_mib() -> int:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _cell(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, float):
        return f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
