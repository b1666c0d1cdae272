"""Consent is a gate: nobody outside staging reaches a person's data but through the gate of the stage's purpose.

Four proofs, from the strongest to the weakest:

* SQL models: every select that reads a personal event table inner joins a gate on (partner, account), directly or
  through CTEs whose columns come from a gate, and every gate is read as of one day (`sql_faults`, on the syntax tree).
  Claims are reached through the gate of sensitive_profiling alone.
* Column lineage: what contracts grade sensitive reaches the tables of segments that `purposes.SENSITIVE_TABLES` names
  and no other, neither by a column nor by a row, and none of them is published (`leak_faults`).
* The asset graph: who may depend on what (`graph_faults`). Of a Python asset only the tables it declares and the
  tables its module names are known; what it does with their rows is proven by nothing but the fourth.
* The rows of a tiny platform: every person in every table of a stage passed that stage's gate on that day; and a
  withdrawal delivered to it empties everything of the person in the run that brings it.
"""

import ast
import graphlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import polars as pl
import pytest
from sqlglot import exp

import xmkt_assets
from xmkt_assets.automation.jobs import LOAD, RETRAIN
from xmkt_assets.contracts import contracts
from xmkt_assets.definitions import build_defs
from xmkt_assets.known_tables import known_tables
from xmkt_assets.published import ALSO, SCHEMAS, is_published
from xmkt_assets.purposes import SENSITIVE_TABLES, SUITABILITY
from xmkt_assets.resources import SQL_FOLDER
from xmkt_assets.sql_models import SqlModel, load_models, parse_select, upstream_columns
from xmkt_assets_tests.platform_helper import AS_OF, CAMPAIGN, Platform, finished_platform

GATES = {
    "staging.gate_profiling": "profiling",
    "staging.gate_joint_marketing": "joint_marketing",
    "staging.gate_measurement": "measurement",
    "staging.gate_sensitive_profiling": "sensitive_profiling",
}
SENSITIVE_GATE = "staging.gate_sensitive_profiling"
PURPOSES = {
    "segments": "profiling",
    "recommenders": "profiling",
    "campaigns": "joint_marketing",
    "evaluation": "measurement",
}
# By person_id, for accounting and refusal only: who may be used for what, and who said no.
BY_PERSON = {"staging.consent_decisions", "staging.do_not_contact"}
# Who is whom, and what they said: never read outside staging, with or without a gate.
CLOSED = {
    *("staging.users", "staging.customers", "staging.people", "staging.identities"),
    *("staging.identifiers", "staging.identity_links", "staging.identity_conflicts"),
    *("staging.consents", "staging.consent_ledger", "staging.consent_refusals"),
}
# Figures of whole columns, without an account in them.
FIGURES = {"staging.cleaning_statistics"}
# Accounts of both firms side by side: read like an event table, by partner and subject_id.
OF_BOTH_FIRMS = {
    *("staging.account_attributes", "staging.account_attributes_cleaned"),
    *("staging.duplicate_events", "staging.visits"),
}
# Bookkeeping of files, without a person in it.
IMPERSONAL_RAW = {"raw.file_ledger", "raw.landing_strays"}


# ── what is personal follows from the contracts ──────────────────────────────────────────────────────────────────────


@cache
def models() -> dict[str, SqlModel]:
    return load_models(SQL_FOLDER)


def touched_by(columns: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Table → columns computed, through any number of models, from the given columns of raw tables."""
    known = {table: tuple(columns) for table, columns in known_tables().items()}
    known |= {table: tuple(c.name for c in model.columns) for table, model in models().items()}
    touched = {table: set(names) for table, names in columns.items()}
    for table, model in models().items():
        origins = upstream_columns(model, schema={t: known[t] for t in model.reads if t in known})
        touched[table] = {name for name, pairs in origins.items() if any(c in touched.get(t, ()) for t, c in pairs)}
    return touched


@cache
def event_tables() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Personal tables of staging that are read through a gate → (column with the firm's own id, partners)."""
    personal = {
        f"raw.{c.feed}": {x.name for x in c.columns if x.classification != "internal"} for c in contracts().values()
    }
    staging = {t for t, names in touched_by(personal).items() if names and t.startswith("staging.")}
    found = {}
    for table in staging - GATES.keys() - BY_PERSON - CLOSED - FIGURES:
        if table in OF_BOTH_FIRMS:
            found[table] = ("subject_id", ("course_platform", "insurer"))
            continue
        contract = contracts()[table.removeprefix("staging.").removesuffix("_cleaned")]
        (account,) = (c.name for c in contract.columns if c.classification == "personal" and c.name.endswith("_id"))
        found[table] = (account, contract.partners)
    return found


@cache
def sensitive_feeds() -> frozenset[str]:
    """Event tables of staging of which a row as such is sensitive: somebody claimed."""
    graded = {c.feed for c in contracts().values() if any(x.classification == "sensitive" for x in c.columns)}
    return frozenset(f"staging.{feed}" for feed in graded) & event_tables().keys()


@cache
def sensitive_columns() -> dict[str, set[str]]:
    """Table → columns computed from a column that a contract grades sensitive."""
    graded = {
        f"raw.{c.feed}": {x.name for x in c.columns if x.classification == "sensitive"} for c in contracts().values()
    }
    return {table: names for table, names in touched_by(graded).items() if names}


def test_what_is_sensitive_follows_from_the_contracts() -> None:
    assert sensitive_feeds() == {"staging.claims"}
    staging = {table: names for table, names in sensitive_columns().items() if table.startswith("staging.")}
    assert staging.pop("staging.claims") >= {"claimed_fen", "paid_fen"}
    income = {"annual_income_fen"}
    assert staging == dict.fromkeys(("staging.customers", "staging.people", SENSITIVE_GATE), income)


def test_the_personal_event_tables_are_found_by_the_classification_of_their_columns() -> None:
    assert {table: account for table, (account, _) in event_tables().items()} == {
        "staging.course_views": "user_id",
        "staging.course_orders": "user_id",
        "staging.course_reviews": "user_id",
        "staging.product_views": "customer_id",
        "staging.policies": "customer_id",
        "staging.claims": "customer_id",
        "staging.product_eligibility": "customer_id",
        "staging.campaign_events": "subject_id",
        "staging.contact_optouts": "subject_id",
        "staging.account_attributes": "subject_id",
        "staging.account_attributes_cleaned": "subject_id",
        "staging.duplicate_events": "subject_id",
        "staging.visits": "subject_id",
        "staging.course_views_cleaned": "user_id",
        "staging.course_orders_cleaned": "user_id",
        "staging.course_reviews_cleaned": "user_id",
        "staging.product_views_cleaned": "customer_id",
        "staging.policies_cleaned": "customer_id",
    }


def test_figures_of_whole_columns_hold_no_column_of_an_account() -> None:
    accounts = {f"raw.{c.feed}": {x.name for x in c.columns if x.name.endswith("_id")} for c in contracts().values()}
    held = touched_by(accounts)
    assert {table: held[table] for table in FIGURES} == {table: set() for table in FIGURES}


def test_hashes_of_identifiers_and_what_is_made_of_them_end_in_closed_tables() -> None:
    hashes = {f"raw.{feed}": {"phone_hash", "email_hash"} for feed in ("users", "customers")}
    hashes["raw.identifiers"] = {"identifier_hash"}
    reached = {table for table, names in touched_by(hashes).items() if names and not table.startswith("raw.")}
    assert {"staging.users", "staging.customers", "staging.identifiers"} <= reached <= CLOSED


# ── the walker over the syntax tree of a model ───────────────────────────────────────────────────────────────────────

Origins = frozenset[tuple[str, str]]


class Source(NamedTuple):
    """One entry of a FROM clause: `join` is None for the first."""

    alias: str
    table: str | None
    query: exp.Query | None
    join: exp.Join | None

    @property
    def keeps_only_matches(self) -> bool:
        """Whether rows of the other sources survive only where this one matches."""
        return self.join is None or (not self.join.side and not self.join.method and self.join.kind in ("", "INNER"))


def sql_faults(model: SqlModel) -> list[str]:
    """Every way in which a model outside staging reaches a person without passing a gate; none = proven."""
    ctes = {cte.alias_or_name: cte.this for cte in model.ast.find_all(exp.CTE)}
    faults = [f"reads {table}" for table in sorted(model.reads) if is_forbidden(table)]
    if len(ctes) < len(list(model.ast.find_all(exp.CTE))):
        faults.append("names two CTEs alike, so that nobody can tell which is read")
    seen = 0
    for select in model.ast.find_all(exp.Select):
        sources = list(sources_of(select, ctes))
        for source in sources:
            seen += source.table is not None
            if is_open(source, select, ctes) and not hands_the_day_on(select):
                name = source.table or source.alias
                faults.append(f"reads {name} of every day: as_of_on is not fixed by an equality")
            if source.table in event_tables() and not passes_a_gate(source, select, sources, ctes):
                faults.append(f"reads {source.table} in a select that inner joins {gate_wanted(source.table)}")
    if seen != sum(1 for table in model.ast.find_all(exp.Table) if table.db):
        faults.append("reads a table outside FROM and JOIN, where this walker does not look")
    return [f"{model.table} {fault}" for fault in faults]


def gates_for(table: str) -> set[str]:
    return {SENSITIVE_GATE} if table in sensitive_feeds() else set(GATES)


def gate_wanted(table: str) -> str:
    which = f"not {SENSITIVE_GATE}" if table in sensitive_feeds() else "no gate"
    return f"{which} on (partner, account)"


def is_forbidden(table: str) -> bool:
    return table in CLOSED or (table.startswith("raw.") and table not in IMPERSONAL_RAW)


def sources_of(select: exp.Select, ctes: Mapping[str, exp.Query]) -> Iterator[Source]:
    first = select.args.get("from_") or select.args.get("from")
    entries = [(first.this, None)] if first else []
    for node, join in [*entries, *((j.this, j) for j in select.args.get("joins") or [])]:
        if isinstance(node, exp.Table) and node.db:
            yield Source(node.alias_or_name, f"{node.db}.{node.name}", None, join)
        elif isinstance(node, exp.Table):
            yield Source(node.alias_or_name, None, ctes.get(node.name), join)
        elif isinstance(node, exp.Subquery):
            yield Source(node.alias_or_name, None, node.this, join)


def passes_a_gate(event: Source, select: exp.Select, sources: list[Source], ctes: Mapping[str, exp.Query]) -> bool:
    """Whether each row of `event` that leaves `select` was matched to a gate row of the same firm and account."""
    if any(s.join is not None and s.join.side in ("RIGHT", "FULL") for s in sources):
        return False  # such a join lets rows through that match nothing
    account, partners = event_tables()[str(event.table)]
    gates = gates_for(str(event.table))
    for door in sources:
        after = sources.index(door) > sources.index(event)
        if door is event or (after and not door.keeps_only_matches):
            continue
        if event.join is not None and event.join.side == "LEFT" and not after:
            conditions = list(conjuncts(event.join.args.get("on")))
        elif event.keeps_only_matches or after:
            conditions = conditions_of(select, sources)
        else:
            continue
        same_account = any(
            is_column(one, event.alias, account) and comes_from_gate(other, door, "subject_id", ctes, gates)
            for one, other in equalities(conditions)
        )
        same_firm = any(
            comes_from_gate(one, door, "partner", ctes, gates) and names_the_firm(other, event, partners)
            for one, other in equalities(conditions)
        )
        if same_account and same_firm:
            return True
    return False


def conditions_of(select: exp.Select, sources: Iterable[Source]) -> list[exp.Expr]:
    """What holds for every row that leaves the select: WHERE, and ON of the joins that keep only matches."""
    where = select.args.get("where")
    found = list(conjuncts(where.this if where else None))
    for source in sources:
        if source.join is not None and source.keeps_only_matches:
            found += conjuncts(source.join.args.get("on"))
    return found


def conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    if isinstance(condition, exp.And):
        yield from conjuncts(condition.left)
        yield from conjuncts(condition.right)
    elif isinstance(condition, exp.Paren):
        yield from conjuncts(condition.this)
    elif condition is not None:
        yield condition


def equalities(conditions: Iterable[exp.Expr]) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """Both readings of every `a = b`."""
    for condition in conditions:
        if isinstance(condition, exp.EQ):
            yield condition.left, condition.right
            yield condition.right, condition.left


def is_column(node: exp.Expr, alias: str, name: str) -> bool:
    """A column counts only where it says whose it is."""
    return isinstance(node, exp.Column) and (node.table, node.name) == (alias, name)


def names_the_firm(node: exp.Expr, event: Source, partners: tuple[str, ...]) -> bool:
    if len(partners) == 1:
        return isinstance(node, exp.Literal) and node.is_string and node.name == partners[0]
    return is_column(node, event.alias, "partner")


def comes_from_gate(node: exp.Expr, door: Source, column: str, ctes: Mapping[str, exp.Query], gates: set[str]) -> bool:
    """Whether `node` is a column of `door` that is, through any CTEs, `column` of one of `gates`."""
    if not isinstance(node, exp.Column) or node.table != door.alias:
        return False
    origins = origins_of(door, node.name, ctes)
    return bool(origins) and all(table in gates and name == column for table, name in origins)


def origins_of(source: Source, name: str, ctes: Mapping[str, exp.Query]) -> Origins:
    """Table columns that `name` of a source is a plain copy of, in every branch; empty where that is not proven."""
    if source.table is not None:
        return frozenset({(source.table, name)})
    if source.query is None:
        return frozenset()
    found = [copied(branch, name, position, ctes) for branch, position in branches(source.query, name)]
    return frozenset().union(*found) if found and all(found) else frozenset()


def branches(query: exp.Query, name: str) -> Iterator[tuple[exp.Select, int]]:
    """The selects of a (union) query with the place of the column, which the first of them names."""
    selects = [query] if isinstance(query, exp.Select) else list(members(query))
    places = [n for n, e in enumerate(selects[0].selects) if e.alias_or_name == name] if selects else []
    for select in selects:
        yield select, places[0] if len(places) == 1 else -1


def members(query: exp.Expr) -> Iterator[exp.Select]:
    if isinstance(query, exp.Select):
        yield query
    elif isinstance(query, exp.Union):
        yield from members(query.left)
        yield from members(query.right)


def copied(select: exp.Select, name: str, position: int, ctes: Mapping[str, exp.Query]) -> Origins:
    sources = list(sources_of(select, ctes))
    if position < 0 or any(s.join is not None and s.join.side for s in sources):
        return frozenset()  # a star, or an outer join that may put a null in the copy's place
    expression = select.selects[position].unalias()
    if not isinstance(expression, exp.Column):
        return frozenset()
    owners = [s for s in sources if expression.table in ("", s.alias)]
    return origins_of(owners[0], expression.name, ctes) if len(owners) == 1 else frozenset()


def is_open(source: Source, select: exp.Select, ctes: Mapping[str, exp.Query]) -> bool:
    """Whether `select` reads people of a gate, itself or through CTEs, without saying of which day."""
    below = list(members(source.query)) if source.query is not None else []
    dated = source.table in GATES or any(is_open(s, one, ctes) for one in below for s in sources_of(one, ctes))
    return dated and not is_of_one_day(source, select) and not reads_only_the_day(source, select)


def is_of_one_day(source: Source, select: exp.Select) -> bool:
    where = select.args.get("where")
    joined = [c for j in select.args.get("joins") or [] for c in conjuncts(j.args.get("on"))]
    conditions = [*conjuncts(where.this if where else None), *joined]
    return any(is_column(one, source.alias, "as_of_on") for one, _ in equalities(conditions))


def reads_only_the_day(source: Source, select: exp.Select) -> bool:
    """Such as `select max(as_of_on) from gate`: nobody is in it."""
    names = {c.name for c in select.find_all(exp.Column) if c.table in ("", source.alias)}
    return names == {"as_of_on"} and not any(e.is_star for e in select.selects)


def hands_the_day_on(select: exp.Select) -> bool:
    """Whether `select` is part of a query that reads it again and returns the day for it to fix."""
    days = [e for e in select.selects if isinstance(e, exp.Column) and e.name == "as_of_on"]
    return isinstance(select.parent, exp.CTE | exp.Subquery) and len(days) == 1


# ── the walker over the asset graph ──────────────────────────────────────────────────────────────────────────────────


def edges_of(defs: dg.Definitions) -> dict[str, set[str]]:
    """Table → tables it is declared to be made from."""
    graph = defs.resolve_asset_graph()
    return {
        ".".join(node.key.path): {".".join(parent.path) for parent in node.parent_keys} for node in graph.asset_nodes
    }


def graph_faults(edges: Mapping[str, set[str]]) -> list[str]:
    """Every dependency that goes round a gate, or through the gate of another purpose."""
    faults = []
    for table, parents in sorted(edges.items()):
        stage = table.split(".")[0]
        if stage in ("raw", "staging"):
            continue
        faults += [f"{table} depends on {p}" for p in sorted(parents) if is_forbidden(p)]
        gates = parents & GATES.keys()
        if (events := sorted(parents & event_tables().keys())) and not gates:
            faults.append(f"{table} depends on {', '.join(events)} and on no gate")
        elif (sensitive := sorted(parents & sensitive_feeds())) and SENSITIVE_GATE not in gates:
            faults.append(f"{table} depends on {', '.join(sensitive)} and not on {SENSITIVE_GATE}")
        may_be_sensitive = stage == "segments" or table == SUITABILITY
        fitting = {PURPOSES.get(stage), "sensitive_profiling" if may_be_sensitive else None}
        wrong = sorted(g for g in gates if GATES[g] not in fitting)
        faults += [f"{table} passes {g}, but stage {stage} is for {PURPOSES.get(stage)}" for g in wrong]
    return faults


def tables_named_in(path: Path) -> set[str]:
    """``raw.…`` and ``staging.…`` in the strings of a module; a name put together at run time shows as ``staging.``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return {name for text in texts for name in re.findall(r"\b(?:raw|staging)\.\w*", text)}


# ── the walker over what sensitive data reach ────────────────────────────────────────────────────────────────────────


def reached(edges: Mapping[str, set[str]], known: Mapping[str, SqlModel]) -> dict[str, str]:
    """Table outside staging → how sensitive data get into it. A SQL model that reads the income to leave people out,
    and computes no column of it, is not reached; of a Python asset nobody can tell, so it is."""
    found: dict[str, str] = {}
    for table in graphlib.TopologicalSorter(edges).static_order():
        parents = edges.get(table, set())
        if table.split(".")[0] in ("raw", "staging", "published"):
            continue
        ways = [f"reads {p}" for p in sorted(parents & (sensitive_feeds() | found.keys()))]
        if table in known:
            ways += [f"{name} comes from {t}.{c}" for name, t, c in income_columns(known[table])]
        elif SENSITIVE_GATE in parents:
            ways.append(f"reads {SENSITIVE_GATE}")
        if ways:
            found[table] = "; ".join(ways)
    return found


def income_columns(model: SqlModel) -> list[tuple[str, str, str]]:
    """(column of the model, table, column): where a sensitive column of staging ends."""
    schema = {t: tuple(c.name for c in models()[t].columns) for t in model.reads if t in models()}
    origins = upstream_columns(model, schema=schema)
    return [(name, t, c) for name, pairs in origins.items() for t, c in pairs if c in sensitive_columns().get(t, ())]


def leak_faults(edges: Mapping[str, set[str]], known: Mapping[str, SqlModel]) -> list[str]:
    """Every table that holds sensitive data and may not."""
    faults = []
    for table, way in reached(edges, known).items():
        if not table.startswith("segments."):
            faults.append(f"{table} is made of sensitive data ({way}), which stay in segments")
        elif is_published(table):
            faults.append(
                f"{table} is made of sensitive data ({way}) and would be published: name it in SENSITIVE_TABLES"
            )
    return faults


# ── the proofs ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    return edges_of(build_defs())


@pytest.mark.parametrize("table", [t for t in models() if not t.startswith("staging.")])
def test_no_sql_model_reaches_a_person_but_through_a_gate(table: str) -> None:
    assert sql_faults(models()[table]) == []


def test_the_models_proven_are_those_that_read_people_and_not_none() -> None:
    """If this fails because models went away, look whether the proof above still proves anything."""
    reading = {t for t, m in models().items() if not t.startswith("staging.") and m.reads & event_tables().keys()}
    assert {"segments.person_features", "recommenders.product_interactions", "evaluation.experiment_outcomes"} < reading


def test_no_asset_depends_on_a_person_but_through_the_gate_of_its_stages_purpose(edges: dict[str, set[str]]) -> None:
    assert graph_faults(edges) == []


def test_every_stage_that_serves_marketing_passes_its_gate_somewhere(edges: dict[str, set[str]]) -> None:
    passed = {(t.split(".")[0], GATES[p]) for t, parents in edges.items() for p in parents & GATES.keys()}
    own = {(s, p) for s, p in passed if s in PURPOSES and p != "sensitive_profiling"}
    assert own == set(PURPOSES.items())


def test_sensitive_data_reach_the_tables_named_for_them_and_no_other(edges: dict[str, set[str]]) -> None:
    assert leak_faults(edges, models()) == []
    assert reached(edges, models()).keys() == set(SENSITIVE_TABLES)
    assert SENSITIVE_GATE in edges[SUITABILITY]


def test_no_gate_but_the_sensitive_one_hands_out_a_sensitive_column() -> None:
    assert sensitive_columns().keys() & GATES.keys() == {SENSITIVE_GATE}
    assert not sensitive_columns().keys() & BY_PERSON


@pytest.mark.parametrize("stage", [*PURPOSES, "published"])
def test_the_python_of_a_stage_names_no_table_it_may_not_read(stage: str, edges: dict[str, set[str]]) -> None:
    """In strings, so also in SQL inside Python: only the gate of the purpose, and what its assets declare."""
    package = Path(xmkt_assets.__file__).parent
    assets = package / "assets"
    folders = [*(package / stage).rglob("*.py"), *(assets / stage).glob("*.py")]
    files = [assets / f"{stage}.py", package / f"{stage}.py", *folders]
    declared = {p for t, parents in edges.items() if t.startswith(f"{stage}.") for p in parents}
    named = {name for path in files if path.exists() for name in tables_named_in(path)}
    assert named <= declared - event_tables().keys() - CLOSED


def test_what_is_published_holds_no_table_of_accounts_or_events() -> None:
    assert not {"raw", "staging"} & set(SCHEMAS)
    assert set(ALSO) <= {"raw.file_ledger", "staging.courses", "staging.products"}


def test_every_gate_is_made_of_allowed_decisions_of_its_own_purpose() -> None:
    for gate, purpose in GATES.items():
        assert models()[gate].reads == {"staging.consent_decisions", "staging.identities", "staging.people"}
        conditions = list(conjuncts(models()[gate].ast.args["where"].this))
        assert any(
            is_column(one, "d", "purpose") and isinstance(other, exp.Literal) and other.name == purpose
            for one, other in equalities(conditions)
        )
        assert any(is_column(c, "d", "is_allowed") for c in conditions)


# ── the walkers fail where they should ───────────────────────────────────────────────────────────────────────────────

GATE = "inner join staging.gate_profiling as g on"
SAME = "g.partner = 'course_platform' and g.subject_id = v.user_id"
TODAY = "g.as_of_on = cast($start as date)"
NO_GATE = "reads staging.course_views in a select that inner joins no gate on (partner, account)"


def rogue(body: str, *, table: str = "segments.rogue") -> SqlModel:
    """A model whose last FROM clause, after any CTEs, is `body`."""
    ctes, _, clause = body.rpartition(";;")
    sql = f"{ctes} select v.user_id, v.dwell_seconds {clause}"
    parse_select(sql, path="rogue")
    schema, name = table.split(".")
    return SqlModel(schema, name, f"dbt_like_sql/{schema}/{name}.sql", sql)


@pytest.mark.parametrize(
    "body",
    [
        "from staging.course_views as v",
        f"from staging.course_views as v left join staging.gate_profiling as g on {SAME} and {TODAY}",
        f"from staging.course_views as v full join staging.gate_profiling as g on {SAME} and {TODAY}",
        f"from staging.gate_profiling as g right join staging.course_views as v on {SAME} and {TODAY}",
        f"from staging.course_views as v {GATE} g.subject_id = v.user_id and {TODAY}",
        f"from staging.course_views as v {GATE} g.partner = 'insurer' and g.subject_id = v.user_id and {TODAY}",
        f"from staging.course_views as v {GATE} g.partner = 'course_platform' and {TODAY}",
        f"from staging.course_views as v {GATE} g.partner = 'course_platform' and g.person_id = v.user_id and {TODAY}",
        f"from staging.course_views as v {GATE} (({SAME}) or v.dwell_seconds > 9) and {TODAY}",
        f"from staging.course_views as v {GATE} not ({SAME}) and {TODAY}",
        f"from staging.course_views as v {GATE} {SAME.replace('g.subject_id =', 'g.subject_id <>')} and {TODAY}",
        f"from staging.course_views as v cross join staging.gate_profiling as g where {TODAY}",
        "from staging.course_views as v where v.user_id in (select g.subject_id from staging.gate_profiling as g"
        f" where {TODAY})",
        "with views as (select user_id, dwell_seconds from staging.course_views) ;; from views as v"
        f" {GATE} {SAME} and {TODAY}",
        "with g as (select o.user_id as subject_id, 'course_platform' as partner from segments.other as o) ;;"
        f" from staging.course_views as v inner join g on {SAME}",
        f"with g as (select g.partner, g.subject_id from staging.gate_profiling as g where {TODAY} union all"
        f" select o.partner, o.subject_id from segments.other as o) ;;"
        f" from staging.course_views as v inner join g on {SAME}",
        "with g as (select g.partner, upper(g.subject_id) as subject_id from staging.gate_profiling as g"
        f" where {TODAY}) ;; from staging.course_views as v inner join g on {SAME}",
        f"from staging.course_views as v {GATE} {SAME} and {TODAY}"
        " left join segments.other as o on o.k = v.user_id and o.n > (select count(*) from staging.course_views)",
    ],
)
def test_a_select_that_goes_round_the_gate_is_found(body: str) -> None:
    assert f"segments.rogue {NO_GATE}" in sql_faults(rogue(body))


@pytest.mark.parametrize(
    "body",
    [
        f"from staging.course_views as v {GATE} {SAME} and {TODAY}",
        f"from staging.course_views as v {GATE} g.subject_id = v.user_id"
        f" where 'course_platform' = g.partner and ({TODAY} and v.dwell_seconds > 9)",
        f"from staging.gate_profiling as g left join staging.course_views as v on {SAME} where {TODAY}",
        "with day as (select p.partner as firm, p.subject_id as account from staging.gate_profiling as p"
        " where p.as_of_on = cast($start as date)), again as (select firm, account from day) ;;"
        " from staging.course_views as v inner join again as a on a.firm = 'course_platform' and v.user_id = a.account",
        f"from staging.course_views as v {GATE} {SAME} and {TODAY} left join segments.other as o on o.k = v.user_id",
        "with g as (select p.partner, p.subject_id from staging.gate_profiling as p where p.as_of_on = $end"
        " union all select q.partner, q.subject_id from staging.gate_profiling as q where q.as_of_on = $start) ;;"
        f" from staging.course_views as v inner join g on {SAME}",
    ],
)
def test_a_select_that_passes_the_gate_is_let_through(body: str) -> None:
    assert sql_faults(rogue(body)) == []


def test_a_feed_of_both_firms_must_be_joined_by_its_own_partner_column() -> None:
    gate = f"{GATE} g.subject_id = v.subject_id and {TODAY} and"
    missed = "in a select that inner joins no gate on (partner, account)"
    either = sql_faults(rogue(f"from staging.campaign_events as v {gate} g.partner = 'insurer'"))
    assert either == [f"segments.rogue reads staging.campaign_events {missed}"]
    assert sql_faults(rogue(f"from staging.campaign_events as v {gate} g.partner = v.partner")) == []


def test_a_gate_of_every_day_is_found() -> None:
    """Somebody who withdrew yesterday still stands in the gate of the day before."""
    found = sql_faults(rogue(f"from staging.course_views as v {GATE} {SAME}"))
    assert found == ["segments.rogue reads staging.gate_profiling of every day: as_of_on is not fixed by an equality"]
    since = sql_faults(rogue(f"from staging.course_views as v {GATE} {SAME} and g.as_of_on >= $start"))
    assert since == found


def test_a_day_left_open_in_a_cte_must_be_fixed_by_its_reader() -> None:
    days = "with g as (select p.as_of_on, p.partner, p.subject_id from staging.gate_profiling as p) ;;"
    joined = f"{days} from staging.course_views as v inner join g on {SAME}"
    assert sql_faults(rogue(f"{joined} and {TODAY}")) == []
    assert sql_faults(rogue(joined)) == ["segments.rogue reads g of every day: as_of_on is not fixed by an equality"]
    hidden = joined.replace("select p.as_of_on, p.partner", "select p.partner")
    assert any(f.startswith("segments.rogue reads staging.gate_profiling of every") for f in sql_faults(rogue(hidden)))


def test_the_newest_day_of_a_gate_may_be_asked_of_all_days_because_nobody_is_in_it() -> None:
    newest = "inner join (select max(as_of_on) as as_of_on from staging.gate_profiling) as n on n.as_of_on = g.as_of_on"
    assert sql_faults(rogue(f"from staging.course_views as v {GATE} {SAME} {newest}")) == []
    someone = newest.replace(" from staging", ", max(subject_id) as s from staging")
    assert len(sql_faults(rogue(f"from staging.course_views as v {GATE} {SAME} {someone}"))) == 1


@pytest.mark.parametrize("table", [*sorted(CLOSED), "raw.users", "raw.course_views", "raw.quarantine"])
def test_a_closed_table_is_found_also_behind_a_gate_and_deep_inside(table: str) -> None:
    body = f"from staging.course_views as v {GATE} {SAME} and {TODAY} where exists (select 1 from {table} as x)"
    assert sql_faults(rogue(body)) == [f"segments.rogue reads {table}"]


def test_two_ctes_of_one_name_are_refused_because_nobody_can_tell_them_apart() -> None:
    inner = "(with g as (select 1 as a) select a from g)"
    found = sql_faults(rogue(f"with g as (select 2 as a) ;; from segments.v as v where v.user_id in {inner}"))
    assert found == ["segments.rogue names two CTEs alike, so that nobody can tell which is read"]


def planted(edges: Mapping[str, set[str]], *, deps: list[str], table: str = "campaigns.rogue") -> dict[str, set[str]]:
    """The whole graph with one more Python asset."""

    @dg.asset(key=table.split("."), deps=[d.split(".") for d in deps])
    def asset() -> None: ...

    return {**edges, table: edges_of(dg.Definitions([asset]))[table]}


@pytest.mark.parametrize(
    ("deps", "wanted"),
    [
        (["staging.people"], ["campaigns.rogue depends on staging.people"]),
        (["raw.users", "staging.gate_joint_marketing"], ["campaigns.rogue depends on raw.users"]),
        (["staging.policies"], ["campaigns.rogue depends on staging.policies and on no gate"]),
        (
            ["staging.claims", "staging.gate_joint_marketing"],
            [f"campaigns.rogue depends on staging.claims and not on {SENSITIVE_GATE}"],
        ),
        (
            ["staging.claims", SENSITIVE_GATE],
            [f"campaigns.rogue passes {SENSITIVE_GATE}, but stage campaigns is for joint_marketing"],
        ),
        (["staging.consent_ledger"], ["campaigns.rogue depends on staging.consent_ledger"]),
        (
            ["staging.gate_measurement"],
            ["campaigns.rogue passes staging.gate_measurement, but stage campaigns is for joint_marketing"],
        ),
        (["staging.policies", "staging.gate_joint_marketing", "staging.consent_decisions"], []),
    ],
)
def test_an_asset_planted_into_the_graph_is_judged_by_its_dependencies(
    deps: list[str], wanted: list[str], edges: dict[str, set[str]]
) -> None:
    assert graph_faults(planted(edges, deps=deps)) == wanted


def test_a_stage_without_a_purpose_may_pass_no_gate(edges: dict[str, set[str]]) -> None:
    found = graph_faults(planted(edges, table="text.rogue", deps=["staging.gate_profiling"]))
    assert found == ["text.rogue passes staging.gate_profiling, but stage text is for None"]


def test_a_table_named_in_sql_inside_python_is_seen_also_when_its_name_is_put_together(tmp_path: Path) -> None:
    path = tmp_path / "rogue.py"
    path.write_text(
        'def f(w, t):\n    """Docs."""\n    w.read("select * from staging.people")\n    w.read(f"from raw.{t}")\n'
    )
    assert tables_named_in(path) == {"staging.people", "raw."}


# ── rogue assets, planted into the whole platform ────────────────────────────────────────────────────────────────────


class Verdict(NamedTuple):
    """What each walker says of the whole platform."""

    sql: list[str]
    graph: list[str]
    leaks: list[str]


def verdict(edges: Mapping[str, set[str]], *rogues: SqlModel) -> Verdict:
    """The platform with `rogues` among its models (in place of one of the same name)."""
    known = {**models(), **{r.table: r for r in rogues}}
    graph = {**edges, **{r.table: set(r.reads) for r in rogues}}
    told = [fault for table, model in known.items() if not table.startswith("staging.") for fault in sql_faults(model)]
    return Verdict(told, graph_faults(graph), leak_faults(graph, known))


def rogue_model(sql: str, *, table: str = "segments.rogue") -> SqlModel:
    schema, name = table.split(".")
    return SqlModel(schema, name, f"dbt_like_sql/{schema}/{name}.sql", sql)


def select(*columns: str) -> str:
    """A SELECT whose columns have a meaning, as every model's must."""
    return "select " + ", ".join(f"{column} /* Meaning */" for column in columns) + " "


def test_the_platform_as_it_stands_is_clean(edges: dict[str, set[str]]) -> None:
    assert verdict(edges) == Verdict([], [], [])


def test_a_rogue_model_that_reads_orders_round_the_gate_is_named(edges: dict[str, set[str]]) -> None:
    found = verdict(edges, rogue_model(select("o.user_id", "o.paid_fen") + "from staging.course_orders as o"))
    assert found == Verdict(
        ["segments.rogue reads staging.course_orders in a select that inner joins no gate on (partner, account)"],
        ["segments.rogue depends on staging.course_orders and on no gate"],
        [],
    )


def test_a_rogue_python_asset_that_asks_for_people_is_named(edges: dict[str, set[str]]) -> None:
    found = verdict(planted(edges, deps=["staging.people", "segments.person_profile"], table="recommenders.rogue"))
    assert found == Verdict([], ["recommenders.rogue depends on staging.people"], [])


def test_a_rogue_model_that_reads_a_gate_and_joins_it_on_nothing_is_named(edges: dict[str, set[str]]) -> None:
    """In the graph it looks like any other: only the walk over its joins tells."""
    body = "from staging.course_orders as o cross join staging.gate_profiling as g where g.as_of_on = $start"
    found = verdict(edges, rogue_model(select("o.user_id", "g.as_of_on") + body))
    no_join = "in a select that inner joins no gate on (partner, account)"
    assert found == Verdict([f"segments.rogue reads staging.course_orders {no_join}"], [], [])


PASSED = "inner join {} as g on g.partner = 'insurer' and g.subject_id = c.customer_id and g.as_of_on = $start"


def test_a_rogue_model_that_counts_claims_under_the_wrong_consent_is_named(edges: dict[str, set[str]]) -> None:
    door = PASSED.format("staging.gate_profiling")
    sql = select("g.person_id", "count(*) as n") + f"from staging.claims as c {door} group by g.person_id"
    found = verdict(edges, rogue_model(sql, table="recommenders.rogue"))
    no_join = f"in a select that inner joins not {SENSITIVE_GATE} on (partner, account)"
    assert found == Verdict(
        [f"recommenders.rogue reads staging.claims {no_join}"],
        [f"recommenders.rogue depends on staging.claims and not on {SENSITIVE_GATE}"],
        ["recommenders.rogue is made of sensitive data (reads staging.claims), which stay in segments"],
    )


def test_a_rogue_table_of_claims_under_the_right_consent_may_still_not_be_published(edges: dict[str, set[str]]) -> None:
    sql = select("g.person_id", "max(c.claimed_fen) as n") + f"from staging.claims as c {PASSED.format(SENSITIVE_GATE)}"
    (leak,) = verdict(edges, rogue_model(sql)).leaks
    way = "reads staging.claims; n comes from staging.claims.claimed_fen"
    assert leak.startswith(f"segments.rogue is made of sensitive data ({way}) and would be published")


def test_a_rogue_column_of_income_in_what_recommenders_read_is_named(edges: dict[str, set[str]]) -> None:
    """Leaving people out by income is allowed there; handing the income on, or anything made of it, is not."""
    body = models()[SUITABILITY].sql
    leaking = body.replace(
        "p.product_id as item_id", "person.annual_income_fen / 2 as half, -- Leak\n p.product_id as item_id"
    )
    assert leaking != body
    found = verdict(edges, rogue_model(leaking, table=SUITABILITY))
    way = f"half comes from {SENSITIVE_GATE}.annual_income_fen"
    assert found.leaks[0] == f"{SUITABILITY} is made of sensitive data ({way}), which stay in segments"
    # And with it whatever reads that table, down to the lists.
    assert {leak.split()[0] for leak in found.leaks} >= {
        "recommenders.product_recommendations",
        "campaigns.campaign_list",
        "evaluation.experiment_assignments",
    }


def test_a_rogue_python_asset_that_ranks_people_by_claim_risk_is_named(edges: dict[str, set[str]]) -> None:
    found = verdict(planted(edges, deps=["segments.claim_risk", "segments.person_profile"]))
    wanted = "campaigns.rogue is made of sensitive data (reads segments.claim_risk), which stay in segments"
    assert found == Verdict([], [], [wanted])


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return finished_platform(tmp_path_factory)


def tables_with_people(platform: Platform, *stages: str) -> list[str]:
    with platform.warehouse.session() as session:
        rows = session.read(
            "select distinct schema_name || '.' || table_name as t from duckdb_columns() "
            "where database_name = 'lake' and column_name = 'person_id' order by t"
        )
    return [t for t in rows["t"] if t.split(".")[0] in stages]


def test_every_person_in_every_table_of_segments_and_recommenders_passed_the_profiling_gate_that_day(
    platform: Platform,
) -> None:
    tables = tables_with_people(platform, "segments", "recommenders")
    assert {"segments.person_profile", "recommenders.course_recommendations"} < set(tables)
    for table in tables:
        strangers = platform.read(
            f"select distinct t.person_id from {table} as t anti join staging.gate_profiling as g "
            "on g.person_id = t.person_id and g.as_of_on = t.as_of_on"
        )
        assert strangers.is_empty(), table


def test_everybody_in_a_table_of_sensitive_data_passed_the_sensitive_gate_that_day(platform: Platform) -> None:
    with_people = set(tables_with_people(platform, "segments")) & set(SENSITIVE_TABLES)
    assert {"segments.risk_examples", "segments.claim_risk", "segments.sensitive_profile"} <= with_people
    for table in sorted(with_people):  # the others hold counts and rates only
        people = platform.read(f"select distinct person_id, as_of_on from {table}")
        strangers = people.join(
            platform.read(f"select person_id, as_of_on from {SENSITIVE_GATE}"), on=["person_id", "as_of_on"], how="anti"
        )
        assert strangers.is_empty(), table
    counts = [
        platform.read(f"select count(*) as n from segments.{table}")["n"][0]
        for table in ("sensitive_profile", "person_profile")
    ]
    assert 50 < counts[0] < counts[1] - 10


def test_there_are_people_with_data_whom_the_gate_keeps_out(platform: Platform) -> None:
    """Else the test above would pass with no gate at all."""
    kept_out = platform.read(
        "select distinct i.person_id from staging.identities as i inner join staging.course_views as v "
        "on i.partner = 'course_platform' and v.user_id = i.subject_id inner join staging.consent_decisions as d "
        "on d.person_id = i.person_id and d.purpose = 'profiling' and not d.is_allowed and d.as_of_on = $day",
        day=AS_OF,
    )
    assert kept_out.height > 5
    profiled = platform.read("select count(*) as n from segments.person_profile")
    assert profiled["n"][0] > 100


def test_everybody_on_the_campaign_list_passed_the_joint_marketing_gate_under_the_consent_and_accounts_named(
    platform: Platform,
) -> None:
    listed = platform.read("select * from campaigns.campaign_list where campaign_id = $id", id=CAMPAIGN)
    assert listed.height > 100
    gate = platform.read("select * from staging.gate_joint_marketing where as_of_on = $day", day=AS_OF)
    assert listed["as_of_on"].unique().to_list() == [AS_OF]
    assert listed.join(gate, on=["person_id", "consent_id"], how="anti").is_empty()
    for partner, account in (("course_platform", "user_id"), ("insurer", "customer_id")):
        of_firm = gate.filter(partner=partner).select("person_id", pl.col("subject_id").alias(account))
        named = listed.filter(listed[account].is_not_null())
        assert named.height > 50
        assert named.join(of_firm, on=["person_id", account], how="anti").is_empty()


def test_who_refused_joint_marketing_is_left_out_by_the_rule_of_consent(platform: Platform) -> None:
    refused = platform.read(
        "select person_id from staging.consent_decisions "
        "where purpose = 'joint_marketing' and not is_allowed and as_of_on = $day",
        day=AS_OF,
    )
    excluded = platform.read("select person_id, rule from campaigns.exclusions where campaign_id = $id", id=CAMPAIGN)
    assert refused.height > 10
    assert refused.join(excluded, on="person_id", how="left")["rule"].unique().to_list() == ["consent"]


# ── a withdrawal, delivered ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_withdrawal_empties_everything_of_the_person_in_the_run_that_brings_it(
    platform: Platform, tmp_path: Path
) -> None:
    """Two listed people withdraw on the newest day: one from joint marketing alone, one from everything."""
    shutil.copytree(platform.home, tmp_path / "home")
    copy = Platform(tmp_path / "home")
    listed = copy.read(
        "select person_id, user_id from campaigns.campaign_list where user_id is not null and arm = 'treatment' "
        "order by person_id limit 2"
    )
    (one, user), (all_of_it, other) = listed.rows()
    said = [(user, "joint_marketing"), *((other, purpose) for purpose in GATES.values())]
    at = datetime.combine(AS_OF, time(23, 30)).isoformat()
    lines = [f"w{n},{u},{purpose},,withdrawn,2026-2,app,{at}Z," for n, (u, purpose) in enumerate(said)]
    header = "consent_id,subject_id,purpose,recipient,decision,notice_version,source,decided_at,expires_on"
    copy.deliver("consents", AS_OF, "\n".join([header, *lines]) + "\n", name="late.csv")
    load = ("raw.consents", "staging.consents", "staging.consent_ledger", "staging.consent_refusals")
    copy.run(LOAD, partition=AS_OF.isoformat(), only=[*load, "staging.withdrawals_applied"])

    stages = tables_with_people(copy, "segments", "recommenders", "campaigns")
    found = {t: {p for (p,) in copy.read(f"select distinct person_id from {t}").rows()} for t in stages}
    assert {t for t, people in found.items() if all_of_it in people} == {"campaigns.exclusions"}
    assert one in found["segments.person_profile"] & found["recommenders.course_recommendations"]
    assert one not in found["campaigns.campaign_list"]
    rules = copy.read("select person_id, rule from campaigns.exclusions where rule = 'consent withdrawn' order by 1")
    assert rules.rows() == [(one, "consent withdrawn"), (all_of_it, "consent withdrawn")]
    count = "select (select count(*) from campaigns.campaign_list) + (select count(*) from campaigns.exclusions) as n"
    assert copy.read(count).item() == platform.read(count).item()
    files = [p.home / "exports" / CAMPAIGN / "course_platform.csv" for p in (platform, copy)]
    before, after = (path.read_text(encoding="utf-8-sig").splitlines() for path in files)
    gone = [line for line in before if line not in after]
    assert set(after) < set(before)
    assert sorted(line.split(",")[0] for line in gone) == sorted(f'"{account}"' for account in (user, other))
    book = copy.read("select table_name, people from staging.withdrawals_applied").rows()
    assert ("campaigns.campaign_list", 2) in book
    assert ("segments.person_features", 1) in book
    # The gates of that day, built again, agree with what was done to them.
    gate = copy.read("select * from staging.gate_profiling order by all")
    gates = [*GATES, "staging.consent_decisions", "staging.do_not_contact"]
    copy.run(RETRAIN, partition=AS_OF.isoformat(), only=gates)
    assert copy.read("select * from staging.gate_profiling order by all").equals(gate)
    refused = copy.read("select purpose, reason from staging.consent_decisions where person_id = $p", p=all_of_it)
    assert set(refused.rows()) == {(purpose, "withdrawn") for purpose in GATES.values()}
