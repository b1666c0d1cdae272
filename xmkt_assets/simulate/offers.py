"""A campaign list read against a world: ids become person and item numbers, dates become days.

Does not belong here: what people do with an offer (``response``).
"""

from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any, Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance
from xmkt_assets.simulate.world import World

COLUMNS: Final = (
    "campaign_id",
    "arm",
    "course_id",
    "product_id",
    "channel",
    "user_id",
    "customer_id",
    "launched_on",
    "outcome_until_on",
)
ARMS: Final = ("treatment", "control")
CHANNELS: Final = ("email", "sms", "app_push", "phone", "page")


@dataclass(frozen=True)
class Offers:
    """One place per listed person. `course` and `product` are -1 where none is offered; `campaign` is a hash.

    `course_person` owns the user id and `product_person` the customer id; they differ only where the platform took
    two people for one. `knows_user` and `knows_customer` say which ids the list gives. Trap: where it took one person
    for two, that person has two places; `place` tells them apart, the person numbers do not.
    """

    campaign: chance.Bits
    place: chance.Bits
    campaign_id: tuple[str, ...]
    is_treated: chance.Bools
    course_person: chance.Ints
    product_person: chance.Ints
    knows_user: chance.Bools
    knows_customer: chance.Bools
    course: chance.Ints
    product: chance.Ints
    channel: tuple[str | None, ...]
    launch_day: chance.Ints
    until_day: chance.Ints

    @property
    def count(self) -> int:
        return len(self.campaign_id)

    def treated(self) -> "Offers":
        """The offers of the treatment arm alone."""
        keep = np.flatnonzero(self.is_treated)
        kept: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        shorter: dict[str, Any] = {
            name: tuple(v[i] for i in keep) if isinstance(v, tuple) else v[keep] for name, v in kept.items()
        }
        return Offers(**shorter)


def read_offers(world: World, campaign: pl.DataFrame) -> Offers:
    """Raises ValueError naming the column, the value and the remedy where the list does not fit the world."""
    _refuse_unfit(world, campaign)
    users = _numbers(campaign["user_id"], world.people.user_id, "user_id")
    customers = _numbers(campaign["customer_id"], world.people.customer_id, "customer_id")
    if (nobody := int(((users < 0) & (customers < 0)).sum())) > 0:
        raise ValueError(f"{nobody} rows have neither user_id nor customer_id; wanted at least one. Leave them out.")
    _refuse_repeats(campaign)
    days = {
        name: (campaign[name] - world.calendar.start_on).dt.total_days().to_numpy()
        for name in ("launched_on", "outcome_until_on")
    }
    bits = _campaign_bits(campaign["campaign_id"])
    return Offers(
        campaign=bits,
        place=chance.bits(world.seed, "campaign/place", bits, users, customers),
        campaign_id=tuple(campaign["campaign_id"]),
        is_treated=(campaign["arm"] == "treatment").to_numpy(),
        course_person=np.where(users >= 0, users, customers),
        product_person=np.where(customers >= 0, customers, users),
        knows_user=users >= 0,
        knows_customer=customers >= 0,
        course=_numbers(campaign["course_id"], world.courses.course_id, "course_id"),
        product=_numbers(campaign["product_id"], world.products.product_id, "product_id"),
        channel=tuple(campaign["channel"]),
        launch_day=days["launched_on"],
        until_day=days["outcome_until_on"],
    )


def _refuse_unfit(world: World, campaign: pl.DataFrame) -> None:
    if missing := [c for c in COLUMNS if c not in campaign.columns]:
        raise ValueError(
            f"The campaign list lacks the columns {missing}; wanted {list(COLUMNS)}. "
            "Give the list as campaigns.campaign_list has it."
        )
    if campaign.is_empty():
        raise ValueError(
            "The campaign list has no rows; nobody can answer it. Pass campaign=None to write days without one."
        )
    if strange := sorted(set(campaign["arm"]) - set(ARMS), key=str):
        raise ValueError(f"Column arm holds {strange}; wanted {list(ARMS)}.")
    if unknown := sorted(set(campaign["channel"].drop_nulls()) - set(CHANNELS)):
        raise ValueError(f"Column channel holds {unknown}; wanted one of {list(CHANNELS)}.")
    first, last = campaign["launched_on"].min(), campaign["outcome_until_on"].max()
    if (campaign["outcome_until_on"] < campaign["launched_on"]).any():
        raise ValueError("outcome_until_on lies before launched_on in some rows; wanted a window of at least one day.")
    calendar = world.calendar
    end = calendar.on(calendar.days - 1)
    if first < calendar.start_on or last > end:  # type: ignore[operator]
        raise ValueError(
            f"The window {first!s} to {last!s} leaves the world, {calendar.start_on} to {end}. Build it with more days."
        )


def _refuse_repeats(campaign: pl.DataFrame) -> None:
    for column in ("user_id", "customer_id"):
        listed = campaign.select("campaign_id", column).drop_nulls()
        if twice := sorted(set(listed.filter(listed.is_duplicated())[column])):
            raise ValueError(
                f"Column {column} holds {twice[:3]} twice within a campaign; wanted each account once. "
                "Leave the repeated rows out."
            )


def _numbers(ids: pl.Series, known: tuple[str, ...], column: str) -> chance.Ints:
    """Positions of `ids` in `known`, -1 where empty."""
    place = {name: position for position, name in enumerate(known)}
    strangers = sorted(set(ids.drop_nulls()) - place.keys())
    if strangers:
        raise ValueError(
            f"Column {column} holds {strangers[:3]}, which the world does not know. "
            "Build the world the list was made from."
        )
    return np.array([-1 if one is None else place[one] for one in ids], dtype=np.int64)


def _campaign_bits(names: pl.Series) -> chance.Bits:
    bits = {name: int.from_bytes(sha256(str(name).encode()).digest()[:8]) for name in set(names)}
    return np.array([bits[name] for name in names], dtype=np.uint64)
