"""Attributes of people that models of segments may not use. Pure, and short on purpose: a compliance officer reads it.

A model may not use an attribute below unless `PERMITTED` says so and why. That none does, by whatever name, computation
or number of tables in between, is proven by ``xmkt_assets_tests/test_protected.py`` on the lineage of the columns.
Leaving an attribute out does not make a model fair: what else is known may stand for it. How groups really fare is
counted in ``segments.fairness``. Not here: who may be sold what (age limits of products are law and contract, see
``recommenders.product_eligibility``), and what an audience of a campaign may be (its plan).
"""

from typing import Final, NamedTuple


class Attribute(NamedTuple):
    """`sources`: columns of feeds, and of staging, that hold it as stated; `names`: what it is called in segments."""

    name: str
    sources: tuple[str, ...]
    names: tuple[str, ...]
    why: str


class Permission(NamedTuple):
    """An attribute that one model may use all the same."""

    model: str
    attribute: str
    why: str


GENDER: Final = Attribute(
    "gender",
    sources=("gender", "gender_clean"),
    names=("gender", "gender_clean", "is_female", "is_male"),
    why=(
        "Nobody is to be scored or offered less for being a woman or a man. Automated decisions must be fair and may "
        "not treat people differently without reason in prices and other terms (Personal Information Protection Law of "
        "the PRC, 2021, Art. 24); women may not be discriminated against (Law on the Protection of Women's Rights and "
        "Interests, 2022, Art. 2). No exception for claim risk: the house follows the principle of Test-Achats (Court "
        "of Justice of the EU, C-236/09, 2011), which ended gender as a factor of insurance; it is no law here."
    ),
)
AGE: Final = Attribute(
    "age",
    sources=("birth_year", "birth_year_clean"),
    names=("birth_year", "birth_year_clean", "age_years", "age_clean_years", "age_band", "age_is_imputed"),
    why=(
        "The house's rule, under the same Art. 24: an offer follows from what somebody does, not from how old somebody "
        "is. Age limits of products are kept elsewhere, by eligibility."
    ),
)
ATTRIBUTES: Final = (GENDER, AGE)

# Every model that puts people of segments into groups or gives them a score.
MODELS: Final = (
    "value_clusters",
    "claim_risk",
    "lapse_risk",
    "course_purchase",
    "product_purchase",
    "next_interest",
)
PERMITTED: Final = (
    Permission(
        "claim_risk",
        "age",
        "Actuarial: illness and accident depend on age, and the age of the insured is part of a contract of personal "
        "insurance (Insurance Law of the PRC, Art. 32). The score plans claims work and never reaches marketing: "
        "segments.claim_risk is a table of sensitive data (xmkt_assets/purposes.py).",
    ),
)
# Rows about people that Python writes into segments and that come of no model above.
NO_MODEL: Final = {
    "segments.review_sentiment": "how a review sounds, from its own words; nothing else of its author is read",
}


class UndeclaredModelError(LookupError):
    """A model of which nobody has said what it may use."""


def forbidden_for(model: str) -> tuple[Attribute, ...]:
    """The attributes that `model` may not use."""
    if model not in MODELS:
        raise UndeclaredModelError(
            f"{model} is no model of {__name__}; found {', '.join(MODELS)}. Name it in MODELS, and in PERMITTED with "
            "the reason if it must use gender or age."
        )
    permitted = {p.attribute for p in PERMITTED if p.model == model}
    return tuple(a for a in ATTRIBUTES if a.name not in permitted)


def used_columns(model: str) -> tuple[tuple[str, str], ...]:
    """(table, column) of every feature of `model`, as its module declares them."""
    return tuple((table, feature) for table, features in _inputs(model) for feature in features)


def made_by(table: str) -> str | None:
    """The model whose scores, or groups, are the rows of `table`; None where the table is of no model."""
    name = table.removeprefix("segments.").removesuffix("_validation").removesuffix("_comparison")
    name = {"person_clusters": "value_clusters"}.get(name, name)
    return name if table.startswith("segments.") and name in MODELS else None


def _inputs(model: str) -> list[tuple[str, tuple[str, ...]]]:
    from xmkt_assets.segments import clusters, interest_features
    from xmkt_assets.segments.targets import TARGETS

    if model == "value_clusters":
        return [("segments.person_features", clusters.FEATURES)]
    if model == "next_interest":  # per topic; the percentage it adds is made of the same columns
        return [("segments.interest_examples", interest_features.SIGNALS)]
    found = [(target.examples, target.features) for target in TARGETS if target.name == model]
    if not found:
        raise UndeclaredModelError(f"{model}: nobody says which columns it uses. Add them to _inputs of {__name__}")
    return found
