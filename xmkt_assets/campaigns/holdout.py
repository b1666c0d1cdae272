"""Who is held out: a salted hash of the person, and nothing else.

Both firms can recompute it from the person's id and the salt. The ranking never reads it: no function that scores
or orders people takes the arm as an argument.
"""

import hashlib
from typing import Final

import polars as pl

_HEX_DIGITS: Final = 13  # 52 bits: every such integer is exact in a double, so the share is the same everywhere


def hash_share(person_id: str, *, salt: str) -> float:
    """Number in [0, 1), uniform over people: first 13 hex digits of SHA-256 of ``salt|person_id``, over 16^13."""
    digest = hashlib.sha256(f"{salt}|{person_id}".encode()).hexdigest()
    return int(digest[:_HEX_DIGITS], 16) / 16**_HEX_DIGITS


def arms(person_ids: pl.Series, *, holdout_share: float, salt: str) -> pl.Series:
    """``control`` where the hash falls below `holdout_share`, else ``treatment``; one per person, in the same order.

    Two plans with the same salt hold the same people out of both; give each its own salt for independent draws.
    """
    drawn = [hash_share(person, salt=salt) < holdout_share for person in person_ids]
    return pl.Series("arm", ["control" if held else "treatment" for held in drawn], dtype=pl.String)
