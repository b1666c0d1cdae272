"""The sharing agreement's keys and identifiers as rows, for SQL to join accounts by. Pure; what an agreement says is
read by ``agreement``, what follows for two accounts is said in ``dbt_like_sql/staging/identity_links.sql``.
"""

from typing import Final

import polars as pl

from xmkt_assets.agreement import Agreement

KEYS_TABLE: Final = "staging.hash_keys"
KEYS_DESCRIPTION: Final = (
    "One row per key under which the firms hash identifiers, from the sharing agreement in force, in the order in "
    "which they were agreed. The keys themselves are the firms' alone."
)
KEYS_SCHEMA: Final[dict[str, type[pl.DataType]]] = {
    "version": pl.String,
    "position": pl.Int64,
    "agreed_on": pl.Date,
    "retired_on": pl.Date,
    "fingerprint": pl.String,
}
KEYS_COLUMNS: Final[dict[str, str]] = {
    "version": "Version, as identifiers name it",
    "position": "Place in the order, from 1; 1 is the key of phone_hash and email_hash in users and customers",
    "agreed_on": "Day on which the firms agreed on it",
    "retired_on": "Last day on which it makes new links; empty = in use",
    "fingerprint": "What both firms compare to know that they hold the same key",
}
RULES_TABLE: Final = "staging.identifier_rules"
RULES_DESCRIPTION: Final = (
    "One row per kind of identifier, from the sharing agreement in force, in the order of precedence: what it proves "
    "of two accounts that carry it."
)
RULES_SCHEMA: Final[dict[str, type[pl.DataType]]] = {
    "kind": pl.String,
    "precedence": pl.Int64,
    "is_proof": pl.Boolean,
    "at_most_accounts": pl.Int64,
    "birth_year_tolerance_years": pl.Int64,
    "meaning": pl.String,
}
RULES_COLUMNS: Final[dict[str, str]] = {
    "kind": "Kind, as identifiers name it",
    "precedence": "Place in the order, from 1; where two kinds contradict each other the smaller place wins",
    "is_proof": "Whether it is one person's alone, and joins accounts of one firm too",
    "at_most_accounts": "Of how many accounts of one firm a hash may be; on more it says nothing",
    "birth_year_tolerance_years": "By how much birth years may differ without contradicting a hint; one for all kinds",
    "meaning": "What is hashed, and how it is written before",
}


def hash_key_rows(agreement: Agreement) -> pl.DataFrame:
    """The rows of ``staging.hash_keys``."""
    rows = [
        (key.version, position, key.agreed_on, key.retired_on, key.fingerprint)
        for position, key in enumerate(agreement.hash_keys, start=1)
    ]
    return pl.DataFrame(rows, schema=KEYS_SCHEMA, orient="row")


def identifier_rule_rows(agreement: Agreement) -> pl.DataFrame:
    """The rows of ``staging.identifier_rules``."""
    years = agreement.birth_year_tolerance_years
    rows = [
        (rule.kind, place, rule.is_proof, rule.at_most_accounts, years, rule.meaning)
        for place, rule in enumerate(agreement.identifiers, start=1)
    ]
    return pl.DataFrame(rows, schema=RULES_SCHEMA, orient="row")
