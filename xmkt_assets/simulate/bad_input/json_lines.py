"""Kinds of bad input: JSON that is not one object per line, or whose objects are not what they seem."""

import json
from typing import Final

from xmkt_assets.simulate.bad_input.kinds import (
    BadInput,
    Expected,
    Files,
    Slot,
    as_csv,
    as_jsonl,
    good,
    gzipped,
    loaded,
    partly,
    rejected,
    several,
)

_EVENTS: Final = "campaign_events"
_DEPTH: Final = 100_000
_NO_OBJECT: Final = "no JSON object"


def _rows(slot: Slot, prefix: str, count: int = 2) -> list[dict[str, str]]:
    return several(_EVENTS, slot, prefix, count)


def _with_line(slot: Slot, prefix: str, line: str) -> Files:
    """One good line and `line`."""
    return {f"{prefix}.jsonl": (as_jsonl(_rows(slot, prefix, 1)) + line + "\n").encode()}


def _spoiled(slot: Slot, prefix: str, **changed: object) -> Files:
    return _with_line(slot, prefix, json.dumps({**good(_EVENTS, slot, f"{prefix}-2"), **changed}))


def _pretty(slot: Slot) -> Files:
    return {"pretty.jsonl": json.dumps(good(_EVENTS, slot, "pretty-1"), indent=2).encode()}


def _named_twice(slot: Slot) -> Files:
    line = json.dumps(good(_EVENTS, slot, "twice-2")).replace('"score"', '"amount_fen"')
    return _with_line(slot, "twice", line)


JSON_LINES: Final = (
    BadInput(
        "a JSON array in place of lines",
        "The usual format of an interface.",
        lambda slot: {"array.jsonl": json.dumps(_rows(slot, "array", 3)).encode()},
        rejected(1),
        (_NO_OBJECT, "one object per line"),
        feed=_EVENTS,
    ),
    BadInput(
        "JSON printed for people",
        "The export indents its objects over many lines.",
        _pretty,
        rejected(10),
        (_NO_OBJECT, "one object per line"),
        feed=_EVENTS,
    ),
    BadInput(
        "CSV called .jsonl",
        "The file was named after its neighbour.",
        lambda slot: {"csv.jsonl": as_csv(_rows(slot, "csv", 2)).encode()},
        rejected(3),
        (_NO_OBJECT,),
        feed=_EVENTS,
    ),
    BadInput(
        "a line of JSON cut off",
        "The writer was stopped.",
        lambda slot: {"cut.jsonl": as_jsonl(_rows(slot, "cut", 2))[:-30].encode()},
        partly(1),
        (_NO_OBJECT,),
        feed=_EVENTS,
    ),
    BadInput(
        "JSON with a comma too many",
        "The lines were put together by hand; nothing in them is doubtful.",
        lambda slot: _with_line(slot, "comma", json.dumps(good(_EVENTS, slot, "comma-2"))[:-1] + ",}"),
        loaded(2),
        feed=_EVENTS,
    ),
    BadInput(
        "NaN in JSON",
        "Python writes it so; JSON has no such number.",
        lambda slot: _spoiled(slot, "nan", score=float("nan")),
        partly(1),
        feed=_EVENTS,
    ),
    BadInput(
        "JSON nested 100,000 deep",
        "Somebody tries whether the reader falls over.",
        lambda slot: _with_line(slot, "deep", "[" * _DEPTH + "]" * _DEPTH),
        partly(1),
        (_NO_OBJECT,),
        feed=_EVENTS,
        alone=True,
    ),
    BadInput(
        "an object where a value belongs",
        "An upgrade wrapped the amount with its currency.",
        lambda slot: _spoiled(slot, "wrapped", amount_fen={"value": 100, "currency": "CNY"}),
        partly(1),
        ("amount_fen", "wanted a whole number"),
        feed=_EVENTS,
    ),
    BadInput(
        "a list where a value belongs",
        "A person may have several, says the partner's new system.",
        lambda slot: _spoiled(slot, "list", occurred_at=["2026-07-01T08:30:00Z"]),
        partly(1),
        ("occurred_at", "wanted a UTC time"),
        feed=_EVENTS,
    ),
    BadInput(
        "a name twice in an object",
        "Two sources were merged; which of the two values is meant nobody knows.",
        _named_twice,
        Expected("loaded", loaded=2),
        feed=_EVENTS,
    ),
    BadInput(
        "empty lines between objects",
        "The lines were joined from several files; no fault.",
        lambda slot: {"gaps.jsonl": as_jsonl(_rows(slot, "gaps", 2)).replace("\n", "\n\n\n").encode()},
        loaded(2),
        feed=_EVENTS,
    ),
    BadInput(
        "half a character escaped in JSON",
        "A text was cut between the two halves of an emoji.",
        lambda slot: _with_line(slot, "half", json.dumps(good(_EVENTS, slot, "half-2")).replace('"k1"', '"k1\\ud83d"')),
        Expected("partly quarantined", loaded=1, quarantined=1),
        feed=_EVENTS,
    ),
    BadInput(
        "a NUL escaped in JSON",
        "A field was padded by a program in C.",
        lambda slot: _spoiled(slot, "nul", campaign_id="k1\0"),
        Expected("partly quarantined", loaded=1, quarantined=1),
        feed=_EVENTS,
    ),
    BadInput(
        "packed JSON lines",
        "Partners pack what is large; no fault.",
        lambda slot: {"packed.jsonl.gz": gzipped(as_jsonl(_rows(slot, "packed", 3)))},
        loaded(3),
        feed=_EVENTS,
    ),
)
