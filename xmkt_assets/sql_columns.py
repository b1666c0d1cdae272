"""Which columns a query names that are not there: every column resolved against tables and CTEs. Pure.

Here: scopes of a syntax tree, what each source of a scope returns, and a mistake for each name that none of them has or
that two of them have. What cannot be told (the columns of a table function, a field of a struct) is passed over: the
database tells it. Not here: types and functions (``sql_binding`` asks DuckDB itself).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from xmkt_assets.sql_mistakes import SqlText, near, output_name

Known = Mapping[str, Collection[str] | None]
"""Table → its columns; None where nobody says which."""

_SHOWN_COLUMNS: Final = 12
_ALWAYS_THERE: Final = {"rowid"}


class _Source(NamedTuple):
    """One thing a SELECT reads: its name in the SELECT, what it is in words, its columns where they are known."""

    name: str
    words: str
    columns: tuple[str, ...] | None
    is_hidden: bool = False  # the right side of a semi or anti join gives no columns
    scope: Scope | None = None  # the query that makes it

    def has(self, column: str) -> bool:
        return self.columns is None or column.casefold() in {c.casefold() for c in self.columns}


def column_mistakes(ast: exp.Expr, *, text: SqlText, known: Known) -> Iterator[str]:
    """A mistake for each column or alias that does not exist, or exists twice, each once per line."""
    try:
        scopes = traverse_scope(ast)
    except SqlglotError as error:
        yield f"{text.path}: the query cannot be taken apart ({error}). Give every CTE and subquery a name of its own."
        return
    resolver = _Resolver(known)
    told: set[str] = set()
    for scope in scopes:
        for node, mistake in resolver.mistakes(scope):
            placed = f"{text.at(node)}: {mistake}"
            if placed not in told:
                told.add(placed)
                yield placed


class _Resolver:
    """What each scope reads and returns, worked out once."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._sources: dict[int, dict[str, _Source]] = {}
        self._outputs: dict[int, tuple[str, ...] | None] = {}
        self._seen_from: dict[int, list[dict[str, _Source]]] = {}

    def mistakes(self, scope: Scope) -> Iterator[tuple[exp.Expr, str]]:
        for column in scope.find_all(exp.Column):
            if column.arg_key == "except_" or (isinstance(column.this, exp.Star) and not column.table):
                continue
            mistake = self._qualified(scope, column) if column.table else self._bare(scope, column)
            if mistake:
                yield column, mistake

    def _qualified(self, scope: Scope, column: exp.Column) -> str | None:
        if column.args.get("db"):
            return None  # schema.table.column, or a field of a field
        visible = self._visible(scope)
        source = next((s[column.table.casefold()] for s in visible if column.table.casefold() in s), None)
        if source is None:
            everything = [source for sources in visible for source in sources.values()]
            if any(s.has(column.table) for s in everything):
                return None  # a field of a struct column, or all of them
            hint = near(column.table, [s.name for s in everything], otherwise=_list_of(s.name for s in everything))
            return f"{column.sql()} names no table or alias of this SELECT. {hint}"
        if isinstance(column.this, exp.Star) or source.has(column.name) or column.name.casefold() in _ALWAYS_THERE:
            return None
        hint = near(column.name, source.columns or (), otherwise=_list_of(source.columns or ()))
        return f"{source.words} has no column {column.name!r}. {hint}"

    def _bare(self, scope: Scope, column: exp.Column) -> str | None:
        name = column.name.casefold()
        if name in _ALWAYS_THERE or column.find_ancestor(exp.Comprehension):
            return None
        for place, sources in enumerate(self._visible(scope)):
            having = [s for s in sources.values() if s.has(column.name)]
            sure = [s for s in having if s.columns is not None and not s.is_hidden]
            if place == 0 and len(sure) > 1 and not _is_joined_by_name(scope, name):
                both = " and ".join(s.words for s in sure)
                wanted = " or ".join(f"{s.name}.{column.name}" for s in sure)
                if name not in _aliases(scope) or not _may_use_alias(column):
                    return f"the column {column.name!r} is in {both}. Say which: {wanted}."
            if having:
                return None
        if any(name in _aliases(outer) for outer in _outwards(scope)):
            return None
        return self._nowhere(scope, column)

    def _nowhere(self, scope: Scope, column: exp.Column) -> str:
        sources = [s for seen in self._visible(scope) for s in seen.values()]
        columns = [c for s in sources for c in s.columns or ()]
        hint = near(column.name, columns, otherwise=_list_of(columns))
        if not sources:
            return f"there is no column {column.name!r}, as this SELECT reads no table. Write FROM, or quote a text."
        what = sources[0].words if len(sources) == 1 else f"none of {', '.join(s.words for s in sources)}"
        return f"{what} has {'no' if len(sources) == 1 else 'a'} column {column.name!r}. {hint}"

    def _visible(self, scope: Scope) -> list[dict[str, _Source]]:
        """Sources of the scope, then of the queries around it; a query in FROM does not see itself there."""
        if id(scope) not in self._seen_from:
            around = list(_outwards(scope))
            within = {id(inner) for outer in around for inner in (outer, outer.parent)}
            self._seen_from[id(scope)] = [
                {name: s for name, s in self._sources_of(outer).items() if s.scope is None or id(s.scope) not in within}
                for outer in around
            ]
        return self._seen_from[id(scope)]

    def _sources_of(self, scope: Scope) -> dict[str, _Source]:
        if id(scope) not in self._sources:
            self._sources[id(scope)] = {}  # a recursive CTE asks for itself
            found = [self._source(scope, name, node, source) for name, node, source in _selected(scope)]
            if isinstance(scope.expression, exp.SetOperation):
                found = [_Source("", "the SELECT", self._returned(scope))]
            self._sources[id(scope)] = {source.name.casefold(): source for source in found}
        return self._sources[id(scope)]

    def _source(self, scope: Scope, name: str, node: exp.Expr, source: exp.Expr | Scope) -> _Source:
        hidden = name in scope.semi_or_anti_join_tables
        if isinstance(source, exp.Table):
            table = f"{source.db}.{source.name}" if source.db else source.name
            columns = self._known.get(table) if source.db and not source.args.get("pivots") else None
            words = table if table.endswith(name) else f"{table} (as {name})"
            return _Source(name, words, _renamed(source, None if columns is None else tuple(columns)), hidden)
        returned = self._returned(source) if isinstance(source, Scope) else None
        if node.args.get("pivots"):
            returned = None
        is_cte = isinstance(source, Scope) and source.is_cte
        if (is_cte and isinstance(node, exp.Table)) or isinstance(node, exp.Values):
            returned = _renamed(node, returned)
        called = f"the CTE {node.name}" if is_cte and node.name else "the subquery"
        words = called if called.endswith(f" {name}") else f"{called} (as {name})"
        return _Source(name, words, returned, hidden, source if isinstance(source, Scope) and not is_cte else None)

    def _returned(self, scope: Scope) -> tuple[str, ...] | None:
        """Columns that a scope returns; None where they cannot be told."""
        if id(scope) not in self._outputs:
            self._outputs[id(scope)] = None  # a recursive CTE asks for itself
            self._outputs[id(scope)] = _renamed(_namer(scope), self._output(scope))
        return self._outputs[id(scope)]

    def _output(self, scope: Scope) -> tuple[str, ...] | None:
        query = scope.expression
        if isinstance(query, exp.SetOperation):
            sides = [self._returned(side) for side in scope.set_operation_scopes]
            if not query.args.get("by_name") or not sides:
                return sides[0] if sides else None
            known = [side for side in sides if side is not None]
            return tuple(dict.fromkeys(c for side in known for c in side)) if len(known) == len(sides) else None
        if not isinstance(query, exp.Select):
            return None
        names: list[str] = []
        for expression in query.selects:
            opened = self._opened(scope, expression)
            if opened is None:
                return None
            names += opened
        return tuple(names)

    def _opened(self, scope: Scope, expression: exp.Expr) -> tuple[str, ...] | None:
        """Names of one expression of a SELECT, a star opened."""
        qualifier = expression.table if isinstance(expression, exp.Column) else ""
        star = expression.this if isinstance(expression, exp.Column) else expression
        if not isinstance(star, exp.Star):
            return None if isinstance(expression, exp.Columns) else (output_name(expression),)
        sources = self._sources_of(scope)
        wanted = [s for s in sources.values() if not s.is_hidden and qualifier.casefold() in ("", s.name.casefold())]
        if star.args.get("rename") or any(s.columns is None for s in wanted):
            return None
        left_out = {e.name.casefold() for e in star.args.get("except_") or star.args.get("except") or ()}
        return tuple(c for s in wanted for c in s.columns or () if c.casefold() not in left_out)


def _selected(scope: Scope) -> Iterator[tuple[str, exp.Expr, exp.Expr | Scope]]:
    """Name, node and meaning of everything in FROM and JOIN."""
    if isinstance(scope.expression, exp.Select):
        for name, node in scope.references:
            if name in scope.sources:
                yield name, node, scope.sources[name]


def _outwards(scope: Scope) -> Iterator[Scope]:
    """The scope and those around it whose rows it may use.

    A CTE does not see the query that it stands in, nor one side of a union what the union returns.
    """
    current: Scope | None = scope
    while current is not None:
        if current is scope or not isinstance(current.expression, exp.SetOperation):
            yield current
        current = current.parent.parent if current.is_cte and current.parent else current.parent


def _namer(scope: Scope) -> exp.Expr | None:
    """What may give the columns of a scope other names: the CTE or alias around it, or around the union it opens."""
    node = scope.expression.parent
    while isinstance(node, exp.SetOperation):
        node = node.parent
    return node


def _renamed(node: exp.Expr | None, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names that ``as t(a, b)`` gives to the first columns."""
    if not isinstance(node, exp.CTE | exp.Subquery | exp.Table | exp.Values):
        return columns
    names = tuple(node.alias_column_names)
    return columns if not names else names if columns is None else (*names, *columns[len(names) :])


def _aliases(scope: Scope) -> set[str]:
    """Names that a SELECT gives its expressions: DuckDB lets the rest of the SELECT use them."""
    query = scope.expression
    return {e.alias.casefold() for e in query.selects if e.alias} if isinstance(query, exp.Select) else set()


def _may_use_alias(column: exp.Column) -> bool:
    return column.find_ancestor(exp.Order, exp.Having, exp.Qualify, exp.Select) is not None


def _is_joined_by_name(scope: Scope, name: str) -> bool:
    """Whether two sources share the column by USING or NATURAL, so that it is one."""
    joins = scope.expression.args.get("joins") or ()
    return any(
        (j.method or "").upper() in ("NATURAL", "ASOF")
        or name in {u.name.casefold() for u in j.args.get("using") or ()}
        for j in joins
    )


def _list_of(names: Collection[str] | Iterator[str]) -> str:
    unique = list(dict.fromkeys(names))
    shown = ", ".join(unique[:_SHOWN_COLUMNS])
    return f"There are {shown}{' …' if len(unique) > _SHOWN_COLUMNS else ''}." if unique else "There is none."
