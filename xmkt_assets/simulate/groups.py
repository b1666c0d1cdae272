"""Planted groups: what a segmentation of the simulated people should find, and who truly belongs where.

With `planted_groups` of a world's parameters at 0 nobody belongs to a group. Above 0 everybody does, and it is both the
part of a person's hidden values that the group explains and the chance that the group decides which firms know them.
Does not belong here: what people then do (``course_firm``, ``insurer_firm``).
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance

if TYPE_CHECKING:
    from xmkt_assets.simulate.world import World


class Group(NamedTuple):
    """`course_value`, `product_value`: of its typical person, in standard deviations of a world without groups.

    They lie far out, because what people do in a few months says little of what they are like.
    """

    name: str
    share: float
    is_user: bool
    is_customer: bool
    course_value: float
    product_value: float


GROUPS: Final = (
    Group("at home with both firms", 0.2, is_user=True, is_customer=True, course_value=3.0, product_value=5.0),
    Group("eager learner", 0.3, is_user=True, is_customer=False, course_value=3.0, product_value=-1.0),
    Group("insurance only", 0.2, is_user=False, is_customer=True, course_value=0.0, product_value=5.0),
    Group("passer-by", 0.3, is_user=True, is_customer=False, course_value=-1.2, product_value=-2.0),
)


def true_groups(world: "World") -> pl.DataFrame:
    """The group of each person: person (its number), user_id, customer_id, group. No rows where none were planted."""
    people = world.people
    rows = pl.DataFrame(
        {
            "person": np.arange(people.count),
            "user_id": pl.Series(people.user_id),
            "customer_id": pl.Series(people.customer_id),
            "group": pl.Series([g.name for g in GROUPS]).gather(drawn(people.count, seed=world.seed)),
        }
    )
    return rows if world.parameters.planted_groups > 0 else rows.clear()


def drawn(count: int, *, seed: int) -> chance.Ints:
    """The group of each person, as its place in `GROUPS`."""
    shares = np.array([g.share for g in GROUPS])
    return np.asarray(chance.among(shares, seed, "people/group", np.arange(count)), dtype=np.int64)


def explained(own: chance.Floats, typical: tuple[float, ...], group: chance.Ints, *, planted: float) -> chance.Floats:
    """A hidden value of which the group explains the part `planted` and the person's `own` the rest."""
    rest: float = (1.0 - planted**2) ** 0.5
    return np.asarray(planted * np.array(typical)[group] + rest * own, dtype=np.float64)


def decided(own: chance.Bools, by_group: tuple[bool, ...], group: chance.Ints, follows: chance.Bools) -> chance.Bools:
    """Whether a firm knows the person: as the group has it for those who follow it, else as the person's own."""
    return np.where(follows, np.array(by_group)[group], own)
