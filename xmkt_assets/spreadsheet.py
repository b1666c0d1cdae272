"""CSV that is safe to open in a spreadsheet: no cell is taken for a formula. Pure.

A spreadsheet computes a cell that begins with one of a few signs, and a formula can send other cells away (OWASP, "CSV
Injection"). Such a cell gets an apostrophe in front; `spreadsheet_text` takes it off again. Which tables leave the
platform, and where to, is not said here.
"""

from typing import Final

import polars as pl

# The apostrophe itself is marked too, so that taking marks off gives back exactly what was there.
FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
_MARK: Final = "'"


def spreadsheet_safe(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with every text cell that a spreadsheet could compute marked by an apostrophe; numbers stay numbers."""
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    risky = "^[" + "".join(f"\\x{{{ord(sign):x}}}" for sign in FORMULA_SIGNS) + "]"
    marked = [
        pl.when(pl.col(name).str.contains(risky)).then(_MARK + pl.col(name)).otherwise(pl.col(name)).alias(name)
        for name in texts
    ]
    return rows.with_columns(marked)


def spreadsheet_text(cell: str) -> str:
    """The text a cell of `spreadsheet_safe` stood for."""
    return cell[1:] if cell[:1] == _MARK and cell[1:2] in FORMULA_SIGNS and cell[1:2] else cell
