"""The campaign_events feed: contacts, clicks, and the purchases a seller credits to them. Treated people only.

Trap for whoever reads these rows: sellers credit every purchase within a week of a click, also what the person would
have bought anyway, so conversions here overstate what the campaign caused.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance, course_firm, insurer_firm
from xmkt_assets.simulate.response import Answer, Response, click_second
from xmkt_assets.simulate.world import COURSE_PLATFORM, INSURER, Feed, World

REMINDER_DAYS: Final = 7
CREDIT_DAYS: Final = 7


@dataclass(frozen=True)
class _Side:
    """One kind of offered item. `purchases` = what people bought of that kind: person, day, second, item, id, fen.

    `by_insurer` says for each offer which firm shows the item: the other firm where it knows the person, so that each
    firm's pages carry the other's offers.
    """

    kind: str
    is_insurers: bool
    person: chance.Ints
    item: chance.Ints
    item_ids: tuple[str, ...]
    answer: Answer
    by_insurer: chance.Bools
    purchases: pl.DataFrame


def campaign_events(world: World, answered: Response) -> dict[Feed, pl.DataFrame]:
    """Rows of both firms in contract columns, with `day` and `person` for internal use."""
    happenings = [
        happening
        for side in (_course_side(world, answered), _product_side(world, answered))
        for happening in (
            _exposures(world, answered, side),
            _clicks(world, answered, side),
            _conversions(world, answered, side),
        )
    ]
    events = _in_contract_columns(world, answered, pl.concat(happenings)).sort("occurred_at", "event_id")
    is_insurers = events["by_insurer"]
    return {
        (COURSE_PLATFORM, "campaign_events"): events.filter(~is_insurers).drop("by_insurer"),
        (INSURER, "campaign_events"): events.filter(is_insurers).drop("by_insurer"),
    }


def _course_side(world: World, answered: Response) -> _Side:
    offers = answered.offers
    orders = pl.concat([world.orders.join(answered.lost_orders, on="id", how="anti"), answered.orders])
    fen = course_firm.paid_fen(orders, world.courses, seed=world.seed)
    return _Side(
        kind="course",
        is_insurers=False,
        person=offers.course_person,
        item=offers.course,
        item_ids=world.courses.course_id,
        answer=answered.course,
        by_insurer=offers.knows_customer,
        purchases=orders.select("person", "day", "second", pl.col("course").alias("item"), "id", pl.Series("fen", fen)),
    )


def _product_side(world: World, answered: Response) -> _Side:
    offers = answered.offers
    sales = pl.concat([world.sales.join(answered.lost_sales, on="policy", how="anti"), answered.sales])
    issued = sales.with_columns(pl.lit(insurer_firm.ISSUED).alias("event"))
    fen = pl.Series("fen", insurer_firm.premium_fen(issued, world.people, world.products))
    return _Side(
        kind="product",
        is_insurers=True,
        person=offers.product_person,
        item=offers.product,
        item_ids=world.products.product_id,
        answer=answered.product,
        by_insurer=~offers.knows_user,
        purchases=sales.select(
            "person", "day", "second", pl.col("product").alias("item"), pl.col("policy").alias("id"), fen
        ),
    )


def _exposures(world: World, answered: Response, side: _Side) -> pl.DataFrame:
    """The first contact, and a reminder a week later to those who have not clicked by then."""
    offers, answer = answered.offers, side.answer
    touches = []
    for nth, day in enumerate((answered.contact_day, answered.contact_day + REMINDER_DAYS)):
        has_clicked = answer.clicks & (answer.click_day < day)
        at = np.flatnonzero((side.item >= 0) & (day <= offers.until_day) & ~has_clicked)
        second = chance.whole(3600, 14_400, world.seed, "campaign/contact second", offers.place[at])
        ids = chance.bits(world.seed, f"campaign/{side.kind}/exposure/{nth}", offers.place[at])
        touches.append(_touches(side, at, "exposure", day=day[at], second=second, ids=ids))
    return pl.concat(touches)


def _clicks(world: World, answered: Response, side: _Side) -> pl.DataFrame:
    at = np.flatnonzero((side.item >= 0) & side.answer.clicks)
    ids = chance.bits(world.seed, f"campaign/{side.kind}/click", answered.offers.place[at])
    second = click_second(world, answered.offers, side.kind)[at]
    return _touches(side, at, "click", day=side.answer.click_day[at], second=second, ids=ids)


def _touches(
    side: _Side, at: chance.Ints, event: str, *, day: chance.Ints, second: chance.Ints, ids: chance.Bits
) -> pl.DataFrame:
    """Events about the offers at the positions `at`: offer, event, by_insurer, item_id, day, second, id, fen."""
    return pl.DataFrame(
        {
            "offer": at,
            "event": pl.repeat(event, len(at), eager=True, dtype=pl.String),
            "by_insurer": side.by_insurer[at],
            "item_id": course_firm.named(side.item_ids, side.item[at]),
            "day": day,
            "second": second,
            "id": ids,
            "fen": pl.repeat(None, len(at), eager=True, dtype=pl.Int64),
        }
    )


def _conversions(world: World, answered: Response, side: _Side) -> pl.DataFrame:
    """Purchases within a week after a click, in the columns of `_touches`; a campaign is credited with each once."""
    offers, answer = answered.offers, side.answer
    last_day = np.minimum(np.maximum(answer.click_day + CREDIT_DAYS, answer.buying_day), offers.until_day)
    windows = pl.DataFrame(
        {
            "offer": np.arange(offers.count),
            "campaign": offers.campaign,
            "person": side.person,
            "click_day": answer.click_day,
            "last_day": last_day,
        }
    ).filter(pl.Series(answer.clicks, dtype=pl.Boolean))
    credited = windows.join(side.purchases, on="person", how="inner", maintain_order="left").filter(
        pl.col("day").is_between(pl.col("click_day"), pl.col("last_day"))
    )
    credited = credited.unique(["campaign", "id"], keep="first", maintain_order=True)
    keys = (credited["campaign"].to_numpy(), credited["id"].to_numpy())
    return credited.select(
        "offer",
        pl.lit("conversion").alias("event"),
        pl.lit(side.is_insurers).alias("by_insurer"),
        course_firm.named(side.item_ids, credited["item"].to_numpy()).alias("item_id"),
        "day",
        "second",
        pl.Series("id", chance.bits(world.seed, f"campaign/{side.kind}/conversion", *keys), dtype=pl.UInt64),
        pl.col("fen").cast(pl.Int64),
    )


def _in_contract_columns(world: World, answered: Response, happenings: pl.DataFrame) -> pl.DataFrame:
    offers, people = answered.offers, world.people
    at, day = happenings["offer"].to_numpy(), happenings["day"].to_numpy()
    by_insurer = happenings["by_insurer"]
    users = course_firm.named(people.user_id, offers.course_person[at])
    customers = course_firm.named(people.customer_id, offers.product_person[at])
    return happenings.select(
        "by_insurer",
        "day",
        pl.Series("person", np.where(by_insurer.to_numpy(), offers.product_person[at], offers.course_person[at])),
        pl.Series("event_id", chance.tokens("ce_", happenings["id"].to_numpy()), dtype=pl.String),
        pl.Series("campaign_id", offers.campaign_id, dtype=pl.String).gather(at),
        pl.when(by_insurer).then(customers).otherwise(users).alias("subject_id"),
        "event",
        pl.lit(None, dtype=pl.String).alias("arm"),
        pl.lit(None, dtype=pl.Float64).alias("assignment_share"),
        pl.Series("channel", offers.channel, dtype=pl.String).gather(at),
        "item_id",
        world.calendar.at(day, happenings["second"].to_numpy()).alias("occurred_at"),
        pl.col("fen").alias("amount_fen"),
        pl.when(pl.col("fen").is_not_null()).then(pl.lit("CNY")).alias("currency"),
        pl.lit(None, dtype=pl.Float64).alias("score"),
        pl.lit(None, dtype=pl.String).alias("covariates"),
    )
