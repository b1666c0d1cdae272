"""What people do at the insurer without any campaign: product views, policies and their life, claims.

Policies sold before the first day are seen only from their renewal on, because the sharing agreement begins then.
Does not belong here: what a campaign changes.
"""

from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance
from xmkt_assets.simulate.calendar import NEVER, Calendar, moments
from xmkt_assets.simulate.catalogue import Products
from xmkt_assets.simulate.course_firm import every_day, named
from xmkt_assets.simulate.people import People
from xmkt_assets.simulate.tastes import Tastes

VIEWS_PER_DAY: Final = 0.032  # of a customer of middling value
POLICIES_PER_DAY: Final = 0.00125
STRANGER_POLICIES_PER_DAY: Final = 0.00028  # of a person who only the course platform knows
SOURCES: Final = ("organic", "search", "course_page", "campaign")
CAMPAIGN_SOURCE: Final = SOURCES.index("campaign")
EVENTS: Final = ("issued", "renewed", "cancelled")
ISSUED, RENEWED, CANCELLED = range(3)
CANCEL_SHARE: Final = 0.06
HOLDER_SHARE: Final = 0.65  # of the customers before the start; the others are registered prospects
CLAIM_LEVEL: Final = 1.8  # multiplies the class rates, which say how classes differ
CLAIM_STATUSES: Final = ("paid", "open", "rejected")

SALE: Final = {
    "person": pl.Int64,
    "product": pl.Int64,
    "day": pl.Int64,
    "second": pl.Int64,
    "order": pl.UInt64,
    "policy": pl.UInt64,
}


def organic_sales(people: People, products: Products, tastes: Tastes, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """One row per policy issued: person, product, day, second, order, policy. No yearly product is sold twice."""

    def of_day(day: int) -> pl.DataFrame:
        rates = _sale_rates(people, day=day, seed=seed, calendar=calendar)
        buyers = np.flatnonzero(chance.happens(rates, seed, "sales/buys", np.arange(people.count), day))
        second_policy = chance.happens(0.1, seed, "sales/second policy", buyers, day)
        person = np.concatenate([buyers, buyers[second_policy]])
        nth = np.concatenate([np.zeros(len(buyers), dtype=np.int64), np.ones(int(second_policy.sum()), dtype=np.int64)])
        product = chance.pick(tastes.product_buys, person, chance.uniform(seed, "sales/product", person, day, nth))
        events = {
            "person": person,
            "product": product,
            "day": np.full(len(person), day),
            "second": moments(seed, "sales/second", person, day),
            "order": chance.bits(seed, "sales/order", person, day),
            "policy": chance.bits(seed, "sales/policy", person, day, nth),
        }
        return pl.DataFrame(events, schema=SALE).filter(pl.Series(products.off_sale_day[product] > day))

    sales = every_day(of_day, calendar.days)
    yearly = pl.Series(products.term_days[sales["product"].to_numpy()] > 300)
    once = sales.filter(yearly).unique(["person", "product"], keep="first", maintain_order=True)
    twice_a_day = sales.filter(~yearly).unique(["person", "product", "day"], keep="first", maintain_order=True)
    return pl.concat([once, twice_a_day]).sort("day", "person", "policy")


def sales_before_start(people: People, products: Products, tastes: Tastes, *, seed: int) -> pl.DataFrame:
    """One row per yearly policy in force on the first day, as `organic_sales`, with a negative `day`."""
    customers = np.flatnonzero(people.customer_day < 0)
    holders = customers[chance.happens(HOLDER_SHARE, seed, "book/holds", customers)]
    also = holders[chance.happens(0.3, seed, "book/holds two", holders)]
    person = np.concatenate([holders, also])
    nth = np.concatenate([np.zeros(len(holders), dtype=np.int64), np.ones(len(also), dtype=np.int64)])
    product = chance.pick(tastes.product_buys, person, chance.uniform(seed, "book/product", person, nth))
    events = {
        "person": person,
        "product": product,
        "day": -chance.whole(1, 365, seed, "book/day", person, nth),
        "second": moments(seed, "book/second", person, nth),
        "order": chance.bits(seed, "book/order", person, nth),
        "policy": chance.bits(seed, "book/policy", person, nth),
    }
    book = pl.DataFrame(events, schema=SALE).filter(pl.Series(products.term_days[product] > 300))
    return book.unique(["person", "product"], keep="first", maintain_order=True)


def policy_life(sales: pl.DataFrame, products: Products, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """One row per event of a policy's life within the world: the sale's columns, event, day, term_start, term_end.

    A renewal happens on the last day of a term and begins the next day. Yearly policies may be cancelled in the first
    60 days after their sale or renewal; nothing follows a cancellation.
    """
    term = sales.with_columns(
        pl.lit(ISSUED, dtype=pl.Int64).alias("event"),
        (pl.col("day") + 1).alias("term_start"),
        (pl.col("day") + pl.Series(products.term_days[sales["product"].to_numpy()])).alias("term_end"),
    )
    events = []
    for nth in range(calendar.days + 2):
        cancelled = _cancellations(term, products, nth, seed=seed)
        events += [term, cancelled]
        term = _renewals(term.join(cancelled, on="policy", how="anti", maintain_order="left"), products, nth, seed=seed)
        term = term.filter(pl.col("day") < calendar.days)
        if term.is_empty():
            break
    return pl.concat(events).filter(pl.col("day").is_between(0, calendar.days - 1))


def organic_product_views(
    people: People, products: Products, tastes: Tastes, sales: pl.DataFrame, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per product view of somebody the insurer knows: looking around, and the view before each sale."""

    def of_day(day: int) -> pl.DataFrame:
        customers = np.flatnonzero(people.customer_day <= day)
        activity = people.product_value[customers] + 0.8 * chance.normal(seed, "insurer/activity", customers)
        rates = VIEWS_PER_DAY * np.exp(0.9 * activity) * (1.2 if calendar.is_weekend(day) else 0.92)
        count = chance.poisson(np.minimum(rates, 4.0), seed, "product views/count", customers, day)
        person = np.repeat(customers, count)
        keys = (person, day, np.arange(len(person)) - np.repeat(np.cumsum(count) - count, count))
        product = chance.pick(tastes.product_views, person, chance.uniform(seed, "product views/product", *keys))
        events = {
            "person": person,
            "product": product,
            "day": np.full(len(person), day),
            "second": moments(seed, "product views/second", *keys),
            "source": chance.among(np.array([0.66, 0.28, 0.06]), seed, "product views/source", *keys),
            "id": chance.bits(seed, "product views/id", *keys),
        }
        return pl.DataFrame(events)

    looking = every_day(of_day, calendar.days)
    return pl.concat([looking, product_views_before(sales, seed=seed, source=0)])


def product_views_before(sales: pl.DataFrame, *, seed: int, source: int) -> pl.DataFrame:
    """The view shortly before each sale, on the same day."""
    policy = sales["policy"].to_numpy()
    wait = pl.Series(chance.whole(60, 2400, seed, "product views/before sale", policy))
    return sales.select(
        "person",
        "product",
        "day",
        pl.max_horizontal(pl.col("second") - wait, 0).alias("second"),
        pl.lit(source, dtype=pl.Int64).alias("source"),
        pl.Series("id", chance.bits(seed, "product views/before sale id", policy)),
    )


def claims_of(life: pl.DataFrame, people: People, products: Products, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """One row per claim: person, policy, day, second, claimed_fen, id. Rate = class rate × exp(latent risk)
    × days covered."""
    ends = life.filter(pl.col("event") == CANCELLED).select("policy", pl.col("day").alias("cancelled_day"))
    terms = life.filter(pl.col("event") != CANCELLED).join(ends, on="policy", how="left", maintain_order="left")
    last = pl.min_horizontal("term_end", pl.col("cancelled_day").fill_null(NEVER), pl.lit(calendar.days - 1))
    terms = terms.with_columns((last - pl.col("term_start") + 1).alias("covered")).filter(pl.col("covered") > 0)
    person, product = terms["person"].to_numpy(), terms["product"].to_numpy()
    keys = (terms["policy"].to_numpy(), terms["term_start"].to_numpy())
    rate = (
        CLAIM_LEVEL
        * products.claims_per_year[product]
        * np.exp(people.risk[person])
        * terms["covered"].to_numpy()
        / 365.0
    )
    count = chance.poisson(rate, seed, "claims/count", *keys, at_most=4)
    claims = terms[np.repeat(np.arange(terms.height), count)]
    nth = np.arange(claims.height) - np.repeat(np.cumsum(count) - count, count)
    each = (claims["policy"].to_numpy(), claims["term_start"].to_numpy(), nth)
    wait = np.floor(chance.uniform(seed, "claims/day", *each) * claims["covered"].to_numpy()).astype(np.int64)
    logs = np.log(0.8 * products.premium_fen[claims["product"].to_numpy()]) + 0.9 * chance.normal(
        seed, "claims/amount", *each
    )
    return claims.select("person", "policy", (pl.col("term_start") + pl.Series(wait)).alias("day")).with_columns(
        pl.Series("second", moments(seed, "claims/second", *each)),
        pl.Series("claimed_fen", 100 * (np.exp(logs) / 100).astype(np.int64)),
        pl.Series("id", chance.bits(seed, "claims/id", *each)),
    )


def premium_fen(life: pl.DataFrame, people: People, products: Products) -> chance.Ints:
    """Premium of a term: yearly premium × share of the year × an age factor of 0.7 to 1.8; 0 for a cancellation."""
    product, person = life["product"].to_numpy(), life["person"].to_numpy()
    age_factor = np.clip(0.7 + 0.02 * (people.age[person] - 25), 0.7, 1.8)
    yearly = products.premium_fen[product] * age_factor * products.term_days[product] / 365.0
    return np.where(life["event"].to_numpy() == CANCELLED, 0, 100 * np.round(yearly / 100).astype(np.int64))


def policies_drop(
    life: pl.DataFrame, people: People, products: Products, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per policy event, in contract columns, with `day` and `person` for internal use."""
    product = life["product"].to_numpy()
    ids = chance.bits(
        seed, "policies/event id", life["policy"].to_numpy(), life["event"].to_numpy(), life["term_start"].to_numpy()
    )
    return pl.DataFrame(
        {
            "day": life["day"],
            "person": life["person"],
            "policy_event_id": chance.tokens("pe_", ids),
            "policy_id": chance.tokens("po_", life["policy"].to_numpy()),
            "order_id": chance.tokens("io_", life["order"].to_numpy()),
            "customer_id": named(people.customer_id, life["person"].to_numpy()),
            "product_id": named(products.product_id, product),
            "event": named(EVENTS, life["event"].to_numpy()),
            "occurred_at": calendar.at(life["day"].to_numpy(), life["second"].to_numpy()),
            "term_start_on": calendar.dates(life["term_start"].to_numpy()),
            "term_end_on": calendar.dates(life["term_end"].to_numpy()),
            "premium_fen": premium_fen(life, people, products),
            "sum_insured_fen": 100 * products.premium_fen[product],
        }
    ).sort("occurred_at", "policy_event_id")


def product_views_drop(
    events: pl.DataFrame, people: People, products: Products, tastes: Tastes, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per product view, in contract columns, with `day` and `person` for internal use."""
    person, product = events["person"].to_numpy(), events["product"].to_numpy()
    logs = (
        3.2
        + 1.5 * tastes.product_match[person, product]
        + 0.8 * chance.normal(seed, "product views/dwell", events["id"].to_numpy())
    )
    return pl.DataFrame(
        {
            "day": events["day"],
            "person": events["person"],
            "view_id": chance.tokens("pv_", events["id"].to_numpy()),
            "customer_id": named(people.customer_id, person),
            "product_id": named(products.product_id, product),
            "viewed_at": calendar.at(events["day"].to_numpy(), events["second"].to_numpy()),
            "dwell_seconds": np.clip(np.exp(logs).astype(np.int64), 2, 7200),
            "source": named(SOURCES, events["source"].to_numpy()),
        }
    ).sort("viewed_at", "view_id")


def claims_drop(claims: pl.DataFrame, people: People, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """One row per claim as first reported, in contract columns, with `day` and `person` for internal use."""
    status = chance.among(np.array([0.55, 0.35, 0.1]), seed, "claims/status", claims["id"].to_numpy())
    return (
        pl.DataFrame(
            {
                "day": claims["day"],
                "person": claims["person"],
                "claim_id": chance.tokens("ic_", claims["id"].to_numpy()),
                "policy_id": chance.tokens("po_", claims["policy"].to_numpy()),
                "customer_id": named(people.customer_id, claims["person"].to_numpy()),
                "claimed_at": calendar.at(claims["day"].to_numpy(), claims["second"].to_numpy()),
                "claimed_fen": claims["claimed_fen"],
                "paid_fen": pl.Series((claims["claimed_fen"] * 0.9).cast(pl.Int64)),
                "status": named(CLAIM_STATUSES, status),
            }
        )
        .with_columns(
            pl.when(pl.col("status") == "paid")
            .then("paid_fen")
            .when(pl.col("status") == "rejected")
            .then(pl.lit(0))
            .alias("paid_fen")
        )
        .sort("claimed_at", "claim_id")
    )


def _sale_rates(people: People, *, day: int, seed: int, calendar: Calendar) -> chance.Floats:
    index = np.arange(people.count)
    activity = 0.7 * people.product_value + 0.5 * chance.normal(seed, "insurer/sale activity", index)
    base = np.where(
        people.customer_day <= day, POLICIES_PER_DAY, np.where(people.user_day <= day, STRANGER_POLICIES_PER_DAY, 0.0)
    )
    return np.asarray(base * np.exp(activity) * (1.15 if calendar.is_weekend(day) else 0.94))


def _cancellations(term: pl.DataFrame, products: Products, nth: int, *, seed: int) -> pl.DataFrame:
    policy = term["policy"].to_numpy()
    day = pl.Series(term["day"].to_numpy() + chance.whole(2, 60, seed, "life/cancel after", policy, nth))
    yearly = products.term_days[term["product"].to_numpy()] > 300
    # Sales before the start are unknown to the platform, so their cancellation would be an event of nothing.
    visible = term["day"].to_numpy() >= 0
    cancels = chance.happens(CANCEL_SHARE, seed, "life/cancels", policy, nth) & yearly & visible
    return term.with_columns(day.alias("day"), pl.lit(CANCELLED, dtype=pl.Int64).alias("event")).filter(
        pl.Series(cancels)
    )


def _renewals(term: pl.DataFrame, products: Products, nth: int, *, seed: int) -> pl.DataFrame:
    policy, product = term["policy"].to_numpy(), term["product"].to_numpy()
    renews = chance.happens(products.renewal_share[product], seed, "life/renews", policy, nth)
    length = pl.Series(products.term_days[product])
    return term.with_columns(
        pl.col("term_end").alias("day"),
        pl.lit(RENEWED, dtype=pl.Int64).alias("event"),
        pl.Series("second", moments(seed, "life/renewal second", policy, nth)),
        (pl.col("term_end") + 1).alias("term_start"),
        (pl.col("term_end") + length).alias("term_end"),
    ).filter(pl.Series(renews))
