"""Mistakes in SQL files, as a person wants to be told of them: the file, the line, what was found, what to do. Pure.

Here: the error that carries them all, near names, places, syntax errors shown with a caret. Which mistakes there are is
found by ``sql_file`` (one file), ``sql_columns`` (its columns), ``sql_models`` (the folder).
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

# Comments and closed quotes, so that what is left is the quote that never ends.
_CLOSED: Final = re.compile(
    r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$\$.*?\$\$|(?P<open>'|"|/\*|\$\$)""", re.DOTALL
)
_IN_WORDS: Final = (
    (re.compile(r"Required keyword: '(expression|this)' missing for .*\.(\w+)'>"), "something is missing after it"),
    (re.compile(r"Required keyword: '(\w+)' missing for .*\.(\w+)'>"), r"the \1 of \2 is missing"),
    (re.compile(r"Invalid expression / Unexpected token"), "unexpected here; is a comma, a bracket or a word missing?"),
    (re.compile(r"Expecting (\S+)$"), r"expected \1"),
)


class SqlModelError(ValueError):
    """Files under ``dbt_like_sql/`` that cannot be used. Each of `mistakes` names its file and the next step."""

    def __init__(self, *mistakes: str) -> None:
        self.mistakes = tuple(dict.fromkeys(mistakes))
        super().__init__(in_words(self.mistakes))


class SqlText(NamedTuple):
    """The text of a file, to say where in it something stands."""

    path: str
    sql: str

    def line(self, node: exp.Expr) -> int | None:
        """Line of an expression: that of a name in it, or of the nearest name around it.

        Counted from the offset of the name: the line numbers that sqlglot 30 notes go wrong after comments.
        """
        around: exp.Expr | None = node
        while around is not None:
            starts = [n.meta["start"] for n in around.walk() if "start" in n.meta]
            if starts:
                return self.sql.count("\n", 0, min(starts)) + 1
            around = around.parent
        return None

    def at(self, node: exp.Expr) -> str:
        """A place a person can open."""
        return at(self.path, self.line(node))


def in_words(mistakes: tuple[str, ...]) -> str:
    """One mistake as it is, several as a list."""
    if len(mistakes) == 1:
        return mistakes[0]
    listed = "\n".join("- " + mistake.replace("\n", "\n  ") for mistake in mistakes)
    return f"{len(mistakes)} mistakes in the SQL files:\n{listed}"


def at(path: str, line: int | None) -> str:
    """A place a person can open."""
    return path if line is None else f"{path}, line {line}"


def near(name: str, known: Iterable[str], *, otherwise: str, likeness: float = 0.6) -> str:
    """The next step after an unknown name: the nearest known one, if any is as like as `likeness` (0 to 1)."""
    by_folded = {k.casefold(): k for k in sorted(known)}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=likeness)
    return f"Did you mean {by_folded[close[0]]}?" if close else otherwise


def output_name(expression: exp.Expr) -> str:
    """Name a query gives one of its columns; empty where DuckDB would make one up, such as ``count_star()``."""
    return expression.alias_or_name if isinstance(expression, exp.Alias | exp.Column | exp.Dot) else ""


def syntax_mistake(text: SqlText, error: ParseError) -> str:
    """What the parser stumbled over, with its line and a caret under the place."""
    found = error.errors[0] if error.errors else {}
    word = found.get("highlight") or ""
    before = found.get("start_context") or ""
    around = text.sql.find(f"{before}{word}{found.get('end_context') or ''}")
    line, column = _place(text.sql, max(around, 0) + len(before))
    why = str(found.get("description") or error)
    for pattern, words in _IN_WORDS:
        why = pattern.sub(words, why)
    return (
        f"{text.path}, line {line}, column {column}: not valid SQL near {word!r} ({why}).\n"
        f"{_caret(text.sql, line=line, column=column)}\n"
        f"Correct the line; a DuckDB shell says more when the file is pasted into it."
    )


def quote_mistake(text: SqlText, error: TokenError) -> str:
    """A text the parser cannot cut into words: nearly always a quote or a comment that is never closed."""
    opened = next((m for m in _CLOSED.finditer(text.sql) if m["open"]), None)
    if opened is None:
        return f"{text.path}: not valid SQL ({error}). Look for a character that does not belong there."
    line, column = _place(text.sql, opened.start())
    return (
        f"{text.path}, line {line}, column {column}: not valid SQL, the {opened['open']} here is never closed.\n"
        f"{_caret(text.sql, line=line, column=column)}\nClose it, or close an earlier one."
    )


def _place(sql: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of a character."""
    return sql.count("\n", 0, offset) + 1, offset - sql.rfind("\n", 0, offset)


def _caret(sql: str, *, line: int, column: int) -> str:
    """The offending line with a mark under its column; wide characters count twice, as a terminal shows them."""
    lines = sql.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    before = "".join(
        "\t" if c == "\t" else "  " if unicodedata.east_asian_width(c) in "WF" else " " for c in shown[: column - 1]
    )
    return f"    {shown}\n    {before}^"
