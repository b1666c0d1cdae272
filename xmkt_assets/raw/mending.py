"""Mending: refused rows of files that were just read give way to what people decided about them. Pure.

A mended row is read and judged by the same reader as a delivered one, so a fix cannot let in what the contract refuses.
It keeps the place of the row it stands for. What a decision is, and where it comes from, is in ``fixes``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import polars as pl

from xmkt_assets.contracts import Contract
from xmkt_assets.raw.fixes import FIXES, ROW_MARK
from xmkt_assets.raw.landing import DropFile
from xmkt_assets.raw.reading import create_incoming, read_files
from xmkt_assets.warehouse import Session

_DECIDED: Final = {"position_": pl.Int64, "source_file": pl.String, "decision": pl.String, "fixed_text": pl.String}


class Settled(NamedTuple):
    """Refused rows that people decided about, per file: `mended` and now accepted, or `given_up`."""

    mended: Mapping[str, int]
    given_up: Mapping[str, int]


def apply_fixes(session: Session, contract: Contract, files: Sequence[DropFile]) -> pl.DataFrame:
    """Put mended rows into ``incoming``. One that is still refused stays so, with the reason that now holds.

    Returns the decisions that speak of these files, for `settle`.
    """
    if not session.columns(FIXES):
        return pl.DataFrame(schema=_DECIDED)
    decided = _decided(session, contract)
    mended = decided.filter(pl.col("decision") == "fixed")
    if mended.height:
        _put(session, contract, _judged(session, contract, mended, {f.name: f for f in files}))
    return decided


def settle(session: Session, decided: pl.DataFrame) -> Settled:
    """Count what came of decisions, once every row of ``incoming`` has its last judgement."""
    mended = decided.filter(pl.col("decision") == "fixed")
    accepted = "select source_file, count(*) from numbered where reason_ is null and position_ in "
    accepted += "(select unnest(cast($1 as BIGINT[]))) group by source_file"
    counted = session.connection.execute(accepted, [mended["position_"].to_list()]).fetchall()
    left_out = decided.filter(pl.col("decision") == "given up")["source_file"].value_counts()
    return Settled(dict(counted), dict(left_out.iter_rows()))


def _decided(session: Session, contract: Contract) -> pl.DataFrame:
    """Decisions about refused rows of these files: position_, source_file, decision, fixed_text."""
    mark = ROW_MARK.replace("raw_text", "raw_text_")
    return session.read(
        f"select n.position_, n.source_file, d.decision, d.fixed_text from (select *, {mark} as mark_ from numbered "
        f"where reason_ is not null) as n inner join {FIXES} as d "
        "on d.row_mark = n.mark_ and d.source_file = n.source_file and d.source_row = n.source_row "
        "where d.feed = $feed order by n.position_",
        feed=contract.feed,
    )


def _judged(session: Session, contract: Contract, mended: pl.DataFrame, files: Mapping[str, DropFile]) -> pl.DataFrame:
    """The mended rows as the reader finds them, each with the position_ of the row it stands for."""
    parts = []
    with TemporaryDirectory(prefix="xmkt-") as folder, session.beside() as other:
        for number, ((name,), rows) in enumerate(mended.group_by("source_file", maintain_order=True)):
            path = Path(folder) / f"{number}.jsonl"
            path.write_text("\n".join(rows["fixed_text"].to_list()) + "\n", encoding="utf-8")
            create_incoming(other, contract)
            file = files[str(name)]
            mended_file = replace(file, name=path.name, path=path, size_bytes=path.stat().st_size, promise=None)
            read_files(other, contract, [mended_file])
            found = other.read("select * exclude (file_order_, malformed_row_) from incoming order by rowid")
            parts.append(found.with_columns(rows["position_"]))
    return pl.concat(parts, how="vertical_relaxed")


def _put(session: Session, contract: Contract, judged: pl.DataFrame) -> None:
    session.stage_rows("mended_rows", judged)
    values = ", ".join(f"{name} = m.{name}" for name in (*contract.column_names, "reason_", "raw_text_"))
    session.connection.execute(f"update incoming set {values} from mended_rows as m where incoming.rowid = m.position_")
