"""A campaign plan: YAML in, frozen `CampaignPlan` out, or one `PlanError` that names every mistake with its line.

Here: what a plan may say. Not here: whom it reaches (`decisions`), and where the home folder is (`resources`).
Every sentence of an error names file, line, field, what was found, what was wanted and what to write.
"""

import difflib
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from xmkt_assets.evaluation.metrics import goal_names

EXAMPLES: Final = Path(__file__).parent / "examples"
NOT_YET: Final = ("cross_promotion", "joint_incentive")
Channel = Literal["email", "sms", "app_push", "phone", "page"]


class PlanError(ValueError):
    """A plan that cannot be run; the message lists every mistake, one a line."""


class Audience(BaseModel):
    """Whom the plan addresses, among people who may be addressed. A rule left out excludes nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_age: Annotated[int, Field(ge=0, le=120, strict=True)] | None = None
    max_age: Annotated[int, Field(ge=0, le=120, strict=True)] | None = None
    value_labels: tuple[str, ...] = ()
    must_know_both_sides: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _ages_in_order(self) -> "Audience":
        if self.min_age is not None and self.max_age is not None and self.min_age > self.max_age:
            raise _mistake("max_age", self.max_age, f"an age of at least min_age ({self.min_age})")
        return self


class Owners(BaseModel):
    """Who answers for the campaign, one name per firm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    course_platform: Annotated[str, Field(min_length=1)]
    insurer: Annotated[str, Field(min_length=1)]


class CampaignPlan(BaseModel):
    """One campaign as asked for. Money is in fen; days are UTC; `as_of` is the last day whose data may be used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    name: Annotated[str, Field(min_length=1)]
    type: Literal["joint_recommendation"]
    goal_metric: str
    as_of: date
    launch_on: date
    outcome_days: Annotated[int, Field(ge=1, le=365, strict=True)]
    channel: Channel
    audience: Audience = Audience()
    budget_fen: Annotated[int, Field(gt=0, strict=True)]
    contact_cost_fen: Annotated[int, Field(ge=0, strict=True)]
    incentive_fen: Annotated[int, Field(ge=0, strict=True)] = 0
    holdout_share: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    salt: Annotated[str, Field(min_length=8)]
    owners: Owners

    @property
    def treated_cost_fen(self) -> int:
        """What one contacted person costs at most."""
        return self.contact_cost_fen + self.incentive_fen

    @property
    def treatment_share(self) -> float:
        return 1 - self.holdout_share

    @property
    def outcome_until_on(self) -> date:
        """Last day of the outcome window; the launch day is its first."""
        return self.launch_on + timedelta(days=self.outcome_days - 1)

    @model_validator(mode="after")
    def _fits_together(self) -> "CampaignPlan":
        if self.goal_metric not in goal_names():
            raise _mistake("goal_metric", self.goal_metric, f"one of {', '.join(goal_names())}")
        if self.launch_on <= self.as_of:
            raise _mistake("launch_on", self.launch_on, f"a day after as_of ({self.as_of})")
        if self.budget_fen < self.treated_cost_fen:
            wanted = (
                f"at least the cost of one contact ({self.treated_cost_fen} fen = contact_cost_fen + incentive_fen)"
            )
            raise _mistake("budget_fen", self.budget_fen, wanted)
        return self


class _Mistake(NamedTuple):
    """One thing wrong in a plan, before it becomes a sentence."""

    line: int
    field: str
    found: str
    wanted: str
    remedy: str


def load_plan(plan_id: str, *, folder: Path) -> CampaignPlan:
    """The plan ``folder/<plan_id>.yaml``.

    Raises:
        PlanError: no such file, no YAML, or fields that are missing, unknown or wrong; each named with its line.
    """
    path = folder / f"{plan_id}.yaml"
    if not path.is_file():
        there = ", ".join(plan_ids(folder)) or "none"
        raise PlanError(
            f"Campaign plan {plan_id!r} not found at {path}. Plans there: {there}. "
            f"Copy {EXAMPLES / 'autumn_joint.yaml'} to that place and change it."
        )
    plan = parse_plan(path.read_text(encoding="utf-8"), source=str(path))
    if plan.id != plan_id:
        line = _lines(yaml.compose(path.read_text(encoding="utf-8")))[("id",)]
        wanted = f"{plan_id!r}, the name of the file"
        raise PlanError(_sentence(str(path), _Mistake(line, "id", repr(plan.id), wanted, f"Write: id: {plan_id}")))
    return plan


def plan_ids(folder: Path) -> list[str]:
    """Ids of the plans that lie in `folder`, sorted; whether they are right is not looked at."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def parse_plan(text: str, *, source: str) -> CampaignPlan:
    """The plan that `text` says. `source` names it in errors (`PlanError`)."""
    node, content = _read_yaml(text, source=source)
    lines = _lines(node)
    try:
        return CampaignPlan.model_validate(content)
    except ValidationError as error:
        mistakes = sorted(_mistakes(error.errors(), lines))
        raise PlanError("\n".join(map(partial(_sentence, source), mistakes))) from None


def _read_yaml(text: str, *, source: str) -> tuple[yaml.Node, Mapping[str, Any]]:
    try:
        node = yaml.compose(text)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PlanError(
            f"{source}:{line}: not YAML: {error.problem}. Wanted 'field: value' lines; compare with "
            f"{EXAMPLES / 'autumn_joint.yaml'}."
        ) from None
    if not isinstance(node, yaml.MappingNode):
        raise PlanError(
            f"{source}:1: found {'an empty file' if node is None else type(content).__name__}, wanted 'field: value' "
            f"lines. Copy {EXAMPLES / 'autumn_joint.yaml'} and change it."
        )
    _refuse_twice(node, source=source)
    return node, content


def _refuse_twice(node: yaml.MappingNode, *, source: str) -> None:
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            found = f"a second time (first on line {seen[key.value]})"
            raise PlanError(_sentence(source, _Mistake(line, key.value, found, "it once", "Delete one of the two")))
        seen[key.value] = line
        if isinstance(value, yaml.MappingNode):
            _refuse_twice(value, source=source)


def _lines(node: yaml.Node | None, *, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], int]:
    """Path of a field → its line, from 1. The path ``()`` is the last line, where a missing field would go."""
    if isinstance(node, yaml.MappingNode):
        found = {path: _last_line(node)}
        for key, value in node.value:
            found |= _lines(value, path=(*path, key.value)) | {(*path, key.value): key.start_mark.line + 1}
        return found
    if isinstance(node, yaml.SequenceNode):
        found = {path: node.start_mark.line + 1}
        for position, item in enumerate(node.value):
            found |= _lines(item, path=(*path, position))
        return found
    return {path: node.start_mark.line + 1} if node is not None else {}


def _last_line(node: yaml.MappingNode) -> int:
    key, value = node.value[-1] if node.value else (node, node)
    nested = _last_line(value) if isinstance(value, yaml.MappingNode) and value.value else 0
    return max(key.start_mark.line + 1, nested)


def _mistakes(errors: Sequence[ErrorDetails], lines: Mapping[tuple[str | int, ...], int]) -> list[_Mistake]:
    return [_as_mistake(error, lines) for error in errors]


def _as_mistake(error: ErrorDetails, lines: Mapping[tuple[str | int, ...], int]) -> _Mistake:
    path = tuple(error["loc"])
    if error["type"] == "plan_rule":
        context = error["ctx"]
        path = (*path, context["field"])
        return _Mistake(_line(path, lines), _dotted(path), repr(context["found"]), context["wanted"], _write(path[-1]))
    if error["type"] == "missing":
        return _Mistake(_line(path[:-1], lines), _dotted(path), "nothing", _wanted(path), _write(path[-1]))
    if error["type"] == "extra_forbidden":
        known = [*_fields(path[:-1])]
        near = difflib.get_close_matches(str(path[-1]), known, n=1)
        remedy = f"Did you mean {near[0]}?" if near else "Delete the line"
        return _Mistake(
            _line(path, lines), _dotted(path), "a field that no plan has", f"one of {', '.join(known)}", remedy
        )
    if error["type"] == "literal_error" and path == ("type",) and error["input"] in NOT_YET:
        wanted = "'joint_recommendation', the one type so far"
        found = f"{error['input']!r}, which is not available yet"
        return _Mistake(_line(path, lines), "type", found, wanted, "Write: type: joint_recommendation")
    return _Mistake(_line(path, lines), _dotted(path), _shown(error["input"]), _wanted(path), _write(path[-1]))


def _mistake(field: str, found: object, wanted: str) -> PydanticCustomError:
    found = found.isoformat() if isinstance(found, date) else found
    return PydanticCustomError("plan_rule", "{wanted}", {"field": field, "found": found, "wanted": wanted})


def _line(path: tuple[str | int, ...], lines: Mapping[tuple[str | int, ...], int]) -> int:
    return next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in path)


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else repr(value)


def _sentence(source: str, mistake: _Mistake) -> str:
    line, field, found, wanted, remedy = mistake
    end = "" if remedy.endswith("?") else "."
    return f"{source}:{line}: {field}: found {found}; wanted {wanted}. {remedy}{end}"


def _fields(parent: Sequence[str | int]) -> Mapping[str, Any]:
    models: dict[tuple[str | int, ...], type[BaseModel]] = {
        (): CampaignPlan,
        ("audience",): Audience,
        ("owners",): Owners,
    }
    return models[tuple(parent)].model_fields


def _wanted(path: Sequence[str | int]) -> str:
    return _WANTED[str(path[0])] if len(path) == 1 else _WANTED[f"{path[0]}.{path[1]}"]


def _write(field: str | int) -> str:
    return (
        f"Write e.g.: {field}: {_EXAMPLE_VALUES[str(field)]}" if str(field) in _EXAMPLE_VALUES else "Correct the value"
    )


_WANTED: Final[dict[str, str]] = {
    "id": "lower-case letters, digits and _ (the file's name without .yaml)",
    "name": "a name people read",
    "type": "joint_recommendation",
    "goal_metric": "the name of one metric",
    "as_of": "a date, year-month-day",
    "launch_on": "a date, year-month-day",
    "outcome_days": "a whole number of days from 1 to 365",
    "channel": f"one of {', '.join(get_args(Channel))}",
    "audience": "rules such as min_age",
    "audience.min_age": "a whole number of years from 0 to 120",
    "audience.max_age": "a whole number of years from 0 to 120",
    "audience.value_labels": "a list of labels of segments.person_profile",
    "audience.must_know_both_sides": "true or false",
    "budget_fen": "a whole number of fen above 0",
    "contact_cost_fen": "a whole number of fen, 0 or more",
    "incentive_fen": "a whole number of fen, 0 or more",
    "holdout_share": "a number above 0 and below 1",
    "salt": "text of at least 8 characters, in quotes",
    "owners": "one name per firm",
    "owners.course_platform": "the name of who answers for it at the course platform",
    "owners.insurer": "the name of who answers for it at the insurer",
}

_EXAMPLE_VALUES: Final[dict[str, str]] = {
    "id": "autumn_joint",
    "name": "Autumn joint recommendation",
    "type": "joint_recommendation",
    "goal_metric": "product_conversion_share",
    "as_of": "2026-09-28",
    "launch_on": "2026-09-29",
    "outcome_days": "30",
    "channel": "app_push",
    "audience": "{min_age: 18}",
    "min_age": "18",
    "max_age": "65",
    "value_labels": "[high value]",
    "must_know_both_sides": "false",
    "budget_fen": "300000",
    "contact_cost_fen": "50",
    "incentive_fen": "0",
    "holdout_share": "0.2",
    "salt": "'autumn-2026-a1b2'",
    "owners": "{course_platform: Li Na, insurer: Wang Wei}",
    "course_platform": "Li Na",
    "insurer": "Wang Wei",
}
