"""Pseudonyms of people for one campaign: what stands in files that leave the platform in the place of person_id.

HMAC-SHA256 of campaign and person under a secret of the home, cut to 80 bits: the same person has the same pseudonym
throughout a campaign and another one in the next, and without the secret nobody can join two campaigns or go back to
the person. Not here: the secret itself (`secrets.home_secret(home, "pseudonyms")`) and the files.
"""

import hmac
from typing import Final

import polars as pl

PREFIX: Final = "x"
DIGITS: Final = 20


class PseudonymError(ValueError):
    """Pseudonyms that cannot be made; the message names the campaign and the remedy."""


def campaign_pseudonyms(person_ids: pl.Series, *, campaign_id: str, secret: bytes) -> pl.Series:
    """One pseudonym per person id, in the same order; null for null; a person named twice gets the same one twice.

    Raises `PseudonymError` for an empty campaign id, a secret shorter than 16 bytes, or two people with one pseudonym
    (about 4 chances in 10^13 among a million people).
    """
    if not campaign_id or len(secret) < 16:
        raise PseudonymError(
            f"Pseudonyms for campaign {campaign_id!r} with a secret of {len(secret)} bytes; wanted the id of a "
            f'campaign and at least 16 bytes. Take the secret from secrets.home_secret(home, "pseudonyms").'
        )
    people = person_ids.drop_nulls().unique().sort()
    # Keyed per campaign first, so that no person id, however spelt, can reach into another campaign.
    key = hmac.digest(secret, campaign_id.encode(), "sha256")
    made = [PREFIX + hmac.digest(key, person.encode(), "sha256").hex()[:DIGITS] for person in people]
    if len(set(made)) != len(made):
        raise PseudonymError(
            f"Two of the {len(made)} people of campaign {campaign_id!r} have one pseudonym. Give the campaign another "
            f"id; no file was written."
        )
    return person_ids.replace_strict(people, pl.Series(made, dtype=pl.String), return_dtype=pl.String, default=None)
