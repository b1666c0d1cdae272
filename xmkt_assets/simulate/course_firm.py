"""What people do at the course platform without any campaign: views, orders, reviews.

Events are frames of whole numbers (person, course, day, second …); `views_drop`, `orders_drop` and `reviews_drop`
turn them into contract columns, for the campaign's events too. Does not belong here: what a campaign changes.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance
from xmkt_assets.simulate.calendar import Calendar, moments
from xmkt_assets.simulate.catalogue import Courses
from xmkt_assets.simulate.people import People
from xmkt_assets.simulate.reviews import review_texts
from xmkt_assets.simulate.tastes import Tastes

VIEWS_PER_DAY: Final = 0.062  # of a person of middling value
ORDERS_PER_DAY: Final = 0.0047
SOURCES: Final = ("organic", "search", "insurer_page", "campaign")
CAMPAIGN_SOURCE: Final = SOURCES.index("campaign")
REVIEW_SHARE: Final = 0.4
REFUND_SHARE: Final = 0.02

VIEW_EVENTS: Final = {
    "person": pl.Int64,
    "course": pl.Int64,
    "day": pl.Int64,
    "second": pl.Int64,
    "source": pl.Int64,
    "id": pl.UInt64,
}
ORDER_EVENTS: Final = {
    "person": pl.Int64,
    "course": pl.Int64,
    "day": pl.Int64,
    "second": pl.Int64,
    "order": pl.UInt64,
    "id": pl.UInt64,
}


def every_day(of_day: Callable[[int], pl.DataFrame], days: int) -> pl.DataFrame:
    """The events of all days, one call per day so that memory stays small."""
    return pl.concat([of_day(day) for day in range(days)], rechunk=True)


def organic_orders(people: People, courses: Courses, tastes: Tastes, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """One row per order line. Nobody buys the same course twice; the first order of a course stands."""

    def of_day(day: int) -> pl.DataFrame:
        buyers, nth = _comers(people, ORDERS_PER_DAY, 0.95, "orders", day=day, seed=seed, calendar=calendar)
        keys = (buyers, day, nth)
        lines = (
            1
            + chance.happens(0.15, seed, "orders/second line", *keys)
            + chance.happens(0.04, seed, "orders/third line", *keys)
        )
        of = np.repeat(np.arange(len(buyers)), lines)
        line = np.arange(len(of)) - np.repeat(np.cumsum(lines) - lines, lines)
        person = buyers[of]
        course = chance.pick(
            tastes.course_buys, person, chance.uniform(seed, "orders/course", person, day, nth[of], line)
        )
        order = chance.bits(seed, "orders/order", *keys)
        second = np.maximum(moments(seed, "orders/second", *keys), 3600)
        events = {
            "person": person,
            "course": course,
            "day": np.full(len(of), day),
            "second": second[of],
            "order": order[of],
            "id": chance.bits(seed, "orders/line", order[of], course),
        }
        return pl.DataFrame(events, schema=ORDER_EVENTS).filter(pl.Series(courses.published_day[course] <= day))

    return every_day(of_day, calendar.days).unique(["person", "course"], keep="first", maintain_order=True)


def organic_views(
    people: People, courses: Courses, tastes: Tastes, orders: pl.DataFrame, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per view: looking around, and the views that lead to an order."""

    def of_day(day: int) -> pl.DataFrame:
        person, nth = _comers(people, VIEWS_PER_DAY, 1.35, "views", day=day, seed=seed, calendar=calendar)
        keys = (person, day, nth)
        course = chance.pick(tastes.course_views, person, chance.uniform(seed, "views/course", *keys))
        source = chance.among(np.array([0.68, 0.28, 0.04]), seed, "views/source", *keys)
        events = {
            "person": person,
            "course": course,
            "day": np.full(len(person), day),
            "second": moments(seed, "views/second", *keys),
            "source": source,
            "id": chance.bits(seed, "views/id", *keys),
        }
        return pl.DataFrame(events, schema=VIEW_EVENTS).filter(pl.Series(courses.published_day[course] <= day))

    looking = every_day(of_day, calendar.days)
    return pl.concat([looking, views_before(orders, seed=seed, source=0)])


def views_before(orders: pl.DataFrame, *, seed: int, source: int) -> pl.DataFrame:
    """The view shortly before each order line, on the same day."""
    line = orders["id"].to_numpy()
    return orders.select(
        "person",
        "course",
        "day",
        pl.max_horizontal(
            pl.col("second") - pl.Series(chance.whole(60, 3000, seed, "views/before order", line)), 0
        ).alias("second"),
        pl.lit(source, dtype=pl.Int64).alias("source"),
        pl.Series("id", chance.bits(seed, "views/before order id", line)),
    )


def organic_reviews(
    orders: pl.DataFrame, courses: Courses, tastes: Tastes, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per review: person, course, day, second, rating, id. About four in ten order lines are reviewed."""
    line = orders["id"].to_numpy()
    person, course = orders["person"].to_numpy(), orders["course"].to_numpy()
    liking = (
        1.6 * tastes.course_match[person, course]
        + 0.5 * courses.quality[course]
        + 0.9 * chance.normal(seed, "reviews/liking", line)
    )
    rating = 1 + np.searchsorted(np.array([-0.7, -0.1, 0.5, 1.3]), liking)
    day = orders["day"].to_numpy() + chance.whole(1, 20, seed, "reviews/after days", line)
    reviewed = chance.happens(REVIEW_SHARE, seed, "reviews/writes", line) & (day < calendar.days)
    events = {
        "person": person,
        "course": course,
        "day": day,
        "second": moments(seed, "reviews/second", line),
        "rating": rating.astype(np.int64),
        "id": chance.bits(seed, "reviews/id", line),
    }
    return pl.DataFrame(events).filter(pl.Series(reviewed))


def is_refunded(orders: pl.DataFrame, *, seed: int) -> chance.Bools:
    return chance.happens(REFUND_SHARE, seed, "orders/refunded", orders["id"].to_numpy())


def paid_fen(orders: pl.DataFrame, courses: Courses, *, seed: int) -> chance.Ints:
    """Price of the day less a discount: three in ten lines at 10 or 20 % off."""
    line = orders["id"].to_numpy()
    price = courses.price_at(orders["course"].to_numpy(), orders["day"].to_numpy())
    percent = np.array([100, 90, 80])[chance.among(np.array([0.7, 0.2, 0.1]), seed, "orders/discount", line)]
    return np.asarray(price * percent // 100)


def views_drop(
    events: pl.DataFrame, people: People, courses: Courses, tastes: Tastes, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per view, in contract columns, with `day` and `person` for internal use."""
    person, course = events["person"].to_numpy(), events["course"].to_numpy()
    logs = (
        3.4
        + 1.6 * tastes.course_match[person, course]
        + 0.8 * chance.normal(seed, "views/dwell", events["id"].to_numpy())
    )
    return pl.DataFrame(
        {
            "day": events["day"],
            "person": events["person"],
            "view_id": chance.tokens("cv_", events["id"].to_numpy()),
            "user_id": named(people.user_id, person),
            "course_id": named(courses.course_id, course),
            "viewed_at": calendar.at(events["day"].to_numpy(), events["second"].to_numpy()),
            "dwell_seconds": np.clip(np.exp(logs).astype(np.int64), 2, 7200),
            "source": named(SOURCES, events["source"].to_numpy()),
        }
    ).sort("viewed_at", "view_id")


def orders_drop(
    events: pl.DataFrame, people: People, courses: Courses, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per order line, in contract columns, with `day` and `person` for internal use."""
    status = np.where(is_refunded(events, seed=seed), 1, 0)
    return pl.DataFrame(
        {
            "day": events["day"],
            "person": events["person"],
            "order_line_id": chance.tokens("cl_", events["id"].to_numpy()),
            "order_id": chance.tokens("co_", events["order"].to_numpy()),
            "user_id": named(people.user_id, events["person"].to_numpy()),
            "course_id": named(courses.course_id, events["course"].to_numpy()),
            "ordered_at": calendar.at(events["day"].to_numpy(), events["second"].to_numpy()),
            "paid_fen": paid_fen(events, courses, seed=seed),
            "status": named(("paid", "refunded"), status),
        }
    ).sort("ordered_at", "order_line_id")


def reviews_drop(
    events: pl.DataFrame, people: People, courses: Courses, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per review, in contract columns, with `day` and `person` for internal use."""
    course = events["course"].to_numpy()
    return pl.DataFrame(
        {
            "day": events["day"],
            "person": events["person"],
            "review_id": chance.tokens("cr_", events["id"].to_numpy()),
            "user_id": named(people.user_id, events["person"].to_numpy()),
            "course_id": named(courses.course_id, course),
            "reviewed_at": calendar.at(events["day"].to_numpy(), events["second"].to_numpy()),
            "rating": events["rating"],
            "review_text": review_texts(
                events["rating"].to_numpy(), [courses.topics[c][0] for c in course], events["id"].to_numpy(), seed=seed
            ),
        }
    ).sort("reviewed_at", "review_id")


def named(names: tuple[str, ...], index: chance.Ints) -> pl.Series:
    """`names[index]` as text."""
    return pl.Series("names", names, dtype=pl.String).gather(index)


def _comers(
    people: People, rate: float, spread: float, stream: str, *, day: int, seed: int, calendar: Calendar
) -> tuple[chance.Ints, chance.Ints]:
    """(person, nth): who does something on `day`, with a running number where one person does it several times."""
    users = np.flatnonzero(people.user_day <= day)
    activity = 0.75 * people.course_value[users] + 0.66 * chance.normal(seed, "course firm/activity", users)
    rates = rate * np.exp(spread * activity) * (1.25 if calendar.is_weekend(day) else 0.9)
    count = chance.poisson(np.minimum(rates, 4.0), seed, f"{stream}/count", users, day)
    person = np.repeat(users, count)
    nth = np.arange(len(person)) - np.repeat(np.cumsum(count) - count, count)
    return person, nth
