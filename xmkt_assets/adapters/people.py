"""What published data lack of a person and the platform needs: identifiers that two firms share, and consents.

Belongs here: seeded draws and the rows made of them. Nothing in this module is observed; every row it makes says so
(`link_is_synthetic`, `notice_version`, `source`). Does not belong here: anything read from a published file but ids.
"""

import hmac
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import polars as pl

from xmkt_assets.adapters.sources import read_bruun_purchases, read_hahow_purchases

LINK_SHARE: Final = 0.3
LINK_SEED: Final = 7
NOTICE: Final = "public-research-data"
LINKED_NOTICE: Final = "public-research-data;synthetic-link"

Purpose = Literal["profiling", "joint_marketing", "measurement", "sensitive_profiling"]
PURPOSES: Final[tuple[Purpose, ...]] = ("profiling", "joint_marketing", "measurement", "sensitive_profiling")


def draw(key: str, *, seed: int) -> int:
    """A whole number below 2**64, uniform over seeds and keys.

    A hash, not a generator: the draw of one key does not depend on which other keys exist, nor on library versions.
    """
    return int.from_bytes(sha256(f"{seed}|{key}".encode()).digest()[:8], "big")


def draw_pairs(user_ids: Iterable[str], customer_ids: Iterable[str], *, share: float, seed: int) -> dict[str, str]:
    """customer_id → user_id for `share` of the users, drawn without replacement on both sides. Nothing is observed.

    Raises ValueError where there are fewer customers than users to link.
    """
    users = sorted(set(user_ids), key=lambda user: draw(f"user|{user}", seed=seed))
    customers = sorted(set(customer_ids), key=lambda customer: draw(f"customer|{customer}", seed=seed))
    wanted = round(share * len(users))
    if not 0 <= wanted <= min(len(users), len(customers)):
        raise ValueError(
            f"A link share of {share} asks for {wanted} pairs of {len(users)} users and {len(customers)} customers. "
            f"Choose a share between 0 and {min(1.0, len(customers) / max(len(users), 1)):.3f}."
        )
    return dict(zip(customers[:wanted], users[:wanted], strict=True))


def draw_identifiers(data: Path, *, side: Literal["users", "customers"], share: float, seed: int) -> pl.DataFrame:
    """One row per person of one firm: subject_id, phone_hash, link_is_synthetic.

    Linked people carry the same phone_hash on both sides, so both adapters must be called with the same share and
    seed; everyone else has a hash of their own and link_is_synthetic false, because it joins them to nobody. No phone
    number stands behind any of the hashes.
    """
    user_ids = read_hahow_purchases(data)["user_id"].unique().sort().to_list()
    customer_ids = read_bruun_purchases(data)["customer_id"].unique().sort().to_list()
    pairs = draw_pairs(user_ids, customer_ids, share=share, seed=seed)
    ids = user_ids if side == "users" else customer_ids
    owners = {subject: pairs.get(subject, subject) for subject in ids}
    linked = set(pairs.values())
    return pl.DataFrame(
        {
            "subject_id": list(owners),
            "phone_hash": [_hash_token(owner, seed=seed) for owner in owners.values()],
            "link_is_synthetic": [owner in linked for owner in owners.values()],
        },
        schema={"subject_id": pl.String, "phone_hash": pl.String, "link_is_synthetic": pl.Boolean},
    )


def grant_consents(people: pl.DataFrame, *, purposes: Sequence[Purpose], decided_on: date) -> pl.DataFrame:
    """One row per person and purpose: a grant that nobody gave, made so that the gates let published data through.

    `people` has subject_id and link_is_synthetic. `source` is research_data, and `notice_version` says so again and
    names the people whose link is synthetic.
    """
    return (
        people.select("subject_id", "link_is_synthetic")
        .join(pl.DataFrame({"purpose": purposes}), how="cross", maintain_order="left_right")
        .select(
            pl.format("research-{}-{}", "subject_id", "purpose").alias("consent_id"),
            "subject_id",
            "purpose",
            recipient=pl.lit("both"),
            decision=pl.lit("granted"),
            notice_version=pl.when("link_is_synthetic").then(pl.lit(LINKED_NOTICE)).otherwise(pl.lit(NOTICE)),
            source=pl.lit("research_data"),
            decided_at=pl.lit(datetime.combine(decided_on, time.min)),
        )
    )


def describe_link(people: pl.DataFrame, *, seed: int) -> str:
    """The sentence about the link that belongs to every number made from these people."""
    return (
        f"link_is_synthetic: {people['link_is_synthetic'].sum():,} of {people.height:,} people were joined to the "
        f"other firm by a draw with seed {seed}, not observed; no effect of one firm on the other follows from them."
    )


def _hash_token(owner: str, *, seed: int) -> str:
    return hmac.new(f"synthetic-link-{seed}".encode(), owner.encode(), sha256).hexdigest()
