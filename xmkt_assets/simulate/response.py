"""How people answer a campaign: the stored rule and what it changes in a world.

The rule, per offered item (course or product), for a contacted person:

* An ordinary person buys the item on top of everything they would have done anyway with probability
  ``campaign_effect × (base + slope × match)``, halved (course) or times 0.7 (product) if the selling firm did not know
  them at launch. ``match`` is the person's interest in the item relative to their best item, 0 to 1. Never: a course
  they own or would buy anyway, a product they hold, may not buy or that is not on sale, or an item of a firm they
  would join by themselves later.
* A do-not-disturb person never buys on top; with probability ``campaign_effect × LOSS_SHARE`` the contact costs
  everything they would have bought from a firm that knows them between the contact and the end of the window.

Draws depend on (seed, campaign, person) alone, so what a person would do if contacted and if not is fixed before
anybody draws arms. Nothing a person does depends on another person's arm. A person on the list under two accounts is
contacted twice: moments and ids of contacts and clicks depend on the place in the list too.

Does not belong here: the mean over people (``truth``), writing files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance, course_firm, insurer_firm
from xmkt_assets.simulate.calendar import NEVER
from xmkt_assets.simulate.offers import Offers
from xmkt_assets.simulate.world import World

COURSE_BASE: Final = 0.012
COURSE_SLOPE: Final = 0.07
PRODUCT_BASE: Final = 0.006
PRODUCT_SLOPE: Final = 0.035
NEW_USER_FACTOR: Final = 0.5
NEW_CUSTOMER_FACTOR: Final = 0.7
LOSS_SHARE: Final = 0.3
CLICK_BASE: Final = 0.05
CLICK_SLOPE: Final = 0.2
DISTURBED_CLICK_SHARE: Final = 0.02
# The numbers of the rule as stored beside a world, for people.
RULE: Final[Mapping[str, float]] = {
    "course_base": COURSE_BASE,
    "course_slope": COURSE_SLOPE,
    "product_base": PRODUCT_BASE,
    "product_slope": PRODUCT_SLOPE,
    "new_user_factor": NEW_USER_FACTOR,
    "new_customer_factor": NEW_CUSTOMER_FACTOR,
    "loss_share": LOSS_SHARE,
    "click_base": CLICK_BASE,
    "click_slope": CLICK_SLOPE,
    "disturbed_click_share": DISTURBED_CLICK_SHARE,
}


@dataclass(frozen=True)
class Answer:
    """What one kind of offer (course or product) does to each contacted person; arrays with one place per offer."""

    buys: chance.Bools
    clicks: chance.Bools
    click_day: chance.Ints
    buying_day: chance.Ints


@dataclass(frozen=True)
class Response:
    """What the contacts of `offers` change in a world, as events of `course_firm` and `insurer_firm`.

    `lost_orders` and `lost_sales` are rows of `world.orders` and `world.sales` that do not happen.
    """

    offers: Offers
    course: Answer
    product: Answer
    contact_day: chance.Ints
    orders: pl.DataFrame
    views: pl.DataFrame
    sales: pl.DataFrame
    product_views: pl.DataFrame
    lost_orders: pl.DataFrame
    lost_sales: pl.DataFrame


def respond(world: World, offers: Offers) -> Response:
    """What changes if everybody in `offers` is contacted, whatever their arm."""
    contact_day = np.minimum(offers.launch_day + _draw(world, offers, "contact day", 0, 2), offers.until_day)
    course = _course_answer(world, offers, contact_day)
    product = _product_answer(world, offers, contact_day)
    orders = _added_orders(world, offers, course)
    sales = _added_sales(world, offers, product)
    course_loss = {"person": offers.course_person, "joined": world.people.user_day, "contact_day": contact_day}
    product_loss = {"person": offers.product_person, "joined": world.people.customer_day, "contact_day": contact_day}
    return Response(
        offers=offers,
        course=course,
        product=product,
        contact_day=contact_day,
        orders=orders,
        views=_course_views(world, offers, course, orders),
        sales=sales,
        product_views=_product_views(world, offers, product, sales),
        lost_orders=_lost(world, offers, world.orders, **course_loss),
        lost_sales=_lost(world, offers, world.sales, **product_loss),
    )


def _course_answer(world: World, offers: Offers, contact_day: chance.Ints) -> Answer:
    people, person, course = world.people, offers.course_person, offers.course
    match = np.where(course >= 0, world.tastes.course_match[person, course], 0.0)
    factor = np.where(people.user_day[person] < offers.launch_day, 1.0, NEW_USER_FACTOR)
    day = _buying_day(world, offers, contact_day, "course")
    owns = _has(world.orders, "course", person, course)
    can = (
        (course >= 0)
        & ~owns
        & (world.courses.published_day[course] <= contact_day)
        & _stays(people.user_day[person], day)
    )
    lift = world.parameters.campaign_effect * (COURSE_BASE + COURSE_SLOPE * match) * factor
    match = np.where(course >= 0, match, -1.0)
    return _answer(
        world, offers, "course", person=person, lift=lift * can, match=match, contact_day=contact_day, day=day
    )


def _product_answer(world: World, offers: Offers, contact_day: chance.Ints) -> Answer:
    people, person, product = world.people, offers.product_person, offers.product
    match = np.where(product >= 0, world.tastes.product_match[person, product], 0.0)
    factor = np.where(people.customer_day[person] < offers.launch_day, 1.0, NEW_CUSTOMER_FACTOR)
    day = _buying_day(world, offers, contact_day, "product")
    holds = _has(world.held, "product", person, product) & (world.products.term_days[product] > 300)
    is_sold = (
        (product >= 0)
        & world.tastes.may_buy[person, product]
        & (world.products.off_sale_day[product] > offers.until_day)
    )
    can = is_sold & ~holds & _stays(people.customer_day[person], day)
    lift = world.parameters.campaign_effect * (PRODUCT_BASE + PRODUCT_SLOPE * match) * factor
    match = np.where(product >= 0, match, -1.0)
    return _answer(
        world, offers, "product", person=person, lift=lift * can, match=match, contact_day=contact_day, day=day
    )


def _answer(
    world: World,
    offers: Offers,
    kind: str,
    *,
    person: chance.Ints,
    lift: chance.Floats,
    match: chance.Floats,
    contact_day: chance.Ints,
    day: chance.Ints,
) -> Answer:
    """`match` below 0 = nothing of this kind is offered."""
    is_disturbed = world.people.is_do_not_disturb[person]
    keys = (offers.campaign, person)
    buys = chance.happens(lift, world.seed, f"campaign/{kind}/buys", *keys) & ~is_disturbed
    share = np.where(is_disturbed, DISTURBED_CLICK_SHARE, CLICK_BASE + CLICK_SLOPE * match)
    clicks = buys | (chance.happens(share, world.seed, f"campaign/{kind}/clicks", *keys) & (match >= 0))
    latest = np.where(buys, day, np.minimum(contact_day + 2, offers.until_day))
    click_day = np.minimum(contact_day + chance.whole(0, 2, world.seed, f"campaign/{kind}/click day", *keys), latest)
    return Answer(buys, clicks, click_day, day)


def _buying_day(world: World, offers: Offers, contact_day: chance.Ints, kind: str) -> chance.Ints:
    wait = _draw(world, offers, f"{kind}/buying day", 0, 8)
    return np.asarray(np.minimum(contact_day + wait, offers.until_day), dtype=np.int64)


def _stays(joined: chance.Ints, day: chance.Ints) -> chance.Bools:
    """False for people who join the firm by themselves after `day`: they would have come anyway."""
    return (joined <= day) | (joined >= NEVER)


def _has(events: pl.DataFrame, item: str, person: chance.Ints, wanted: chance.Ints) -> chance.Bools:
    pairs = pl.DataFrame({"person": person, item: wanted}).with_row_index("offer")
    found = pairs.join(events.select("person", item).unique(), on=["person", item], how="semi")
    has = np.zeros(len(person), dtype=np.bool_)
    has[found["offer"].to_numpy()] = True
    return has


def _added_orders(world: World, offers: Offers, course: Answer) -> pl.DataFrame:
    of = course.buys
    keys = (offers.campaign[of], offers.course_person[of])
    order = chance.bits(world.seed, "campaign/order", *keys, course.buying_day[of])
    columns = {
        "person": offers.course_person[of],
        "course": offers.course[of],
        "day": course.buying_day[of],
        "second": chance.whole(36_000, 54_000, world.seed, "campaign/order second", *keys),
        "order": order,
        "id": chance.bits(world.seed, "campaign/order line", order, offers.course[of]),
    }
    return pl.DataFrame(columns, schema=course_firm.ORDER_EVENTS).unique(
        ["person", "course"], keep="first", maintain_order=True
    )


def _added_sales(world: World, offers: Offers, product: Answer) -> pl.DataFrame:
    of = product.buys
    keys = (offers.campaign[of], offers.product_person[of])
    order = chance.bits(world.seed, "campaign/sale order", *keys, product.buying_day[of])
    columns = {
        "person": offers.product_person[of],
        "product": offers.product[of],
        "day": product.buying_day[of],
        "second": chance.whole(36_000, 54_000, world.seed, "campaign/sale second", *keys),
        "order": order,
        "policy": chance.bits(world.seed, "campaign/policy", order, offers.product[of]),
    }
    return pl.DataFrame(columns, schema=insurer_firm.SALE).unique(
        ["person", "product"], keep="first", maintain_order=True
    )


def _course_views(world: World, offers: Offers, course: Answer, orders: pl.DataFrame) -> pl.DataFrame:
    """The view a click leads to, for people the course platform knows that day, and the view before each order."""
    known = world.people.user_day[offers.course_person] <= course.click_day
    of = course.clicks & known & (world.courses.published_day[offers.course] <= course.click_day)
    columns = {
        "person": offers.course_person[of],
        "course": offers.course[of],
        "day": course.click_day[of],
        "second": 1 + click_second(world, offers, "course")[of],
        "source": np.full(int(of.sum()), course_firm.CAMPAIGN_SOURCE),
        "id": chance.bits(world.seed, "campaign/course view", offers.place[of]),
    }
    clicked = pl.DataFrame(columns, schema=course_firm.VIEW_EVENTS)
    return pl.concat([clicked, course_firm.views_before(orders, seed=world.seed, source=course_firm.CAMPAIGN_SOURCE)])


def _product_views(world: World, offers: Offers, product: Answer, sales: pl.DataFrame) -> pl.DataFrame:
    """The view a click leads to, for people the insurer knows that day, and the view before each sale."""
    of = product.clicks & (world.people.customer_day[offers.product_person] <= product.click_day)
    columns = {
        "person": offers.product_person[of],
        "product": offers.product[of],
        "day": product.click_day[of],
        "second": 1 + click_second(world, offers, "product")[of],
        "source": np.full(int(of.sum()), insurer_firm.CAMPAIGN_SOURCE),
        "id": chance.bits(world.seed, "campaign/product view", offers.place[of]),
    }
    before = insurer_firm.product_views_before(sales, seed=world.seed, source=insurer_firm.CAMPAIGN_SOURCE)
    return pl.concat([pl.DataFrame(columns), before])


def click_second(world: World, offers: Offers, kind: str) -> chance.Ints:
    """After the contact (before 04:00 UTC) and before what it makes people buy (after 10:00 UTC)."""
    return chance.whole(15_000, 32_000, world.seed, f"campaign/{kind}/click second", offers.place)


def _lost(
    world: World,
    offers: Offers,
    purchases: pl.DataFrame,
    *,
    person: chance.Ints,
    joined: chance.Ints,
    contact_day: chance.Ints,
) -> pl.DataFrame:
    """Purchases in the window that do not happen because a do-not-disturb person was contacted."""
    share = min(1.0, world.parameters.campaign_effect * LOSS_SHARE)
    is_lost = (
        chance.happens(share, world.seed, "campaign/lost", offers.campaign, person)
        & world.people.is_do_not_disturb[person]
    )
    is_lost &= joined[person] < offers.launch_day
    windows = pl.DataFrame({"person": person, "from_day": contact_day, "until_day": offers.until_day}).filter(
        pl.Series(is_lost)
    )
    inside = purchases.join(windows, on="person", how="inner").filter(
        pl.col("day").is_between(pl.col("from_day"), pl.col("until_day"))
    )
    return inside.select(purchases.columns).unique(maintain_order=True)


def _draw(world: World, offers: Offers, stream: str, low: int, high: int) -> chance.Ints:
    return chance.whole(low, high, world.seed, f"campaign/{stream}", offers.campaign, offers.course_person)
