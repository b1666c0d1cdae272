"""One person's profile as a page of plain words: what the platform concludes of somebody, from what, and what it leaves
out. For the person who asks, and for whoever answers them.

Here: rows of ``segments.person_profile`` in, text out. Not here: reading the lake (``xmkt_assets.person_page``), and
everything that is stored of a person row by row, which the firms' own answer to an access request holds.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple


class Likelihood(NamedTuple):
    """A probability of the profile: the names of its columns begin with `name`; `words` say what it is of."""

    name: str
    words: str


LIKELIHOODS: Final = (
    Likelihood("lapse_risk", "losing a policy within 60 days"),
    Likelihood("course_purchase", "buying a course within 30 days"),
    Likelihood("product_purchase", "taking out a policy within 60 days"),
)
NOTHING: Final = "nothing is known"
NOT_USED: Final = (
    "Not used for any of this: gender, age, claims, declared income. Claims are looked at only for people who agreed "
    "to that separately, and what follows from them is not part of this profile."
)


def page(profile: Mapping[str, Any], *, earlier: Mapping[str, Any] | None) -> str:
    """The profile of a day in words; `earlier` is the person's row of the newest earlier day, if there is one."""
    lines = [
        f"Profile of {profile['person_id']} as of the end of {profile['as_of_on']} (UTC)",
        f"Known to: {_firms(profile)}.",
        "",
        f"Value group: {profile['value_label']}{_because(profile['value_why'])}",
        f"Interests: {profile['interests_in_words'] or NOTHING}",
        f"Likely next interest: {_next(profile)}",
        *(_likely(profile, one) for one in LIKELIHOODS),
        "",
        _behaviour(profile),
        *_changes(profile, earlier),
        "",
        NOT_USED,
    ]
    return "\n".join(lines)


def _firms(profile: Mapping[str, Any]) -> str:
    sides = (("has_course_side", "the course platform"), ("has_insurance_side", "the insurer"))
    return " and ".join(words for column, words in sides if profile[column])


def _because(why: str | None) -> str:
    return f" ({why})" if why else ""


def _next(profile: Mapping[str, Any]) -> str:
    if profile["next_interest"] is None:
        return NOTHING
    return f"{profile['next_interest']}, {profile['next_interest_share']:.0%}{_because(profile['next_interest_why'])}"


def _likely(profile: Mapping[str, Any], one: Likelihood) -> str:
    share, band = profile[f"{one.name}_share"], profile[f"{one.name}_band"]
    told = band if share is None else f"{share:.1%}, {band}"
    return f"Probability of {one.words}: {told}{_because(profile[f'{one.name}_why'])}"


def _behaviour(profile: Mapping[str, Any]) -> str:
    return (
        f"Made from: {profile['course_view_count']:,} course views, {profile['course_order_count']:,} paid orders "
        f"(¥{profile['paid_fen'] / 100:,.0f}), {profile['product_view_count']:,} views of insurance pages, "
        f"{profile['active_policy_count']:,} policies in force."
    )


def _changes(profile: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> Iterator[str]:
    if earlier is None:
        yield "No earlier profile is kept."
    elif earlier["value_label"] != profile["value_label"]:
        yield f"Value group on {earlier['as_of_on']}: {earlier['value_label']}."
    else:
        yield f"The value group is the same as on {earlier['as_of_on']}."
