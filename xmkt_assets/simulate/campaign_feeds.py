"""Every feed of a world in which a campaign runs: the organic rows, less what it costs, plus what it causes.

Only people of the treatment arm are contacted; control people appear in no campaign event. Does not belong here: the
rule by which people answer (``response``).
"""

from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import accounts, chance, course_firm, insurer_firm, permissions
from xmkt_assets.simulate.calendar import NEVER
from xmkt_assets.simulate.campaign_events import campaign_events
from xmkt_assets.simulate.offers import read_offers
from xmkt_assets.simulate.response import Response, respond
from xmkt_assets.simulate.world import COURSE_PLATFORM, INSURER, Feed, World

OPTOUT_SHARE: Final = 0.01
DISTURBED_OPTOUT_SHARE: Final = 0.15


def feeds_with(world: World, campaign: pl.DataFrame | None) -> dict[Feed, pl.DataFrame]:
    """All feeds in contract columns, with internal `day` and `person`; rows before the launch are the organic ones."""
    if campaign is None:
        return dict(world.organic)
    offers = read_offers(world, campaign)
    if not offers.is_treated.any():
        return dict(world.organic)
    answered = respond(world, offers.treated())
    feeds = _without_lost(world, answered)
    for feed, rows in _caused(world, answered).items():
        feeds[feed] = pl.concat([feeds[feed], rows.select(feeds[feed].columns)]) if feed in feeds else rows
    return feeds


def _without_lost(world: World, answered: Response) -> dict[Feed, pl.DataFrame]:
    feeds = dict(world.organic)
    lines = answered.lost_orders["id"].to_numpy()
    reviews = chance.bits(world.seed, "reviews/id", lines)
    policies = chance.tokens("po_", answered.lost_sales["policy"].to_numpy())
    lost = {
        (COURSE_PLATFORM, "course_orders"): ("order_line_id", chance.tokens("cl_", lines)),
        (COURSE_PLATFORM, "course_reviews"): ("review_id", chance.tokens("cr_", reviews)),
        (INSURER, "policies"): ("policy_id", policies),
        (INSURER, "claims"): ("policy_id", policies),
    }
    for feed, (column, ids) in lost.items():
        feeds[feed] = feeds[feed].filter(~pl.col(column).is_in(ids))
    return feeds


def _caused(world: World, answered: Response) -> dict[Feed, pl.DataFrame]:
    people, courses, products, tastes = world.people, world.courses, world.products, world.tastes
    seed, calendar = world.seed, world.calendar
    life = insurer_firm.policy_life(answered.sales, products, seed=seed, calendar=calendar)
    claims = insurer_firm.claims_of(life, people, products, seed=seed, calendar=calendar)
    reviews = course_firm.organic_reviews(answered.orders, courses, tastes, seed=seed, calendar=calendar)
    return {
        (COURSE_PLATFORM, "course_views"): course_firm.views_drop(
            answered.views, people, courses, tastes, seed=seed, calendar=calendar
        ),
        (COURSE_PLATFORM, "course_orders"): course_firm.orders_drop(
            answered.orders, people, courses, seed=seed, calendar=calendar
        ),
        (COURSE_PLATFORM, "course_reviews"): course_firm.reviews_drop(
            reviews, people, courses, seed=seed, calendar=calendar
        ),
        (INSURER, "product_views"): insurer_firm.product_views_drop(
            answered.product_views, people, products, tastes, seed=seed, calendar=calendar
        ),
        (INSURER, "policies"): insurer_firm.policies_drop(life, people, products, seed=seed, calendar=calendar),
        (INSURER, "claims"): insurer_firm.claims_drop(claims, people, seed=seed, calendar=calendar),
        **_joined(world, answered),
        **_opted_out(world, answered),
        **campaign_events(world, answered),
    }


def _joined(world: World, answered: Response) -> dict[Feed, pl.DataFrame]:
    """Register rows and consents of people who join a firm by buying what the campaign offered."""
    people, seed, calendar = world.people, world.seed, world.calendar
    users, user_days = _newcomers(answered.orders, people.user_day)
    customers, customer_days = _newcomers(answered.sales, people.customer_day)
    return {
        (COURSE_PLATFORM, "users"): accounts.users_drop(people, users, user_days, seed=seed, calendar=calendar),
        (INSURER, "customers"): accounts.customers_drop(people, customers, customer_days, seed=seed, calendar=calendar),
        (COURSE_PLATFORM, "consents"): permissions.consents_drop(
            users, user_days, people.user_id, partner=COURSE_PLATFORM, seed=seed, calendar=calendar, all_granted=True
        ),
        (INSURER, "consents"): permissions.consents_drop(
            customers,
            customer_days,
            people.customer_id,
            partner=INSURER,
            seed=seed,
            calendar=calendar,
            all_granted=True,
        ),
    }


def _newcomers(purchases: pl.DataFrame, registered: chance.Ints) -> tuple[chance.Ints, chance.Ints]:
    first = purchases.group_by("person").agg(pl.col("day").min()).sort("person")
    person, day = first["person"].to_numpy(), first["day"].to_numpy()
    is_new = registered[person] >= NEVER
    return person[is_new], day[is_new]


def _opted_out(world: World, answered: Response) -> dict[Feed, pl.DataFrame]:
    """Some contacted people ask never to be contacted again, do-not-disturb people far more often."""
    offers, people, seed = answered.offers, world.people, world.seed
    sides = (
        (COURSE_PLATFORM, offers.course_person, offers.knows_user, people.user_id),
        (INSURER, offers.product_person, offers.knows_customer, people.customer_id),
    )
    feeds = {}
    for partner, person, is_known, names in sides:
        share = np.where(people.is_do_not_disturb[person], DISTURBED_OPTOUT_SHARE, OPTOUT_SHARE)
        keys = (offers.campaign, person)
        leaves = is_known & chance.happens(share, seed, f"campaign/{partner}/opts out", *keys)
        day = answered.contact_day + chance.whole(0, 3, seed, f"campaign/{partner}/opt-out day", *keys)
        ids = chance.bits(seed, f"campaign/{partner}/opt-out id", *keys)
        feeds[partner, "contact_optouts"] = permissions.optout_rows(
            person[leaves],
            day[leaves],
            np.array([_optout_channel(c) for c in offers.channel], dtype=np.int64)[leaves],
            ["opted_out"] * int(leaves.sum()),
            names,
            ids=ids[leaves],
            partner=partner,
            seed=seed,
            calendar=world.calendar,
        )
    return feeds


def _optout_channel(channel: str | None) -> int:
    return permissions.CHANNELS.index(channel) if channel in permissions.CHANNELS else 0
