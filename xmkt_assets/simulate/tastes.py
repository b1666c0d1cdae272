"""How much each person is drawn to each course and product, and which products they may buy."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from xmkt_assets.simulate import chance
from xmkt_assets.simulate.catalogue import Courses, Products
from xmkt_assets.simulate.people import People

BASE_APPEAL: Final = 0.03  # what draws a person to an item outside their interests

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tastes:
    """Matrices of shape (persons, items).

    `*_match` is interest relative to the person's best item, 0 to 1. `*_reached` are cumulated shares for
    `chance.pick`: looking around follows popularity more, buying follows interest more; `product_buys` is limited to
    products the person may buy.
    """

    course_match: Matrix
    course_views: Matrix
    course_buys: Matrix
    product_match: Matrix
    product_views: Matrix
    product_buys: Matrix
    may_buy: npt.NDArray[np.bool_]


def make_tastes(people: People, courses: Courses, products: Products) -> Tastes:
    course_appeal = people.course_interests @ courses.topic_shares
    product_appeal = people.product_interests @ products.topic_shares
    may_buy = eligible(people, products)
    return Tastes(
        course_match=_relative(course_appeal),
        course_views=_reached(course_appeal, courses.popularity, power=1.3),
        course_buys=_reached(course_appeal, courses.popularity, power=1.8),
        product_match=_relative(product_appeal),
        product_views=_reached(product_appeal, products.popularity, power=1.3),
        product_buys=_reached(product_appeal, products.popularity * may_buy, power=1.8),
        may_buy=may_buy,
    )


def eligible(people: People, products: Products) -> npt.NDArray[np.bool_]:
    """(persons, products): within the limits of age and income."""
    age = people.age[:, None]
    is_rich_enough = people.income_fen[:, None] >= products.min_income_fen[None, :]
    return np.asarray((age >= products.min_age) & (age <= products.max_age) & is_rich_enough)


def _relative(appeal: chance.Floats) -> Matrix:
    return np.asarray(appeal / appeal.max(axis=1, keepdims=True), dtype=np.float32)


def _reached(appeal: chance.Floats, popularity: npt.NDArray[np.floating], *, power: float) -> Matrix:
    return chance.cumulated(popularity * (BASE_APPEAL + appeal) ** power)
