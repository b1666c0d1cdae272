"""Protected attributes: no feature of a model is computed from one that the model may not use, whatever its name is.

* Lineage: every feature is walked back, column by column through any number of SQL models, to the feeds. A path that
  ends in gender or birth year, and is not permitted, is a fault that names the whole path. Conditions count too: a
  table of segments that keeps, joins or groups rows by the attribute tells it without a column of it.
* What Python makes is no hole: its columns are made of the features of the model that is declared to make them.
* Python of segments names the attributes only where it must (``NAMED_IN``).

Planted models that break each rule are found; else the proof would prove nothing. What the walk does not follow:
figures of whole columns (no account is in them) and who is whom, which is partly decided by birth year.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest
from sqlglot import exp

from xmkt_assets.assets.segments import ASSETS
from xmkt_assets.known_tables import known_tables
from xmkt_assets.protected import (
    ATTRIBUTES,
    MODELS,
    NO_MODEL,
    PERMITTED,
    Attribute,
    UndeclaredModelError,
    forbidden_for,
    made_by,
    used_columns,
)
from xmkt_assets.sql_models import SQL_FOLDER, SqlModel, load_models, upstream_columns

PACKAGE = Path(__file__).parent.parent / "xmkt_assets"
FIGURES = {"staging.cleaning_statistics"}
WHO_IS_WHO = {"person_id", "subject_id", "user_id", "customer_id"}
# Python of segments that speaks of gender or age, and why.
NAMED_IN = {
    "segments/feature_words.py": "says any feature in words, also of the model that may use age",
    "segments/fairness.py": "compares how groups fare",
    "assets/segments/fairness.py": "reads the groups to compare",
    "segments/person_page.py": "tells a person what is not used",
    "segments/targets.py": "names the feature of the model that may use age",
}
Column = tuple[str, str]


class Graph:
    """Columns of all tables and what each is computed from, worked out as far as somebody asks."""

    def __init__(self, models: Mapping[str, SqlModel], python: Mapping[str, Iterable[Column]]) -> None:
        """`python`: table that no SQL makes → the columns its rows are made of."""
        self._models = models
        self._python = python
        self._known: dict[str, tuple[str, ...]] = {t: tuple(c) for t, c in known_tables().items()}
        self._known |= {t: tuple(c.name for c in m.columns) for t, m in models.items()}
        self._origins: dict[str, dict[str, tuple[Column, ...]]] = {}
        self._conditions: dict[str, tuple[Column, ...]] = {}

    def with_more(self, models: Mapping[str, SqlModel]) -> "Graph":
        """The same with more models; what is worked out is kept."""
        more = Graph({**self._models, **models}, self._python)
        more._origins, more._conditions = dict(self._origins), dict(self._conditions)
        return more

    def origins(self, column: Column) -> tuple[Column, ...]:
        """The columns that `column` is computed from; of a table of segments also those that decide on its rows."""
        table, name = column
        if table not in self._models:
            is_known = table in self._python or table in NO_MODEL or not table.startswith("segments.")
            assert is_known, f"nobody says what {table} is made of. Name its model in xmkt_assets/protected.py"
            return tuple(self._python.get(table, ()))
        if table not in self._origins:
            self._origins[table] = upstream_columns(self._models[table], schema=self._schema(table))
            traced = any(self._origins[table].values())
            assert traced, f"{table}: no column of it can be traced. Write it so that sqlglot can read it"
        deciding = self._deciding(table) if table.startswith("segments.") else ()
        return tuple(dict.fromkeys([*self._origins[table].get(name, ()), *deciding]))

    def _schema(self, table: str) -> dict[str, tuple[str, ...]]:
        return {t: self._known[t] for t in self._models[table].reads if t in self._known}

    def _deciding(self, table: str) -> tuple[Column, ...]:
        """None where the file names no column that comes of an attribute: only by its name can one get into it."""
        if table not in self._conditions:
            model, schema = self._models[table], self._schema(table)
            spoken = {c.name for c in model.ast.find_all(exp.Column)}
            asked = [(t, c) for t, columns in schema.items() for c in columns if c in spoken]
            is_suspect = any(path_to(a, column, self) for column in asked for a in ATTRIBUTES)
            self._conditions[table] = deciding_columns(model, schema=schema) if is_suspect else ()
        return self._conditions[table]


def deciding_columns(model: SqlModel, *, schema: Mapping[str, Iterable[str]]) -> tuple[Column, ...]:
    """Columns of the tables read by which the model filters, joins or groups in any of its selects.

    A column of a table read by the select itself is taken as it is; for those of CTEs and subqueries the select is
    asked anew, for these columns instead of its own, and the lineage of that query is taken.
    """
    found: dict[Column, None] = {}
    for select in model.ast.find_all(exp.Select):
        tables = {s.alias_or_name: f"{s.db}.{s.name}" for s in _sources(select) if s.db}
        asked = list(_condition_columns(select))
        found |= {(tables[c.table], c.name): None for c in asked if c.table in tables}
        if made := [c for c in asked if c.table not in tables]:
            columns = list(dict.fromkeys(c.sql(dialect="duckdb") for c in made))
            origins = upstream_columns(_asking(model, select, columns), schema=schema)
            found |= dict.fromkeys(pair for pairs in origins.values() for pair in pairs)
            if not any(origins.values()):  # such as a condition on the select around it: then by name
                names = {c.name for c in made}
                found |= {(t, c): None for t, offered in schema.items() for c in offered if c in names}
    return tuple(found)


def _sources(select: exp.Select) -> Iterator[exp.Table]:
    for part in (select.args.get("from_"), *(select.args.get("joins") or ())):
        if part and isinstance(part.this, exp.Table):
            yield part.this


def _condition_columns(select: exp.Select) -> Iterator[exp.Column]:
    parts: list[exp.Expr | None] = [select.args.get(part) for part in ("where", "having", "qualify", "group")]
    parts += [join.args.get("on") for join in select.args.get("joins") or ()]
    for part in parts:
        yield from part.find_all(exp.Column) if part else ()


def _asking(model: SqlModel, select: exp.Select, columns: list[str]) -> SqlModel:
    """The model with the given columns of one of its selects as the only ones it returns."""
    query = select.copy()
    for part in ("where", "having", "qualify", "group", "order", "limit", "distinct"):
        query.set(part, None)
    query.set("expressions", [exp.column("asked_columns")])
    if not query.args.get("with_") and (outer := model.ast.args.get("with_")):
        query.set("with_", outer.copy())
    asked = ", -- Asked\n".join(f"{column} as c{i}" for i, column in enumerate(columns))
    sql = query.sql(dialect="duckdb").replace("asked_columns", f"\n{asked} -- Asked\n")
    return SqlModel(model.schema, model.name, model.path, f"-- grain: c0\n-- Asks for conditions.\n{sql}")


def path_to(attribute: Attribute, column: Column, graph: Graph) -> list[Column] | None:
    """The columns from `column` back to where the attribute was stated; None where there is no way."""
    seen: set[Column] = set()
    ways: list[list[Column]] = [[column]]
    while ways:
        way = ways.pop()
        table, name = way[-1]
        if not table.startswith("segments.") and name in attribute.sources:
            return way
        if way[-1] in seen or name in WHO_IS_WHO or table in FIGURES or table.startswith("raw."):
            continue
        seen.add(way[-1])
        ways += [[*way, origin] for origin in reversed(graph.origins(way[-1]))]
    return None


def faults(used: Mapping[str, Iterable[Column]], graph: Graph) -> list[str]:
    """Every feature of a model that is computed from an attribute the model may not use."""
    found = []
    for model, columns in used.items():
        for column in columns:
            for attribute in forbidden_for(model):
                if way := path_to(attribute, column, graph):
                    shown = " <- ".join(".".join(step) for step in way)
                    found.append(f"{model} may not use {attribute.name}: {shown}")
    return found


@cache
def models() -> dict[str, SqlModel]:
    return load_models(SQL_FOLDER)


def python_made() -> dict[str, tuple[Column, ...]]:
    """Table made by a model → what its rows are made of."""
    return {t: tuple(used_columns(made_by(t) or "")) for t in known_tables() if made_by(t)}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(models(), python_made())


# ── the proof ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", MODELS)
def test_no_feature_of_a_model_is_computed_from_an_attribute_it_may_not_use(model: str, graph: Graph) -> None:
    columns = used_columns(model)
    assert len(columns) > 3
    assert faults({model: columns}, graph) == []


@pytest.mark.parametrize("model", MODELS)
def test_every_feature_is_a_column_of_the_table_it_is_said_to_be_of(model: str) -> None:
    known = {t: set(c) for t, c in known_tables().items()} | {t: set(m.column_names) for t, m in models().items()}
    assert [(t, c) for t, c in used_columns(model) if c not in known.get(t, ())] == []


def test_the_walk_does_find_the_attributes_where_they_are_known_to_be(graph: Graph) -> None:
    """Else it might find nothing anywhere."""
    gender, age = ATTRIBUTES
    assert path_to(gender, ("segments.person_features", "gender"), graph) == [
        ("segments.person_features", "gender"),
        ("staging.gate_profiling", "gender"),
    ]
    for column in ("age_years", "age_band", "age_clean_years", "age_is_imputed"):
        assert path_to(age, ("segments.person_features", column), graph), column
    assert path_to(age, ("segments.person_features", "paid_clean_fen"), graph) is None


def test_what_is_permitted_is_used_and_is_a_permission_of_a_declared_model(graph: Graph) -> None:
    for permission in PERMITTED:
        (attribute,) = (a for a in ATTRIBUTES if a.name == permission.attribute)
        assert attribute not in forbidden_for(permission.model)
        assert any(path_to(attribute, column, graph) for column in used_columns(permission.model)), permission
        assert len(permission.why) > 40


def test_gender_is_permitted_to_no_model() -> None:
    assert all("gender" in {a.name for a in forbidden_for(model)} for model in MODELS)
    assert {p.model for p in PERMITTED if p.attribute == "age"} == {"claim_risk"}


def test_a_model_nobody_declared_is_refused_by_name() -> None:
    with pytest.raises(UndeclaredModelError, match=r"nose_length is no model of .* value_clusters"):
        forbidden_for("nose_length")


def test_every_table_of_segments_with_people_that_python_makes_belongs_to_a_declared_model() -> None:
    """A new model without a declaration fails here: name it in ``protected.MODELS``, its features in `used_columns`."""
    tables = {
        ".".join(key.path)
        for asset in ASSETS
        for key in ([asset.key] if isinstance(asset, dg.AssetSpec) else asset.keys)
    }
    with_people = {t for t in tables if "person_id" in known_tables().get(t, {})}
    assert {t for t in with_people if made_by(t) is None} == set(NO_MODEL)


def test_python_of_segments_names_a_protected_attribute_only_where_it_must() -> None:
    named = {}
    for folder in ("segments", "assets/segments"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            if words := protected_words(path):
                named[path.relative_to(PACKAGE).as_posix()] = words
    assert {path: words for path, words in named.items() if path not in NAMED_IN} == {}


def protected_words(path: Path) -> set[str]:
    """Protected attributes named in the strings and keywords of a module, its docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    texts = [
        n.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in prose
    ]
    texts += [k.arg for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg]
    names = {name for a in ATTRIBUTES for name in (*a.sources, *a.names)}
    return {word for text in texts for word in re.findall(r"\w+", text)} & names


# ── planted models are caught ────────────────────────────────────────────────────────────────────────────────────────

HEADER = "-- grain: as_of_on, person_id\n-- partition: as_of_on\n-- Planted.\n"
GATE = "from staging.gate_profiling as g where g.as_of_on = cast($start as date)"
KEYS = "cast($start as date) as as_of_on, -- Day\n g.person_id, -- Person\n"


class Planted(NamedTuple):
    files: dict[str, str]
    says: str


PLANTED = {
    "renamed": Planted(
        {"rogue": f"select {KEYS} g.gender as colour -- Harmless {GATE}".replace("Harmless from", "Harmless\nfrom")},
        "may not use gender: segments.rogue.colour <- staging.gate_profiling.gender",
    ),
    "computed": Planted(
        {"rogue": f"select {KEYS} year(cast($start as date)) - g.birth_year > 60 as colour -- Harmless\n{GATE}"},
        "may not use age: segments.rogue.colour <- staging.gate_profiling.birth_year",
    ),
    "through two tables": Planted(
        {
            "first": f"select {KEYS} case when g.gender = 'male' then 1 else 0 end as shade -- Harmless\n{GATE}",
            "rogue": f"select {KEYS} max(f.shade) over () as colour -- Harmless\n"
            "from segments.first as f inner join segments.person_features as g on g.person_id = f.person_id\n"
            "where f.as_of_on = cast($start as date)",
        },
        "may not use gender: segments.rogue.colour <- segments.first.shade <- staging.gate_profiling.gender",
    ),
    "a model that guesses it": Planted(
        {
            "rogue": f"select {KEYS} r.claim_risk_share as colour -- Harmless\nfrom segments.claim_risk as r\n"
            "inner join segments.person_features as g on g.person_id = r.person_id\n"
            "where r.as_of_on = cast($start as date)",
        },
        "may not use age: segments.rogue.colour <- segments.claim_risk.claim_risk_share <- "
        "segments.risk_examples.age_years <- staging.gate_profiling.birth_year",
    ),
    "rows kept by it": Planted(
        {
            "rogue": "with ladies as (select p.person_id from staging.gate_profiling as p where p.gender = 'female')\n"
            f"select {KEYS} count(l.person_id) over (partition by g.person_id) as colour -- Harmless\n"
            "from segments.person_features as g left join ladies as l on l.person_id = g.person_id",
        },
        "may not use gender: segments.rogue.colour <- staging.gate_profiling.gender",
    ),
    "kept by a column of another table": Planted(
        {
            "first": f"select {KEYS} g.birth_year > 1980 as shade -- Harmless\n{GATE}",
            "rogue": f"select {KEYS} count(*) over () as colour -- Harmless\n"
            "from segments.first as g where g.as_of_on = cast($start as date) and g.shade",
        },
        "may not use age: segments.rogue.colour <- segments.first.shade <- staging.gate_profiling.birth_year",
    ),
    "in a subquery": Planted(
        {
            "rogue": f"select {KEYS} (select count(*) from staging.gate_profiling as o where o.person_id = g.person_id "
            "and o.gender = 'male') as colour -- Harmless\nfrom segments.person_features as g",
        },
        "may not use gender: segments.rogue.colour <- staging.gate_profiling.gender",
    ),
    "renamed, then a condition": Planted(
        {
            "rogue": "with p as (select person_id, gender as shade from staging.gate_profiling)\n"
            f"select {KEYS} count(*) as colour -- Harmless\n"
            "from segments.person_features as g inner join p on p.person_id = g.person_id and p.shade = 'male'\n"
            "group by g.person_id",
        },
        "may not use gender: segments.rogue.colour <- staging.gate_profiling.gender",
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_model_that_uses_a_protected_attribute_is_caught_with_its_path(
    case: str, graph: Graph, tmp_path: Path
) -> None:
    (tmp_path / "segments").mkdir()
    for name, sql in PLANTED[case].files.items():
        (tmp_path / "segments" / f"{name}.sql").write_text(HEADER + sql + "\n", encoding="utf-8")
    with_rogue = graph.with_more(load_models(tmp_path))
    found = faults({"lapse_risk": [("segments.rogue", "colour")]}, with_rogue)
    assert f"lapse_risk {PLANTED[case].says}" in found


def test_a_planted_table_that_only_passes_the_gate_is_no_fault(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    sql = f"{HEADER}select {KEYS} g.city_tier as colour -- Harmless\n{GATE}\n"
    (tmp_path / "segments" / "rogue.sql").write_text(sql, encoding="utf-8")
    with_rogue = graph.with_more(load_models(tmp_path))
    assert faults({"lapse_risk": [("segments.rogue", "colour")]}, with_rogue) == []


def test_a_planted_module_that_reads_gender_beside_its_features_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "rogue.py"
    path.write_text('"""Of gender."""\nrows = frame.with_columns(f=pl.col("gender") == "female")\n', encoding="utf-8")
    assert protected_words(path) == {"gender"}
    path.write_text('"""Of gender."""\nquery = "select age_years from segments.person_features"\n', encoding="utf-8")
    assert protected_words(path) == {"age_years"}
    path.write_text('"""Of gender."""\n', encoding="utf-8")
    assert protected_words(path) == set()
