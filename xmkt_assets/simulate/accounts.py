"""The firms' registers: users and customers, in full on the first day, afterwards only new and changed rows."""

from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance
from xmkt_assets.simulate.calendar import NEVER, Calendar
from xmkt_assets.simulate.catalogue import TOPICS
from xmkt_assets.simulate.course_firm import named
from xmkt_assets.simulate.people import GENDERS, OCCUPATIONS, People

CHANGE_SHARE: Final = 0.08


def users_drop(
    people: People, members: chance.Ints, joined: chance.Ints, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per user and state, in contract columns, with `day` (drop day) and `person` for internal use."""
    states = _states(members, joined, "user", seed=seed, calendar=calendar)
    person, joined_day = states["person"].to_numpy(), states["joined"].to_numpy()
    shared = _shared_columns(people, states, "user", seed=seed, calendar=calendar)
    own = pl.DataFrame(
        {
            "user_id": named(people.user_id, person),
            "phone_hash": _hashes(people.user_phone_hash, person),
            "email_hash": _hashes(people.user_email_hash, person),
            "link_is_synthetic": np.zeros(len(person), dtype=np.bool_),
            "interests": _stated_interests(people, person, states["nth"].to_numpy(), seed=seed),
            "registered_at": calendar.at(joined_day, _joining_second(seed, "user", person)),
        }
    )
    return pl.concat([states.select("day", "person"), own, shared], how="horizontal").sort("day", "user_id")


def customers_drop(
    people: People, members: chance.Ints, joined: chance.Ints, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per customer and state, in contract columns, with `day` (drop day) and `person` for internal use."""
    states = _states(members, joined, "customer", seed=seed, calendar=calendar)
    person, joined_day = states["person"].to_numpy(), states["joined"].to_numpy()
    shared = _shared_columns(people, states, "customer", seed=seed, calendar=calendar)
    raised = np.where(states["nth"].to_numpy() > 0, 1.05, 1.0)
    income = pl.Series(np.round(people.income_fen[person] * raised / 100_000).astype(np.int64) * 100_000)
    declares = pl.Series(chance.happens(0.85, seed, "customer/declares income", person))
    own = pl.DataFrame(
        {
            "customer_id": named(people.customer_id, person),
            "phone_hash": _hashes(people.customer_phone_hash, person),
            "email_hash": _hashes(people.customer_email_hash, person),
            "link_is_synthetic": np.zeros(len(person), dtype=np.bool_),
            "annual_income_fen": pl.select(pl.when(declares).then(income)).to_series(),
            "became_customer_at": calendar.at(joined_day, _joining_second(seed, "customer", person)),
        }
    )
    return pl.concat([states.select("day", "person"), own, shared], how="horizontal").sort("day", "customer_id")


def _states(members: chance.Ints, joined: chance.Ints, side: str, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """Rows person, joined, nth (0 = first state, 1 = changed), day (of the drop)."""
    changes = chance.happens(CHANGE_SHARE, seed, f"{side}/changes", members)
    change_day = calendar.batch_day(
        np.maximum(joined, 0) + chance.whole(1, calendar.days, seed, f"{side}/change day", members)
    )
    first = {
        "person": members,
        "joined": joined,
        "nth": np.zeros(len(members), dtype=np.int64),
        "day": np.maximum(joined, 0),
    }
    second = {
        "person": members[changes],
        "joined": joined[changes],
        "nth": np.ones(int(changes.sum()), dtype=np.int64),
        "day": change_day[changes],
    }
    return pl.concat([pl.DataFrame(first), pl.DataFrame(second)]).filter(pl.col("day") < calendar.days)


def _shared_columns(people: People, states: pl.DataFrame, side: str, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """gender, birth_year, occupation, city_tier and updated_at; some are not stated, and some change."""
    person, nth = states["person"].to_numpy(), states["nth"].to_numpy()
    moved = np.where(nth > 0, chance.whole(1, 5, seed, f"{side}/moves to", person), people.city_tier[person])
    occupation = np.where(nth > 0, chance.whole(0, 7, seed, f"{side}/new work", person), people.occupation[person])
    first_state = np.where(states["joined"].to_numpy() < 0, -1, states["day"].to_numpy())
    updated_day = np.where(nth > 0, states["day"].to_numpy(), first_state)
    stated = {
        name: pl.Series(chance.happens(share, seed, f"{side}/states {name}", person)) for name, share in _STATED.items()
    }
    columns = {
        "gender": named(GENDERS, people.gender[person]),
        "birth_year": pl.Series(people.birth_year[person]),
        "occupation": named(OCCUPATIONS, occupation),
        "city_tier": pl.Series(moved),
    }
    given = [pl.select(pl.when(stated[name]).then(values).alias(name)).to_series() for name, values in columns.items()]
    updated = calendar.at(updated_day, _joining_second(seed, side, person)).alias("updated_at")
    return pl.DataFrame([*given, updated])


_STATED: Final = {"gender": 0.97, "birth_year": 0.96, "occupation": 0.9, "city_tier": 0.98}


def _stated_interests(people: People, person: chance.Ints, nth: chance.Ints, *, seed: int) -> list[str | None]:
    """Up to three topics a user says to like: mostly the true favourites; three in ten say nothing."""
    noise = chance.normal(seed, "user/stated interest", person[:, None], nth[:, None], np.arange(len(TOPICS))[None, :])
    ranked = np.argsort(-(np.log(people.course_interests[person]) + 0.7 * noise), axis=1)
    count = chance.whole(1, 3, seed, "user/states topics", person, nth)
    silent = chance.happens(0.3, seed, "user/states nothing", person)
    return [
        None if quiet else "|".join(TOPICS[t] for t in order[:k])
        for order, k, quiet in zip(ranked, count, silent, strict=True)
    ]


def _joining_second(seed: int, side: str, person: chance.Ints) -> chance.Ints:
    """Early in the day, so that what a person does on the joining day comes after."""
    return chance.whole(0, 1800, seed, f"{side}/joining second", person)


def _hashes(values: tuple[str | None, ...], person: chance.Ints) -> pl.Series:
    return pl.Series("hash", values, dtype=pl.String).gather(person)


def members_of(day: chance.Ints) -> tuple[chance.Ints, chance.Ints]:
    """(persons, joining days) of everybody a firm registers within the world."""
    members = np.flatnonzero(day < NEVER)
    return members, day[members]
