"""The true effects of a campaign: both potential outcomes of every listed person, and their mean difference.

Does not belong here: the rule by which people answer (``response``), estimates (the evaluation stage).
"""

from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance, course_firm, insurer_firm
from xmkt_assets.simulate.offers import Offers, read_offers
from xmkt_assets.simulate.response import respond
from xmkt_assets.simulate.world import World

METRICS: Final = ("course_conversion_share", "product_conversion_share", "participation_share", "spend_fen")
DEFINITION: Final = (
    "Mean over the listed people of what each would do if contacted less what each would do if not, in the outcome "
    "window, both first to last day. Both potential outcomes share their random numbers, so the mean is exact for "
    "these people. Conversion = bought any course (paid, not refunded) or was issued any policy; participation = "
    "viewed any course; spend = paid_fen of those course lines + premium_fen of those policies. `realised` = mean of "
    "the treatment arm less mean of the control arm, which also carries the luck of the draw of arms."
)


def true_effects(world: World, campaign: pl.DataFrame) -> pl.DataFrame:
    """One row per metric: metric, true_effect, base (mean if nobody is contacted), realised, people, definition.

    `campaign` is the list with columns of ``campaigns.campaign_list``, one campaign. Exact, see ``DEFINITION``. Trap:
    people whose accounts a platform cannot link buy under ids it does not count; the truth counts them. Raises
    ValueError where the list names people, items or days the world does not have.
    """
    offers = read_offers(world, campaign)
    if len(set(offers.campaign_id)) != 1:
        raise ValueError(f"Got {len(set(offers.campaign_id))} campaigns; wanted one. Filter the list by campaign_id.")
    alone, contacted = potential_outcomes(world, offers)
    rows = []
    for metric in METRICS:
        y0, y1 = alone[metric], contacted[metric]
        has_arms = offers.is_treated.any() and not offers.is_treated.all()
        realised = float(y1[offers.is_treated].mean() - y0[~offers.is_treated].mean()) if has_arms else None
        rows.append((metric, float((y1 - y0).mean()), float(y0.mean()), realised, offers.count, DEFINITION))
    return pl.DataFrame(
        rows,
        orient="row",
        schema={
            "metric": pl.String,
            "true_effect": pl.Float64,
            "base": pl.Float64,
            "realised": pl.Float64,
            "people": pl.Int64,
            "definition": pl.String,
        },
    )


def potential_outcomes(world: World, offers: Offers) -> tuple[dict[str, chance.Floats], dict[str, chance.Floats]]:
    """(if not contacted, if contacted): per metric one number per offer."""
    answered = respond(world, offers)
    views = world.organic["course_platform", "course_views"].select("person", "day")
    orders = world.orders.join(answered.lost_orders, on="id", how="anti")
    sales = world.sales.join(answered.lost_sales, on="policy", how="anti")
    alone = _outcomes(world, offers, world.orders, world.sales, views)
    contacted = _outcomes(
        world,
        offers,
        pl.concat([orders, answered.orders]),
        pl.concat([sales, answered.sales]),
        pl.concat([views, answered.views.select("person", "day")]),
    )
    return alone, contacted


def _outcomes(
    world: World, offers: Offers, orders: pl.DataFrame, sales: pl.DataFrame, views: pl.DataFrame
) -> dict[str, chance.Floats]:
    seed = world.seed
    paid = orders.with_columns(pl.Series("fen", course_firm.paid_fen(orders, world.courses, seed=seed)))
    paid = paid.filter(~pl.Series(course_firm.is_refunded(orders, seed=seed), dtype=pl.Boolean))
    issued = sales.with_columns(pl.lit(insurer_firm.ISSUED).alias("event"))
    issued = issued.with_columns(pl.Series("fen", insurer_firm.premium_fen(issued, world.people, world.products)))
    bought, course_fen = _per_offer(paid, offers.course_person, offers)
    insured, product_fen = _per_offer(issued, offers.product_person, offers)
    viewed, _ = _per_offer(views.with_columns(pl.lit(0).alias("fen")), offers.course_person, offers)
    return dict(zip(METRICS, (bought, insured, viewed, course_fen + product_fen), strict=True))


def _per_offer(events: pl.DataFrame, person: chance.Ints, offers: Offers) -> tuple[chance.Floats, chance.Floats]:
    """(1 where the person has any event in the offer's window, sum of fen there)."""
    windows = pl.DataFrame(
        {
            "offer": np.arange(offers.count),
            "person": person,
            "launch_day": offers.launch_day,
            "until_day": offers.until_day,
        }
    )
    inside = windows.join(events.select("person", "day", "fen"), on="person", how="inner").filter(
        pl.col("day").is_between(pl.col("launch_day"), pl.col("until_day"))
    )
    sums = inside.group_by("offer").agg(pl.col("fen").sum())
    has, fen = np.zeros(offers.count), np.zeros(offers.count)
    has[sums["offer"].to_numpy()] = 1.0
    fen[sums["offer"].to_numpy()] = sums["fen"].to_numpy()
    return has, fen
