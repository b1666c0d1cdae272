"""The Hillstrom e-mail experiment as drops of the partner `course_platform`: an experiment run elsewhere and imported.

Source: Kevin Hillstrom's MineThatData challenge (2008): 64,000 past buyers of a retailer, a third each mailed about
men's goods, about women's goods, or not; visit, conversion and spend of the two weeks after are observed. Dates are
not: all rows are dated by the caller. The file has no person id, so equal rows are different people.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from xmkt_assets.adapters import drops
from xmkt_assets.adapters.people import grant_consents
from xmkt_assets.adapters.sources import read_csv

DATASET: Final = "hillstrom"
CAMPAIGN_ID: Final = "hillstrom_2008"
ASSIGNED_ON: Final = date(2020, 6, 1)
ARMS: Final[Mapping[str, str]] = {
    "Womens E-Mail": "womens_email",
    "Mens E-Mail": "mens_email",
    "No E-Mail": "control",
}

_SENT_AFTER: Final = timedelta(hours=8)
_VISITED_AFTER: Final = timedelta(days=1, hours=12)
_BOUGHT_AFTER: Final = timedelta(days=1, hours=13)


def write_drops(data: Path, landing: Path, *, assigned_on: date = ASSIGNED_ON) -> drops.AdapterSummary:
    """Write users, consents for measurement only, and campaign_events, all dated by `assigned_on`.

    Assignment and e-mail fall on `assigned_on`, visits and conversions on the day after. Raises FileNotFoundError
    where the published file is missing, ValueError where it names an unknown arm.
    """
    subjects = read_subjects(data)
    assigned_at = datetime.combine(assigned_on, time.min)
    people = subjects.select("subject_id", link_is_synthetic=pl.lit(False))
    feeds = {
        "course_platform/users": people.rename({"subject_id": "user_id"}).with_columns(
            registered_at=pl.lit(assigned_at), updated_at=pl.lit(assigned_at)
        ),
        "course_platform/consents": grant_consents(people, purposes=["measurement"], decided_on=assigned_on),
        "course_platform/campaign_events": campaign_events(subjects, assigned_at=assigned_at),
    }
    return drops.write_drops(landing, dataset=DATASET, feeds=feeds, notes=_notes(assigned_on))


def read_subjects(data: Path) -> pl.DataFrame:
    """One row per line of the file, in its order: subject_id h1, h2, …, arm, outcomes and what was known before.

    Lines that repeat each other stay: without a person id they are different people.
    """
    lines = read_csv(data, "hillstrom/hillstrom.csv.gz").with_row_index("line", offset=1)
    unknown = sorted(set(lines["treatment"]) - set(ARMS))
    if unknown:
        raise ValueError(f"hillstrom.csv.gz has arms {unknown}; wanted only {list(ARMS)}. Use the published file.")
    return lines.select(
        pl.format("h{}", "line").alias("subject_id"),
        pl.col("treatment").replace_strict(ARMS).alias("arm"),
        pl.col("visit", "conversion").cast(pl.Int8).cast(pl.Boolean),
        (pl.col("spend").cast(pl.Float64) * 100).round().cast(pl.Int64).alias("spend_cents"),
        pl.col("recency").cast(pl.Int64),
        pl.col("history").cast(pl.Float64),
        pl.col("mens", "womens").cast(pl.Int64),
        "zip_code",
        pl.col("newbie").cast(pl.Int64),
        "channel",
    )


def campaign_events(subjects: pl.DataFrame, *, assigned_at: datetime) -> pl.DataFrame:
    """One row per assignment, e-mail sent, visit and conversion; a person has one to four.

    People without a visit or conversion row did not visit or buy: count them as zeros, from the assignments.
    """
    known_before = pl.struct("recency", "history", "mens", "womens", "zip_code", "newbie", "channel")
    assignments = subjects.select(
        "subject_id",
        "arm",
        event=pl.lit("assignment"),
        assignment_share=pl.lit(1 / len(ARMS)),
        occurred_at=pl.lit(assigned_at),
        score="history",
        covariates=known_before.struct.json_encode(),
    )
    sent = _happened(subjects.filter(pl.col("arm") != "control"), event="exposure", at=assigned_at + _SENT_AFTER)
    visits = _happened(subjects.filter("visit"), event="visit", at=assigned_at + _VISITED_AFTER)
    buyers = subjects.filter("conversion")
    bought = _happened(buyers, event="conversion", at=assigned_at + _BOUGHT_AFTER).with_columns(
        buyers["spend_cents"].alias("amount_fen"), currency=pl.lit("USD")
    )
    events = [assignments, sent.with_columns(channel=pl.lit("email")), visits, bought]
    return pl.concat(events, how="diagonal").with_columns(
        pl.format("hillstrom-{}-{}", "subject_id", "event").alias("event_id"), campaign_id=pl.lit(CAMPAIGN_ID)
    )


def _happened(subjects: pl.DataFrame, *, event: str, at: datetime) -> pl.DataFrame:
    return subjects.select("subject_id", event=pl.lit(event), occurred_at=pl.lit(at))


def _notes(assigned_on: date) -> tuple[str, ...]:
    return (
        "Arms, visits, conversions and spend are observed in a real experiment of 2008 at a retailer, not this firm.",
        f"Dates are assigned, not observed: assignment and e-mail on {assigned_on}, the rest a day later "
        f"(observed within two weeks).",
        "The file has no person id: every line is a person of its own, equal lines included. No identifiers are made, "
        "so nobody is joined to another firm.",
        "amount_fen is US cents (currency USD). score is the past year's spend in dollars.",
        "Measurement alone is granted, with source research_data: these people take no part in profiling or marketing.",
    )
