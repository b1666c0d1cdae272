"""Model card (Mitchell et al. 2019): what a person must know of a model before relying on its scores. Pure: numbers in,
markdown out.

Here: the words. Not here: the numbers (``scoring``), where the card is kept (``xmkt_assets.assets.segments.scores``).
"""

from datetime import date

from xmkt_assets.segments.calibration import Calibration
from xmkt_assets.segments.candidates import CANDIDATES
from xmkt_assets.segments.feature_words import say
from xmkt_assets.segments.scoring import FOLDS, ScoreReport, Scores
from xmkt_assets.segments.targets import Target


def model_card(target: Target, found: Scores, *, day: date, snapshot_id: int, seed: int) -> str:
    """The card of one day's model, or of why there is none."""
    outcome = f"Not in use. {found.reason}." if found.reason else f"In use: {_about(found)}."
    sections = [
        f"# {target.title}, as of {day}",
        outcome,
        f"## What for\n\nThe probability that a person {target.event}. For {target.who}. {target.serves}",
        f"## What it must not be used for\n\n{target.never}",
        _data(target, found.report, day=day, snapshot_id=snapshot_id, seed=seed),
        _features(target),
        *(_numbers(found.report) if found.report else []),
        _limits(target),
    ]
    return "\n\n".join(sections) + "\n"


def _about(found: Scores) -> str:
    name = found.model.name if found.model else ""
    about = next((c.about for c in CANDIDATES if c.name == name), name)
    return f"{about}, with calibrated probabilities"


def _data(target: Target, report: ScoreReport | None, *, day: date, snapshot_id: int, seed: int) -> str:
    examples = (
        f"Compared on {report.examples:,} examples, of whom {report.positives:,} {target.done}."
        if report
        else "No examples to compare on."
    )
    consents = "profiling and to the use of sensitive data" if target.is_sensitive else "profiling"
    return (
        f"## Data\n\nTable {target.examples} as of {day}, lake snapshot {snapshot_id}, seed {seed}. People as they "
        f"were {target.horizon_days} days before the end of that day, with what happened since. Only people who "
        f"consented to {consents}. {examples}"
    )


def _features(target: Target) -> str:
    lines = "\n".join(f"- {name} (such as: {say(name, 2)})" for name in target.features)
    return f"## Features\n\n{lines}\n\nGender is not among them."


def _numbers(report: ScoreReport) -> list[str]:
    header = "| model | AUC | Brier score | log loss | calibration slope | calibration intercept |"
    rows = [
        f"| {c.name}{' (chosen)' if c.name == report.chosen else ''} | "
        + " | ".join(str(interval) for interval in c.metrics.values())
        + " |"
        for c in report.candidates
    ]
    compared = "\n".join([header, "|---|---|---|---|---|---|", *rows])
    tenths = "\n".join(
        f"| {r['people']} | {r['predicted_share']:.3f} | {r['observed_share']:.3f} [{r['low']:.3f}, {r['high']:.3f}] |"
        for r in report.calibration.iter_rows(named=True)
    )
    return [
        f"## How well\n\nOut of fold ({FOLDS} folds), with 95 % intervals over people. Log loss of the share of all "
        f"alone: {report.base_log_loss:.3f}.\n\n{compared}",
        f"## Calibration\n\n{_in_words(report.best.calibration)}\n\n| people | foretold | observed |\n|---|---|---|\n"
        f"{tenths}",
    ]


def _in_words(found: Calibration) -> str:
    fits = found.slope.low <= 1 <= found.slope.high
    said = "No sign that probabilities are too bold or too timid" if fits else "Probabilities do not mean what they say"
    return f"{said}: slope {found.slope} (1 is perfect), intercept {found.intercept} (0 is perfect)."


def _limits(target: Target) -> str:
    return (
        "## Limits\n\n"
        f"- It knows the {target.horizon_days} days before its date; a change of prices, products or season is not in "
        "it.\n"
        "- The reasons shown say what moved the model, not what causes the event: changing such a value need not "
        "change what a person does.\n"
        "- People who did not consent are not in it, and may differ from those who did.\n"
        "- Among few people of a kind it may be off although it fits on the whole; see segments.fairness."
    )
