"""How a person's value of a feature is said: "3 claims reported", "¥1,230 paid for courses", "no course bought yet".

Here: one entry per feature that a model of segments uses, with its unit and what an empty value means; a readable
fallback from the name for any other. Not here: which features are named to a person (``reasons``).

Amounts are said in yuan (1 yuan = 100 fen), times in minutes or hours, spans in days, months or years.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from xmkt_assets.segments.intervals import Floats


@dataclass(frozen=True)
class Unit:
    """`rounded`: values of the table → the numbers that are said; `text`: one such number → words."""

    rounded: Callable[[Floats], Floats]
    text: Callable[[float], str]


@dataclass(frozen=True)
class Words:
    """What is said of one feature: `many` has a place {} for the number with its unit; `one`, `none`, `empty` stand
    for a number of 1, of 0, and for no value at all."""

    unit: Unit
    many: str
    empty: str
    one: str | None = None
    none: str | None = None

    def phrases(self, values: Floats) -> tuple[list[str], np.ndarray[tuple[int], np.dtype[np.intp]]]:
        """Different phrases of `values`, shape (n,), nan = empty, and for each value the position of its phrase."""
        said, position = np.unique(self.unit.rounded(values), return_inverse=True)
        return [self._phrase(float(number)) for number in said], position

    def _phrase(self, number: float) -> str:
        if np.isnan(number):
            return self.empty
        if number == 0 and self.none is not None:
            return self.none
        if number == 1 and self.one is not None:
            return self.one
        return self.many.format(self.unit.text(number))


def say(feature: str, value: float | None) -> str:
    """One value in words; None or nan = empty."""
    (phrase,), _ = words_of(feature).phrases(np.array([np.nan if value is None else value], dtype=np.float64))
    return phrase


def words_of(feature: str) -> Words:
    """The words of a feature; made from its name and unit where `WORDS` has none."""
    return WORDS.get(feature) or _from_name(feature)


def _minutes(seconds: Floats) -> Floats:
    return np.where(seconds > 0, np.maximum(np.round(seconds / 60), 1), seconds)


def _duration(minutes: float) -> str:
    if minutes < 120:
        return _counted(minutes, "minute")
    return _counted(round(minutes / 60), "hour")


def _span(days: float) -> str:
    if days < 92:
        return _counted(days, "day")
    months = round(days / 30.44)
    return _counted(months, "month") if months < 24 else _counted(round(days / 365.25), "year")


def _counted(number: float, noun: str) -> str:
    return f"{number:,.0f} {noun}" if number == 1 else f"{number:,.0f} {noun}s"


def _yuan(fen: Floats) -> Floats:
    """Whole yuan; under ten, to the fen."""
    yuan = fen / 100
    return np.where(np.abs(yuan) < 10, yuan, np.round(yuan))


def _money(yuan: float) -> str:
    amount = f"{abs(yuan):,.0f}" if yuan == round(yuan) else f"{abs(yuan):,.2f}"
    return f"{'-' if yuan < 0 else ''}¥{amount}"


MONEY: Final = Unit(_yuan, _money)
MINUTES: Final = Unit(_minutes, _duration)
DAYS: Final = Unit(np.round, _span)
DAYS_TO_60: Final = Unit(np.round, lambda days: "60 days or more" if days >= 60 else _span(days))  # 60 = or more
TIMES: Final = Unit(lambda values: np.round(values, 1), lambda n: f"{n:,.0f}" if n == round(n) else f"{n:,.1f}")
SHARE: Final = Unit(lambda values: np.round(values, 2), lambda share: f"{share:.0%}")
NUMBER: Final = Unit(lambda values: np.round(values, 2), lambda n: f"{n:,.0f}" if n == round(n) else f"{n:,.2f}")
FLAG: Final = Unit(lambda values: np.where(np.isnan(values), values, values != 0), lambda n: f"{n:.0f}")


def _count(one: str, many: str, tail: str = "", *, empty: str | None = None) -> Words:
    end = f" {tail}" if tail else ""
    return Words(TIMES, f"{{}} {many}{end}", empty or f"{many}{end} not known", f"1 {one}{end}", f"no {many}{end}")


def _sum(of: str, *, empty: str | None = None) -> Words:
    return Words(MONEY, f"{{}} {of}", empty or f"amount {of} not known", none=f"nothing {of}")


def _time(where: str) -> Words:
    return Words(MINUTES, f"{{}} {where}", f"time {where} not known", none=f"no time {where}")


def _since(event: str, *, never: str) -> Words:
    return Words(DAYS, f"{{}} since {event}", never, none=f"{event} today")


def _part(of: str, *, empty: str) -> Words:
    return Words(SHARE, f"{{}} of {of}", empty)


def _change(of: str) -> Words:
    """A ratio from -1 to 1, see ``segments.person_trends``."""
    return Words(
        NUMBER, f"trend of {of} {{}} (-1 stopped, 1 begun)", f"trend of {of} not known", none=f"{of} as before"
    )


def _flag(yes: str, no: str) -> Words:
    return Words(FLAG, "{}", f"not known whether {yes}", one=yes, none=no)


_30D: Final = "in the last 30 days"
_THIRDS: Final = {"first": "12 to 8 weeks ago", "middle": "8 to 4 weeks ago", "last": "in the last 4 weeks"}
WORDS: Final[Mapping[str, Words]] = {
    # who the person is
    "age_years": Words(TIMES, "{} years old", "age not known"),
    "age_clean_years": Words(TIMES, "{} years old", "age not known"),
    "age_is_imputed": _flag("age not stated", "age stated"),
    "city_tier": Words(TIMES, "home city of tier {}", "home city not known"),
    "city_tier_clean": Words(TIMES, "home city of tier {}", "home city not known"),
    "city_tier_is_imputed": _flag("home city not stated", "home city stated"),
    "has_course_side": _flag("a user of the course platform", "no user of the course platform"),
    "is_user": _flag("a user of the course platform", "no user of the course platform"),
    "is_customer": _flag("a customer of the insurer", "no customer of the insurer"),
    "has_insurance_side": _flag("a customer of the insurer", "no customer of the insurer"),
    # courses
    "course_view_count": _count("course view", "course views"),
    "course_view_30d_count": _count("course view", "course views", _30D),
    "course_view_day_30d_count": _count("day with a course view", "days with a course view", _30D),
    "viewed_course_30d_count": _count("course looked at", "different courses looked at", _30D),
    "viewed_course_count": _count("course looked at", "different courses looked at"),
    "dwell_seconds": _time("on course pages"),
    "dwell_clean_seconds": _time("on course pages"),
    "dwell_30d_seconds": _time(f"on course pages {_30D}"),
    "dwell_30d_clean_seconds": _time(f"on course pages {_30D}"),
    "days_since_course_view": _since("the last course view", never="never viewed a course"),
    "days_since_course_view_30d": _since("the last course view", never=f"no course viewed {_30D}"),
    "course_order_count": _count("course order", "course orders"),
    "course_order_30d_count": _count("course order", "course orders", _30D),
    "bought_course_count": _count("course bought", "courses bought"),
    "refunded_course_count": _count("course given back", "courses given back"),
    "paid_fen": _sum("paid for courses"),
    "paid_30d_fen": _sum(f"paid for courses {_30D}"),
    "paid_clean_fen": _sum("paid for courses"),
    "days_since_course_order": _since("the last course order", never="no course bought yet"),
    "mean_rating": Words(NUMBER, "{} stars given on average", "no course reviewed yet"),
    "mean_rating_30d": Words(NUMBER, f"{{}} stars given on average {_30D}", f"no course reviewed {_30D}"),
    "review_30d_count": _count("course review", "course reviews", f"written {_30D}"),
    "review_count": _count("course review", "course reviews", "written"),
    "negative_review_share": _part("reviews with one or two stars", empty="no course reviewed yet"),
    "read_review_count": _count("review", "reviews", "whose mood could be read"),
    "mean_sentiment_share": Words(
        SHARE, "mood of reviews {}, 0% negative to 100% positive", "no mood of reviews known"
    ),
    "course_price_level_share": Words(SHARE, "price level of courses {}", "price level of courses not known"),
    "discounted_line_share": _part("courses bought at a discount", empty="no discount known"),
    "discount_share": _part("list prices saved by discounts", empty="no discount known"),
    "teacher_count": _count("teacher bought from", "different teachers bought from"),
    "top_teacher_share": _part("courses bought from the favourite teacher", empty="no teacher known"),
    # insurance
    "product_view_count": _count("view of insurance products", "views of insurance products"),
    "product_view_30d_count": _count("view of insurance products", "views of insurance products", _30D),
    "product_dwell_seconds": _time("on pages of insurance products"),
    "product_dwell_clean_seconds": _time("on pages of insurance products"),
    "product_dwell_30d_seconds": _time(f"on pages of insurance products {_30D}"),
    "viewed_product_30d_count": _count("insurance product looked at", "insurance products looked at", _30D),
    "days_since_product_view_30d": _since("the last look at an insurance product", never=f"no insurance viewed {_30D}"),
    "days_since_product_view": _since("the last look at an insurance product", never="never looked at insurance"),
    "active_policy_count": _count("policy", "policies", "in force"),
    "issued_policy_count": _count("policy", "policies", "issued so far"),
    "health_policy_count": _count("health policy", "health policies", "in force"),
    "accident_policy_count": _count("accident policy", "accident policies", "in force"),
    "motor_policy_count": _count("motor policy", "motor policies", "in force"),
    "travel_policy_count": _count("travel policy", "travel policies", "in force"),
    "life_policy_count": _count("life policy", "life policies", "in force"),
    "renewed_policy_count": _count("policy", "policies", "renewed"),
    "lapsed_policy_count": _count("policy", "policies", "ended or cancelled"),
    "ended_policy_60d_count": _count("policy", "policies", "ended or cancelled in the last 60 days"),
    "shortest_term_days": Words(DAYS, "shortest policy of {}", "terms not shared"),
    "first_end_days": Words(DAYS_TO_60, "{} until the first policy ends", "end of cover not known", none="cover ends"),
    "days_since_begun": Words(
        DAYS_TO_60, "{} since the newest term began", "terms not shared", none="term began today"
    ),
    "product_price_level_share": Words(SHARE, "price level of policies {}", "price level of policies not known"),
    "premium_fen": _sum("in premiums", empty="premiums not shared"),
    "premium_clean_fen": _sum("in premiums", empty="premiums not shared"),
    "active_premium_fen": _sum("in premiums of policies in force", empty="premiums not shared"),
    "cover_left_days": Words(DAYS, "{} of cover left among the next 60", "end of cover not known", none="cover ends"),
    "days_since_policy_issue": _since("the last new policy", never="no policy taken out yet"),
    # claims (only behind the consent to the use of sensitive data)
    "claim_count": _count("claim", "claims", "in the last year"),
    "claimed_fen": _sum("claimed in the last year"),
    "days_since_claim": _since("the last claim", never="no claim in the last year"),
    "look_back_days": Words(DAYS, "claims known for {}", "claims not known", none="no claims on file"),
    # both
    "days_since_first_activity": Words(DAYS, "known for {}", "no activity yet", none="first seen today"),
    "days_since_last_activity": _since("the last activity", never="no activity yet"),
    "outlier_count": _count("unusual event", "unusual events"),
    # interests
    "topic_count": _count("topic of interest", "topics of interest"),
    "favourite_topic_share": _part("all interest in one topic", empty="no interest known"),
    "topic_evenness_share": Words(SHARE, "interests {} even", "no interest known"),
    "effective_topic_count": _count("equally strong interest", "equally strong interests", empty="no interest known"),
    # where the person is heading, over 12 weeks
    "visit_84d_count": _count("visit", "visits", "in the last 12 weeks"),
    "insurer_visit_84d_count": _count("visit", "visits", "to the insurer in the last 12 weeks"),
    **{f"visit_{third}_28d_count": _count("visit", "visits", when) for third, when in _THIRDS.items()},
    **{f"dwell_{third}_28d_seconds": _time(f"in visits {when}") for third, when in _THIRDS.items()},
    **{f"paid_{third}_28d_fen": _sum(f"paid for courses {when}") for third, when in _THIRDS.items()},
    **{
        f"premium_{third}_28d_fen": _sum(f"in premiums {when}", empty="premiums not shared")
        for third, when in _THIRDS.items()
    },
    "visit_trend_ratio": _change("visits"),
    "dwell_trend_ratio": _change("time spent"),
    "paid_trend_ratio": _change("payments for courses"),
    "visit_slope_per_week": Words(NUMBER, "{} visits more per week with each week", "change of visits not known"),
    "active_week_count": _count("week", "weeks", "of 12 with a visit"),
    "active_day_count": _count("day", "days", "with a visit in the last 12 weeks"),
    "mean_gap_days": Words(DAYS, "{} between visits", "too few visits to tell how often"),
    "gap_variation": Words(NUMBER, "irregularity of visits {}, 0 like a clock", "too few visits to tell how regular"),
    "weekend_visit_share": _part("visits at weekends", empty="no visit in the last 12 weeks"),
    "evening_visit_share": _part("visits in the evening", empty="no visit in the last 12 weeks"),
}

_UNITS: Final[tuple[tuple[str, Unit], ...]] = (
    ("_fen", MONEY),
    ("_seconds", MINUTES),
    ("_days", DAYS),
    ("_share", SHARE),
    ("_count", TIMES),
)
_WINDOW: Final = re.compile(r"_(\d+)d(?=_|$)")


def _from_name(feature: str) -> Words:
    """Readable words of a feature nobody wrote words for: ``spent_90d_fen`` → "spent in the last 90 days: ¥12"."""
    if "=" in feature:  # one category of several, 1 = it is this one
        name, _, category = feature.partition("=")
        label = _label(name)
        return _flag(f"{label}: {category}", f"{label}: not {category}")
    if feature.startswith("days_since_"):
        event = f"the last {_label(feature.removeprefix('days_since_'))}"
        return _since(event, never=f"{event}: never")
    if feature.startswith(("is_", "has_")) or "_is_" in feature:
        label = _label(feature)
        return _flag(f"{label}: yes", f"{label}: no")
    for suffix, unit in _UNITS:
        if feature.endswith(suffix):
            return _labelled(feature.removesuffix(suffix), unit)
    return _labelled(feature, NUMBER)


def _labelled(name: str, unit: Unit) -> Words:
    label = _label(name)
    return Words(unit, f"{label.replace('{', '{{').replace('}', '}}')}: {{}}", f"{label}: not known")


def _label(name: str) -> str:
    """``spent_90d_clean`` → "spent in the last 90 days"; cleaned values are said like the others."""
    windows = "".join(f" in the last {days} days" for days in _WINDOW.findall(name))
    words = _WINDOW.sub("", name).replace("_clean", "").replace("_", " ").strip()
    return f"{words}{windows}"
