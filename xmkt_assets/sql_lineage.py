"""Column lineage: from which columns of which tables an output column is computed, by sqlglot. Pure.

Slow beside everything else that is read of a file, so it is computed where it is shown and not at load.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.errors import SqlglotError

from xmkt_assets.sql_file import SqlModel

if TYPE_CHECKING:
    from sqlglot.lineage import Node


def upstream_columns(model: SqlModel, *, schema: Mapping[str, Iterable[str]]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Column lineage: output column → the (table, column) pairs it is computed from.

    `schema` gives the columns of the tables read; a column that cannot be traced has no pairs.
    """
    from sqlglot.lineage import lineage

    nested: dict[str, dict[str, dict[str, str]]] = {}
    for table, columns in schema.items():
        db, name = table.split(".")
        nested.setdefault(db, {})[name] = dict.fromkeys(columns, "unknown")
    try:  # all columns at once: column by column, sqlglot would qualify the whole query anew for each
        roots = lineage(None, model.ast, schema=nested, dialect="duckdb", trim_selects=False)
    except SqlglotError:
        return {column.name: () for column in model.columns}
    return {column.name: _origins(roots.get(column.name.lower())) for column in model.columns}


def _origins(root: "Node | None") -> tuple[tuple[str, str], ...]:
    """(table, column) at the leaves of a lineage."""
    pairs = {
        (f"{node.source.db}.{node.source.name}", node.name.split(".")[-1].strip('"'))
        for node in (root.walk() if root else ())
        if isinstance(node.source, exp.Table) and node.source.db
    }
    return tuple(sorted(pairs))
