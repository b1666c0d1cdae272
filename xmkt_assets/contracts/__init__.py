"""Contracts: what each partner feed must look like and what it may be used for. One YAML file per feed.

To add a feed, add ``<feed>.yaml`` here: its raw asset, checks, quarantine and ledger follow; then run
``python -m xmkt_assets.contracts --docs``. To change one, change the file, move its version number (major: old files
no longer do; minor: they do; patch: words) and say in ``history`` how the version before it differed: old drops still
load. What is done with the rows is not said here (``raw/`` loads them, ``dbt_like_sql/staging/`` cleans them).

The terms are those of the Open Data Contract Standard (ODCS) v3.1.0 where they fit: id, version, status, team,
slaProperties (retention, frequency), schema, logicalType, primaryKey, required, classification, validValues. For
reading's sake we write some of them flatter: ``schema`` lists the columns of the one table directly, ``description``
is one sentence, and minimum, maximum, pattern and validValues stand at the column, not under logicalTypeOptions or
quality. Terms of our own would be customProperties there: partners, delivery, eventTime, versionBy, optional, purposes,
noticeVersions, sharingMode, maxRefusedShare, undeclaredColumns, drift, mixDrift, history; at a column unit,
classificationReason, holdsFreeText. ``python -m xmkt_assets.contracts --json FEED`` prints a document of the standard.
"""

from functools import cache
from pathlib import Path
from typing import Final

from xmkt_assets.contracts.model import (
    DUCKDB_TYPES,
    IN_WORDS,
    PARTNERS,
    PURPOSES,
    SHARING_IN_WORDS,
    Classification,
    Contract,
    ContractColumn,
    Delivery,
    FormerColumn,
    FormerVersion,
    SharingMode,
)
from xmkt_assets.contracts.yaml_file import ContractError, read_contract

__all__ = [
    "DUCKDB_TYPES",
    "FOLDER",
    "IN_WORDS",
    "PARTNERS",
    "PURPOSES",
    "SHARING_IN_WORDS",
    "Classification",
    "Contract",
    "ContractColumn",
    "ContractError",
    "Delivery",
    "FormerColumn",
    "FormerVersion",
    "SharingMode",
    "contracts",
    "read_contract",
]

FOLDER: Final = Path(__file__).parent


@cache
def contracts() -> dict[str, Contract]:
    """Every contract by feed name, sorted."""
    return {c.feed: c for c in (read_contract(p) for p in sorted(FOLDER.glob("*.yaml")))}
