"""A real insurer's published purchases as drops of the partner `insurer`.

Source: simonebbruun/cross-sessions_RS (RecSys 2022, doi 10.1145/3523227.3546775), anonymised, no licence stated. What
was bought, when, by whom and, for the later events, what else could have been bought is observed. Attributes of
people and products, premiums, terms, renewals, claims and page views were never published and stay empty.
"""

from datetime import date, datetime, time
from pathlib import Path
from typing import Final

import polars as pl

from xmkt_assets.adapters import drops
from xmkt_assets.adapters.people import (
    LINK_SEED,
    LINK_SHARE,
    PURPOSES,
    describe_link,
    draw_identifiers,
    grant_consents,
)
from xmkt_assets.adapters.sources import read_bruun_purchases, read_csv

DATASET: Final = "bruun"

_PRODUCT_TEXT: Final = (
    "Anonymous product of a public research data set: its name, line of business, price and limits are not published."
)
_NOTES: Final = (
    "Purchases, their times and eligibility are observed; times were published without a zone and are taken as UTC.",
    "Every purchase is an issued policy of its own: the data do not say which purchase renews an earlier policy.",
    "Eligibility was published for the test events only (from 2020-07-22).",
    "The data carry no consents: every purpose is granted on the first day with source research_data.",
)


def write_drops(
    data: Path, landing: Path, *, link_share: float = LINK_SHARE, link_seed: int = LINK_SEED
) -> drops.AdapterSummary:
    """Write policies, customers, products, product_eligibility and consents of the insurer.

    `link_share` of Hahow's people share a phone_hash with one customer each, drawn by `link_seed`; give both adapters
    the same values. Raises FileNotFoundError where a published file is missing.
    """
    purchases = read_bruun_purchases(data)
    people = draw_identifiers(data, side="customers", share=link_share, seed=link_seed)
    first_on = purchases.select(pl.col("event_time").dt.date().min()).item()
    feeds = {
        "insurer/policies": policies(purchases),
        "insurer/customers": customers(purchases, people),
        "insurer/products": products(purchases, listed_on=first_on),
        "insurer/product_eligibility": product_eligibility(
            purchases, read_csv(data, "insurance_bruun/filter_test.csv.gz")
        ),
        "insurer/consents": grant_consents(people, purposes=PURPOSES, decided_on=first_on),
    }
    notes = (*_NOTES, describe_link(people, seed=link_seed))
    return drops.write_drops(landing, dataset=DATASET, feeds=feeds, notes=notes)


def policies(purchases: pl.DataFrame) -> pl.DataFrame:
    """One row per item of a purchase event, each an issued policy; order_id is the published event id."""
    return purchases.select(
        pl.format("{}-{}", "event_id", "item_id").alias("policy_event_id"),
        pl.format("{}-{}", "event_id", "item_id").alias("policy_id"),
        pl.col("event_id").alias("order_id"),
        "customer_id",
        pl.col("item_id").alias("product_id"),
        pl.lit("issued").alias("event"),
        pl.col("event_time").alias("occurred_at"),
    )


def customers(purchases: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """One row per customer, known from the first purchase on; nothing but the id is published of a person."""
    firsts = purchases.group_by("customer_id").agg(pl.col("event_time").min().alias("became_customer_at"))
    return firsts.join(
        people, left_on="customer_id", right_on="subject_id", validate="1:1", maintain_order="left"
    ).with_columns(pl.col("became_customer_at").alias("updated_at"))


def products(purchases: pl.DataFrame, *, listed_on: date) -> pl.DataFrame:
    """One row per item ever bought, on sale throughout: the data do not say when an item was withdrawn."""
    return purchases.select(pl.col("item_id").unique().alias("product_id")).with_columns(
        pl.col("product_id").alias("product_name"),
        product_class=pl.lit("unknown"),
        is_on_sale=pl.lit(True),
        description=pl.lit(_PRODUCT_TEXT),
        updated_at=pl.lit(datetime.combine(listed_on, time.min)),
    )


def product_eligibility(purchases: pl.DataFrame, allowed: pl.DataFrame) -> pl.DataFrame:
    """One row per purchase event and item that could be bought at it; earlier events have no rows.

    `allowed` has event_id and item_id. Customer and time come from the event's purchases.
    """
    events = purchases.select("event_id", "customer_id", "event_time").unique()
    return allowed.join(events, on="event_id", how="left", validate="m:1").select(
        pl.col("event_id").alias("order_id"),
        pl.col("item_id").alias("product_id"),
        "customer_id",
        pl.col("event_time").alias("checked_at"),
    )
