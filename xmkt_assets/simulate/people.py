"""The simulated people: what drives them (hidden from the platform), which firm knows them, and their keyed hashes.

Phones and e-mail addresses are made up here, hashed at once and never stored. Does not belong here: what people do.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np

from xmkt_assets.simulate import chance, groups
from xmkt_assets.simulate.calendar import NEVER, Calendar
from xmkt_assets.simulate.catalogue import TOPICS

COURSES_ONLY_SHARE: Final = 0.45
INSURER_ONLY_SHARE: Final = 0.25
AGE_AT_YEAR: Final = 2026

OCCUPATIONS: Final = ("工程师", "教师", "销售", "医护", "公务员", "自由职业", "个体经营", "行政", "学生", "退休")
GENDERS: Final = ("female", "male", "other")

# Years by which an interest grows or fades with age, per topic: slope per ten years around the age of 42.
_AGE_SLOPE: Final = {"养老": 0.8, "健康": 0.3, "编程": -0.4, "职场": -0.4, "语言": -0.2, "理财": 0.1}


@dataclass(frozen=True)
class People:
    """People as arrays of one length (persons). Days count from the first day; `NEVER` = not within the world.

    `course_interests` and `product_interests` are (persons, topics) with rows that sum to 1. `user_day` and
    `customer_day` are the days on which a firm registers the person without any campaign; negative = before the start.
    """

    course_interests: chance.Floats
    product_interests: chance.Floats
    course_value: chance.Floats
    product_value: chance.Floats
    risk: chance.Floats
    is_do_not_disturb: chance.Bools
    birth_year: chance.Ints
    gender: chance.Ints
    occupation: chance.Ints
    city_tier: chance.Ints
    income_fen: chance.Ints
    user_day: chance.Ints
    customer_day: chance.Ints
    user_id: tuple[str, ...]
    customer_id: tuple[str, ...]
    user_phone_hash: tuple[str | None, ...]
    user_email_hash: tuple[str | None, ...]
    customer_phone_hash: tuple[str | None, ...]
    customer_email_hash: tuple[str | None, ...]

    @property
    def count(self) -> int:
        return len(self.birth_year)

    @property
    def age(self) -> chance.Ints:
        return AGE_AT_YEAR - self.birth_year


def make_people(count: int, *, seed: int, calendar: Calendar, link: float, planted: float = 0.0) -> People:
    """`count` people. With `link` 0 nothing about a person's courses tells of their insurance, nor the other way;
    with `planted` over 0 they belong to groups (see ``groups``)."""
    index = np.arange(count)
    birth_year = _birth_years(seed, index)
    years = AGE_AT_YEAR - birth_year
    rest = (1.0 - link**2) ** 0.5
    shared = _normals(seed, "people/interest", index) + link * _age_tilt(years)
    own = _normals(seed, "people/own product interest", index)
    value = chance.normal(seed, "people/value", index)
    product_value = 0.6 * link * value + (1.0 - 0.36 * link**2) ** 0.5 * chance.normal(seed, "people/own value", index)
    group = groups.drawn(count, seed=seed)
    value = groups.explained(value, tuple(g.course_value for g in groups.GROUPS), group, planted=planted)
    of_products = tuple(g.product_value for g in groups.GROUPS)
    product_value = groups.explained(product_value, of_products, group, planted=planted)
    user_day, customer_day = _registrations(seed, index, calendar, group=group, planted=planted)
    phones, emails = contacts(count, seed=seed)
    key = sha256(f"simulated sharing agreement {seed}".encode()).digest()
    hashes = _hashes(seed, index, phones, emails, key=key, is_both=(user_day < NEVER) & (customer_day < NEVER))
    disturbed = np.where(years > 58, 0.3, 0.05)
    return People(
        course_interests=_softmax(1.3 * shared),
        product_interests=_softmax(1.3 * (link * shared + rest * own)),
        course_value=value,
        product_value=product_value,
        risk=0.6 * chance.normal(seed, "people/risk", index) + 0.015 * (years - 42),
        is_do_not_disturb=chance.happens(disturbed, seed, "people/do not disturb", index),
        birth_year=birth_year,
        gender=chance.among(np.array([0.53, 0.465, 0.005]), seed, "people/gender", index),
        occupation=_occupations(seed, index, years),
        city_tier=1 + chance.among(np.array([0.25, 0.3, 0.22, 0.15, 0.08]), seed, "people/city", index),
        income_fen=_incomes(seed, index, product_value),
        user_day=user_day,
        customer_day=customer_day,
        user_id=tuple(f"u{n:06d}" for n in 100_000 + np.argsort(chance.uniform(seed, "people/user id", index))),
        customer_id=tuple(f"k{n:06d}" for n in 100_000 + np.argsort(chance.uniform(seed, "people/customer id", index))),
        **hashes,
    )


def contacts(count: int, *, seed: int) -> tuple[list[str], list[str]]:
    """Made-up phone numbers and e-mail addresses, one per person; 4 % share the phone of the person before them."""
    index = np.arange(count)
    own = 10**9 * chance.whole(3, 9, seed, "people/phone prefix", index) + chance.whole(
        0, 10**9 - 1, seed, "people/phone", index
    )
    shares = chance.happens(0.04, seed, "people/shares phone", index) & (index > 0)
    number = np.where(shares, own[index - 1], own)
    phones = [f"+861{n:010d}" for n in number]
    emails = [f"{token}@mail.example" for token in chance.tokens("", chance.bits(seed, "people/email", index))]
    return phones, emails


def keyed_hash(value: str, key: bytes) -> str:
    """HMAC-SHA256 as 64 hexadecimal digits."""
    return hmac.digest(key, value.encode(), "sha256").hex()


def _hashes(
    seed: int, index: chance.Ints, phones: list[str], emails: list[str], *, key: bytes, is_both: chance.Bools
) -> dict[str, tuple[str | None, ...]]:
    """What each firm holds: mostly the phone, often the e-mail, never neither; 4 % gave the second firm a new phone.

    A person whom only one firm knows would give the other one the same phone and e-mail on joining it.
    """
    user_phone = chance.happens(0.92, seed, "people/user gives phone", index)
    user_email = chance.happens(0.6, seed, "people/user gives email", index) | ~user_phone
    customer_phone = np.where(is_both, chance.happens(0.96, seed, "people/customer gives phone", index), user_phone)
    customer_email = np.where(is_both, chance.happens(0.5, seed, "people/customer gives email", index), user_email)
    changed = chance.happens(0.04, seed, "people/changed phone", index) & is_both
    new_phones = [f"{p}/former" for p in phones]  # any other value of the same owner will do: it is only hashed
    phone_hash = [keyed_hash(p, key) for p in phones]
    email_hash = [keyed_hash(e, key) for e in emails]
    other_hash = [keyed_hash(p, key) if c else "" for p, c in zip(new_phones, changed, strict=True)]
    insurer_phone = [o if c else p for p, o, c in zip(phone_hash, other_hash, changed, strict=True)]
    return {
        "user_phone_hash": _given(phone_hash, user_phone),
        "user_email_hash": _given(email_hash, user_email),
        "customer_phone_hash": _given(insurer_phone, customer_phone),
        "customer_email_hash": _given(email_hash, customer_email | ~customer_phone),
    }


def _given(values: list[str], gives: chance.Bools) -> tuple[str | None, ...]:
    return tuple(value if given else None for value, given in zip(values, gives, strict=True))


def _registrations(
    seed: int, index: chance.Ints, calendar: Calendar, *, group: chance.Ints, planted: float
) -> tuple[chance.Ints, chance.Ints]:
    """(user_day, customer_day): nine in ten before the start, the others in batches; some later join the other firm."""
    side = chance.uniform(seed, "people/side", index)
    is_user = (side < COURSES_ONLY_SHARE) | (side >= COURSES_ONLY_SHARE + INSURER_ONLY_SHARE)
    is_customer = side >= COURSES_ONLY_SHARE
    follows = chance.happens(planted, seed, "people/follows group", index)
    is_user = groups.decided(is_user, tuple(g.is_user for g in groups.GROUPS), group, follows)
    is_customer = groups.decided(is_customer, tuple(g.is_customer for g in groups.GROUPS), group, follows)
    crosses = chance.happens(0.06, seed, "people/insurer only joins courses", index) & ~is_user & ~follows
    user_day = _joining_day(seed, "user", index, calendar, late_share=np.where(crosses, 1.0, 0.1))
    customer_day = _joining_day(seed, "customer", index, calendar, late_share=np.full(len(index), 0.08))
    return np.where(is_user | crosses, user_day, NEVER), np.where(is_customer, customer_day, NEVER)


def _joining_day(
    seed: int, side: str, index: chance.Ints, calendar: Calendar, *, late_share: chance.Floats
) -> chance.Ints:
    late = chance.happens(late_share, seed, f"people/{side} joins late", index)
    within = calendar.batch_day(chance.whole(1, calendar.days - 1, seed, f"people/{side} joining day", index))
    before = -chance.whole(1, 1000, seed, f"people/{side} joined before", index)
    return np.where(late, np.where(within < calendar.days, within, NEVER), before)


def _birth_years(seed: int, index: chance.Ints) -> chance.Ints:
    years = np.floor(40 + 12 * chance.normal(seed, "people/age", index)).astype(np.int64)
    return AGE_AT_YEAR - np.clip(years, 18, 78)


def _age_tilt(years: chance.Ints) -> chance.Floats:
    """How much stronger each interest is at an age; (persons, topics)."""
    decades = (years - 42) / 10.0
    tilt = np.outer(decades, np.array([_AGE_SLOPE.get(topic, 0.0) for topic in TOPICS]))
    tilt[:, TOPICS.index("亲子")] += 0.9 * np.exp(-(((years - 35) / 8.0) ** 2)) - 0.4
    return np.asarray(tilt, dtype=np.float64)


def _occupations(seed: int, index: chance.Ints, years: chance.Ints) -> chance.Ints:
    drawn = chance.among(np.array([15, 10, 14, 9, 9, 10, 11, 12, 0.01, 0.01]), seed, "people/occupation", index)
    drawn = np.where(years >= 61, OCCUPATIONS.index("退休"), drawn)
    return np.where(years <= 21, OCCUPATIONS.index("学生"), drawn)


def _incomes(seed: int, index: chance.Ints, product_value: chance.Floats) -> chance.Ints:
    """Yearly income in fen, median about 110,000 yuan, in steps of 1,000 yuan."""
    logs = np.log(110_000.0) + 0.35 * product_value + 0.35 * chance.normal(seed, "people/income", index)
    return 100_000 * np.asarray(np.round(np.exp(logs) / 1000), dtype=np.int64)


def _normals(seed: int, stream: str, index: chance.Ints) -> chance.Floats:
    return chance.normal(seed, stream, index[:, None], np.arange(len(TOPICS))[None, :])


def _softmax(scores: chance.Floats) -> chance.Floats:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
