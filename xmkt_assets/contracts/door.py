"""The door: what a header that does not fit looks like it was meant to be. Pure.

That a column is missing or undeclared is found and told where files are read (``raw.reading``), values row by row in
``raw.values``, their drift over days in ``raw.drift``. Here is only the hint that spares a partner the search.
"""

import re
from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches
from typing import Final

from xmkt_assets.contracts.model import Contract
from xmkt_assets.contracts.versions import ContractVersion, in_force, versions

_LIKENESS: Final = 0.85


def header_hints(
    contract: Contract, version: ContractVersion, header: Sequence[str], *, dt: date | None = None
) -> tuple[str, ...]:
    """What to do about columns of `version` that the `header` of a file of day `dt` lacks, where it can be guessed."""
    names = frozenset(header)
    strangers = {_plain(name): name for name in header if name not in version.then.column_names}
    hints = []
    for column in version.then.columns:
        if column.name not in names and (like := get_close_matches(_plain(column.name), strangers, 1, _LIKENESS)):
            hints.append(f"{shown_name(strangers[like[0]])} looks like {column.name}: rename it.")
    if not version.then.required_names <= names:
        hints += [
            f"The columns are those of version {old.version}, which ran out on {old.until}."
            for old in versions(contract)
            if old.then.required_names <= names and not in_force(old, dt)
        ]
    return tuple(hints)


def shown_name(name: str) -> str:
    """A column name for people. A file without a header has values there: what looks like a contact is not shown."""
    return "(name not shown)" if re.search(r"@|\d{5}", name) else name[:60] or "(no name)"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
