"""What the firms know people by besides one phone and one e-mail: second phones, identity cards, second accounts, and
from the last third of the days every phone and e-mail under the second key of the sharing agreement.

Made up, hashed at once, never stored, like those of ``people``. Does not belong here: who joins by them.
"""

from hashlib import sha256
from typing import Final, Literal

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance
from xmkt_assets.simulate.calendar import Calendar
from xmkt_assets.simulate.people import People, contacts, keyed_hash

SECOND_PHONE_SHARE: Final = 0.08
SECOND_ACCOUNT_SHARE: Final = 0.004  # of the users before the start
CARD_SHARE: Final = {"user": 0.1, "customer": 0.5}
ROTATION_LAG_DAYS: Final = {"user": 0, "customer": 7}  # the course platform changes the key first
Side = Literal["user", "customer"]


def signing_keys(seed: int) -> dict[str, bytes]:
    """Version → key of the simulated firms; the first is that of phone_hash and email_hash."""
    first = f"simulated sharing agreement {seed}"
    return {"v1": sha256(first.encode()).digest(), "v2": sha256(f"{first}, second key".encode()).digest()}


def identifiers_drop(
    people: People, members: chance.Ints, joined: chance.Ints, side: Side, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per further identifier of an account, in contract columns, with `day` and `person` for internal use."""
    names, phone_hash, email_hash = {
        "user": (people.user_id, people.user_phone_hash, people.user_email_hash),
        "customer": (people.customer_id, people.customer_phone_hash, people.customer_email_hash),
    }[side]
    doubled = _has_second_account(members, joined, seed=seed) & (side == "user")
    carded = doubled | chance.happens(CARD_SHARE[side], seed, f"identifiers/{side} gives card", members)
    phoned = chance.happens(SECOND_PHONE_SHARE, seed, "identifiers/second phone", members)
    phoned &= chance.happens(0.6, seed, f"identifiers/{side} gives second phone", members)
    told = [(n, names[n], "phone", "v1", f"second phone of {n}") for n in members[phoned].tolist()]
    told += [(n, names[n], "id_card", "v1", f"card of {n}") for n in members[carded].tolist()]
    told += [(n, _second_id(names[n]), "id_card", "v1", f"card of {n}") for n in members[doubled].tolist()]
    phones, emails = contacts(people.count, seed=seed)
    keys = signing_keys(seed)
    for n in members.tolist():
        if phone_hash[n] is not None:
            is_same = phone_hash[n] == keyed_hash(phones[n], keys["v1"])
            told.append((n, names[n], "phone", "v2", phones[n] if is_same else f"{phones[n]}/former"))
        if email_hash[n] is not None:
            told.append((n, names[n], "email", "v2", emails[n]))
    days = np.maximum(joined, 0)
    rotated = np.maximum(2 * calendar.days // 3 + ROTATION_LAG_DAYS[side], days)
    day_of = {"v1": dict(zip(members.tolist(), days.tolist(), strict=True))}
    day_of["v2"] = dict(zip(members.tolist(), rotated.tolist(), strict=True))
    rows = [
        (day, n, account, kind, version, keyed_hash(value, keys[version]))
        for n, account, kind, version, value in told
        if (day := day_of[version][n]) < calendar.days
    ]
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("day", "subject_id", "kind", "key_version")
    at = calendar.at(frame["day"].to_numpy(), np.zeros(frame.height, dtype=np.int64))
    return frame.with_columns(pl.lit("valid").alias("status"), at.alias("updated_at"))


_SCHEMA: Final = {
    "day": pl.Int64,
    "person": pl.Int64,
    **dict.fromkeys(("subject_id", "kind", "key_version", "identifier_hash"), pl.String),
}


def with_second_accounts(users: pl.DataFrame, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """The rows of users, with a second account of a few: another e-mail, no phone, opened the day before the start."""
    first = users.filter(pl.col("day") == 0).unique("person", keep="first", maintain_order=True)
    person = first["person"].to_numpy()
    old = first["registered_at"].to_numpy() < np.datetime64(calendar.start_on)
    chosen = first.filter(pl.Series(old & _has_second_account(person, np.where(old, -1, 0), seed=seed)))
    opened = calendar.at(np.full(chosen.height, -1), np.full(chosen.height, 86_000))
    key = signing_keys(seed)["v1"]
    others = [keyed_hash(f"second of {n}", key) for n in chosen["person"]]
    second = chosen.with_columns(
        pl.Series("user_id", [_second_id(name) for name in chosen["user_id"]], dtype=pl.String),
        pl.lit(None, pl.String).alias("phone_hash"),
        pl.Series("email_hash", others, dtype=pl.String),
        opened.alias("registered_at"),
        opened.alias("updated_at"),
    )
    return pl.concat([users, second]).sort("day", "user_id")


def _has_second_account(members: chance.Ints, joined: chance.Ints, *, seed: int) -> chance.Bools:
    return chance.happens(SECOND_ACCOUNT_SHARE, seed, "identifiers/second account", members) & (joined < 0)


def _second_id(user_id: str) -> str:
    """Sorts after every first account, which begin with u1."""
    return f"u9{user_id[2:]}"
