"""Who is whom, from rows written by hand: raw rows through every SQL model of identity, as the platform runs them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import duckdb
import polars as pl

from xmkt_assets.agreement import Agreement, read_agreement
from xmkt_assets.contracts import contracts
from xmkt_assets.identity_terms import hash_key_rows, identifier_rule_rows
from xmkt_assets_tests.sql_helper import read_model

KINDS = {
    "string": pl.String,
    "integer": pl.Int64,
    "number": pl.Float64,
    "boolean": pl.Boolean,
    "date": pl.Date,
    "timestamp": pl.Datetime("us"),
}
Row = Mapping[str, object]
MODELS = ("users", "customers", "identifiers", "identity_links", "identities", "identity_conflicts", "people")


def raw_rows(feed: str, rows: Sequence[Row], *, day: date) -> pl.DataFrame:
    """Rows of ``raw.<feed>`` with the contract's columns and types; what is not given is empty."""
    contract = contracts()[feed]
    columns = {"partner": pl.String, "dt": pl.Date, **{c.name: KINDS[c.logical_type] for c in contract.columns}}
    own = {"partner": contract.partners[0], "dt": day}
    return pl.DataFrame([{**own, **row} for row in rows], schema=columns)


def retiring(**days: date) -> Agreement:
    """The packaged agreement with keys retired: version → last day."""
    agreement = read_agreement()
    keys = [replace(key, retired_on=days.get(key.version)) for key in agreement.hash_keys]
    return replace(agreement, hash_keys=tuple(keys))


def identity_tables(
    users: Sequence[Row],
    customers: Sequence[Row],
    identifiers: Sequence[Row] = (),
    *,
    day: date,
    agreement: Agreement | None = None,
    until: str = "people",
) -> dict[str, pl.DataFrame]:
    """The tables of identity by name without schema, up to `until`."""
    terms = agreement or read_agreement()
    tables = {
        "raw.users": raw_rows("users", users, day=day),
        "raw.customers": raw_rows("customers", customers, day=day),
        "raw.identifiers": raw_rows("identifiers", identifiers, day=day),
        "staging.hash_keys": hash_key_rows(terms),
        "staging.identifier_rules": identifier_rule_rows(terms),
    }
    wanted = MODELS[: MODELS.index(until) + 1]
    with duckdb.connect(config={"threads": "1"}) as con:  # one for all: a test runs these models many times
        con.execute("create schema raw; create schema staging")
        for name, rows in tables.items():
            con.register("given", rows)
            con.execute(f"create table {name} as select * from given")
        for name in wanted:
            con.execute(f"create table staging.{name} as {read_model(f'staging.{name}').sql}")
            order = ", ".join(read_model(f"staging.{name}").grain)
            tables[f"staging.{name}"] = con.sql(f"select * from staging.{name} order by {order}").pl()
    return {name.removeprefix("staging."): rows for name, rows in tables.items()}
