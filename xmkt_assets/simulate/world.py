"""A simulated world: its parameters, its hidden truth, and everything that happens in it without a campaign.

Everything follows from `Parameters`, so a world is stored by storing them. Does not belong here: what a campaign
changes (``response``) and how drops are written (``drops``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from xmkt_assets.simulate import accounts, catalogue, chance, course_firm, identifiers, insurer_firm, permissions
from xmkt_assets.simulate.calendar import NEVER, Calendar
from xmkt_assets.simulate.catalogue import Courses, Products
from xmkt_assets.simulate.people import People, make_people
from xmkt_assets.simulate.tastes import Tastes, make_tastes

DEFAULT_START_ON: Final = date(2026, 7, 1)
COURSE_PLATFORM: Final = "course_platform"
INSURER: Final = "insurer"

Feed: TypeAlias = tuple[str, str]  # (partner, feed)


@dataclass(frozen=True)
class Parameters:
    """All a world follows from. Links, effects and groups are multipliers of the stored rules, 0 = none."""

    people: int = 20_000
    days: int = 120
    start_on: date = DEFAULT_START_ON
    seed: int = 7
    course_to_insurance_link: float = 1.0
    campaign_effect: float = 1.0
    planted_groups: float = 0.0

    def __post_init__(self) -> None:
        if self.people < 100 or self.days < 10:
            raise ValueError(
                f"Got {self.people} people and {self.days} days; wanted at least 100 people and 10 days. Raise them."
            )
        if not 0.0 <= self.course_to_insurance_link <= 1.0:
            raise ValueError(
                f"course_to_insurance_link is {self.course_to_insurance_link}; wanted a number from 0 to 1."
            )
        if not 0.0 <= self.campaign_effect <= 5.0:
            raise ValueError(f"campaign_effect is {self.campaign_effect}; wanted a number from 0 (no effect) to 5.")
        if not 0.0 <= self.planted_groups <= 1.0:
            raise ValueError(f"planted_groups is {self.planted_groups}; wanted a number from 0 (no groups) to 1.")


@dataclass(frozen=True)
class World:
    """A world without any campaign.

    `orders` and `sales` are course order lines and policies sold, as frames of numbers; `organic` holds every feed in
    contract columns, with the internal columns `day` and, where a row is about a person, `person`.
    """

    parameters: Parameters
    calendar: Calendar
    people: People
    courses: Courses
    products: Products
    tastes: Tastes
    orders: pl.DataFrame
    sales: pl.DataFrame
    held: pl.DataFrame
    organic: Mapping[Feed, pl.DataFrame]

    @property
    def seed(self) -> int:
        return self.parameters.seed


def build_world(
    *,
    people: int = 20_000,
    days: int = 120,
    start_on: date = DEFAULT_START_ON,
    seed: int = 7,
    course_to_insurance_link: float = 1.0,
    campaign_effect: float = 1.0,
    planted_groups: float = 0.0,
) -> World:
    """Two firms and their people over `days` days from `start_on`; the same arguments give the same world.

    `course_to_insurance_link` from 0 (a person's courses say nothing of their insurance) to 1 (one set of interests
    drives both); `campaign_effect` multiplies what campaigns cause; `planted_groups` from 0 (nobody belongs to a group)
    to 1 (who values what, and which firm knows whom, follows from the group alone: see ``groups``). Raises ValueError
    for numbers out of range.
    """
    parameters = Parameters(people, days, start_on, seed, course_to_insurance_link, campaign_effect, planted_groups)
    calendar = Calendar(start_on, days)
    courses, products = catalogue.make_courses(seed, calendar), catalogue.make_products(calendar)
    persons = make_people(people, seed=seed, calendar=calendar, link=course_to_insurance_link, planted=planted_groups)
    tastes = make_tastes(persons, courses, products)
    orders = course_firm.organic_orders(persons, courses, tastes, seed=seed, calendar=calendar)
    book = insurer_firm.sales_before_start(persons, products, tastes, seed=seed)
    sales = insurer_firm.organic_sales(persons, products, tastes, seed=seed, calendar=calendar)
    sales = sales.join(book, on=["person", "product"], how="anti", maintain_order="left")
    joined_by_buying = _first_purchase(sales, persons)
    persons = replace(persons, customer_day=np.minimum(persons.customer_day, joined_by_buying))
    draft = World(parameters, calendar, persons, courses, products, tastes, orders, sales, pl.concat([book, sales]), {})
    feeds = {**_course_feeds(draft), **_insurer_feeds(draft, joined_by_buying)}
    return replace(draft, organic=feeds)


def _first_purchase(sales: pl.DataFrame, people: People) -> chance.Ints:
    """Day on which each stranger to the insurer becomes a customer by buying; NEVER for all others."""
    first = np.full(people.count, NEVER, dtype=np.int64)
    np.minimum.at(first, sales["person"].to_numpy(), sales["day"].to_numpy())
    return np.where(first < people.customer_day, first, NEVER)


def _course_feeds(world: World) -> dict[Feed, pl.DataFrame]:
    people, courses, tastes, seed, calendar = world.people, world.courses, world.tastes, world.seed, world.calendar
    views = course_firm.organic_views(people, courses, tastes, world.orders, seed=seed, calendar=calendar)
    reviews = course_firm.organic_reviews(world.orders, courses, tastes, seed=seed, calendar=calendar)
    members, joined = accounts.members_of(people.user_day)
    names = people.user_id
    return {
        (COURSE_PLATFORM, "courses"): catalogue.courses_drop(courses, seed=seed, calendar=calendar),
        (COURSE_PLATFORM, "users"): identifiers.with_second_accounts(
            accounts.users_drop(people, members, joined, seed=seed, calendar=calendar), seed=seed, calendar=calendar
        ),
        (COURSE_PLATFORM, "identifiers"): identifiers.identifiers_drop(
            people, members, joined, "user", seed=seed, calendar=calendar
        ),
        (COURSE_PLATFORM, "course_views"): course_firm.views_drop(
            views, people, courses, tastes, seed=seed, calendar=calendar
        ),
        (COURSE_PLATFORM, "course_orders"): course_firm.orders_drop(
            world.orders, people, courses, seed=seed, calendar=calendar
        ),
        (COURSE_PLATFORM, "course_reviews"): course_firm.reviews_drop(
            reviews, people, courses, seed=seed, calendar=calendar
        ),
        (COURSE_PLATFORM, "consents"): permissions.consents_drop(
            members, joined, names, partner=COURSE_PLATFORM, seed=seed, calendar=calendar
        ),
        (COURSE_PLATFORM, "contact_optouts"): permissions.optouts_drop(
            members, joined, names, partner=COURSE_PLATFORM, seed=seed, calendar=calendar
        ),
    }


def _insurer_feeds(world: World, joined_by_buying: chance.Ints) -> dict[Feed, pl.DataFrame]:
    people, products, tastes, seed, calendar = world.people, world.products, world.tastes, world.seed, world.calendar
    life = insurer_firm.policy_life(world.held, products, seed=seed, calendar=calendar)
    claims = insurer_firm.claims_of(life, people, products, seed=seed, calendar=calendar)
    views = insurer_firm.organic_product_views(people, products, tastes, world.sales, seed=seed, calendar=calendar)
    members, joined = accounts.members_of(people.customer_day)
    names = people.customer_id
    return {
        (INSURER, "products"): catalogue.products_drop(products, seed=seed, calendar=calendar),
        (INSURER, "customers"): accounts.customers_drop(people, members, joined, seed=seed, calendar=calendar),
        (INSURER, "identifiers"): identifiers.identifiers_drop(
            people, members, joined, "customer", seed=seed, calendar=calendar
        ),
        (INSURER, "product_views"): insurer_firm.product_views_drop(
            views, people, products, tastes, seed=seed, calendar=calendar
        ),
        (INSURER, "policies"): insurer_firm.policies_drop(life, people, products, seed=seed, calendar=calendar),
        (INSURER, "claims"): insurer_firm.claims_drop(claims, people, seed=seed, calendar=calendar),
        (INSURER, "consents"): _customer_consents(world, members, joined, joined_by_buying[members] == joined),
        (INSURER, "contact_optouts"): permissions.optouts_drop(
            members, joined, names, partner=INSURER, seed=seed, calendar=calendar
        ),
    }


def _customer_consents(world: World, members: chance.Ints, joined: chance.Ints, bought: chance.Bools) -> pl.DataFrame:
    names, seed, calendar = world.people.customer_id, world.seed, world.calendar
    asked = permissions.consents_drop(
        members[~bought], joined[~bought], names, partner=INSURER, seed=seed, calendar=calendar
    )
    agreed = permissions.consents_drop(
        members[bought], joined[bought], names, partner=INSURER, seed=seed, calendar=calendar, all_granted=True
    )
    return pl.concat([asked, agreed]).sort("decided_at", "consent_id")
