"""Kinds of bad input: phones, e-mail addresses and ID numbers where only keyed hashes may be. Made up, all of them.

Such a value must be found nowhere in the home outside the landing folder: not in a table, a reason, a log or a run.
"""

import hashlib
from typing import Final

from xmkt_assets.simulate.bad_input.kinds import (
    BadInput,
    Expected,
    Files,
    Row,
    Slot,
    as_csv,
    as_jsonl,
    good,
    partly,
    rejected,
)

# Every kind has a number of its own, so that a find says where it came from. 1999… is no assigned range.
_PHONE: Final = "199990000"
_ID_NUMBER: Final = "110101190001011237"
_PHONES: Final = {
    name: f"{_PHONE}{number:02}"
    for number, name in enumerate(
        (
            "hash",
            "spaced",
            "undeclared",
            "headerless",
            "malformed",
            "mistyped",
            "unlisted",
            "json",
            "field",
            "text",
            "id",
        )
    )
}
_EMAIL: Final = "wang.lei.planted@example.com"
_HIDDEN: Final = "not shown"


def _user(slot: Slot, key: str, **changed: str) -> dict[str, str]:
    return good("users", slot, key, **changed)


def _pair(slot: Slot, mark: str, **spoiled: str) -> Files:
    """One good row and one with `spoiled` values."""
    return {f"{mark}.csv": as_csv([_user(slot, f"{mark}-1"), _user(slot, f"{mark}-2", **spoiled)]).encode()}


def _undeclared(slot: Slot) -> Files:
    rows = [{**_user(slot, f"undeclared-{i}"), "mobile": _PHONES["undeclared"]} for i in (1, 2)]
    return {"undeclared.csv": as_csv(rows).encode()}


def _headerless(slot: Slot) -> Files:
    rows = [_user(slot, f"headerless-{i}", phone_hash=_PHONES["headerless"]) for i in (1, 2, 3)]
    return {"headerless.csv": as_csv(rows, header=False).encode()}


def _malformed(slot: Slot) -> Files:
    sound = as_csv([_user(slot, "malformed-1")])
    return {"malformed.csv": f"{sound}malformed-2,{_PHONES['malformed']},one,two\n".encode()}


def _json_field(slot: Slot) -> Files:
    nested: Row = {**_user(slot, "field-2"), "contact": {"mobile": _PHONES["field"]}}
    rows: list[Row] = [_user(slot, "field-1"), nested]
    return {"field.jsonl": as_jsonl(rows).encode()}


def _json_cut(slot: Slot) -> Files:
    sound = as_jsonl([_user(slot, "cut-1")])
    return {"cut.jsonl": f'{sound}{{"user_id": "cut-2", "phone_hash": "{_PHONES["json"]}", "gen\n'.encode()}


def _contact(name: str, why: str, column: str, planted: str, *must_say: str) -> BadInput:
    mark = name.replace(" ", "-").replace(",", "")[:30]
    return BadInput(
        name,
        why,
        lambda slot: _pair(slot, mark, **{column: planted}),
        partly(1),
        must_say or (f"{column}: ", _HIDDEN),
        feed="users",
        planted=(planted,),
    )


CONTACTS: Final = (
    _contact("a phone in a hash column", "The step that hashes was left out.", "phone_hash", _PHONES["hash"]),
    _contact(
        "a phone with spaces in a hash column",
        "The step that hashes fell back to its input for numbers it could not normalise.",
        "phone_hash",
        f"+86 {_PHONES['spaced'][:3]} {_PHONES['spaced'][3:7]} {_PHONES['spaced'][7:]}",
    ),
    _contact("an e-mail address in a hash column", "The step that hashes was left out.", "email_hash", _EMAIL),
    _contact("an ID number in a hash column", "The wrong column was mapped.", "phone_hash", _ID_NUMBER),
    _contact(
        "a hash in upper case",
        "Another library prints it so; it would match nobody.",
        "phone_hash",
        hashlib.sha256(b"upper").hexdigest().upper(),
    ),
    _contact(
        "MD5 in place of SHA-256",
        "An older agreement's hash, without a key.",
        "phone_hash",
        hashlib.md5(b"phone", usedforsecurity=False).hexdigest(),
    ),
    _contact(
        "a phone for a year of birth",
        "Two columns were swapped.",
        "birth_year",
        _PHONES["mistyped"],
        "birth_year: ",
    ),
    _contact(
        "a phone for a gender",
        "Two columns were swapped.",
        "gender",
        _PHONES["unlisted"],
        "gender: ",
    ),
    BadInput(
        "phones in an undeclared column",
        "The whole table was exported, not the agreed columns.",
        _undeclared,
        Expected("loaded", loaded=2),
        ("undeclared columns mobile",),
        feed="users",
        planted=(_PHONES["undeclared"],),
    ),
    BadInput(
        "phones in a file without a header",
        "The export option 'with column names' is off, and the step that hashes was left out.",
        _headerless,
        rejected(2),
        ("lacks", "user_id"),
        feed="users",
        planted=(_PHONES["headerless"],),
    ),
    BadInput(
        "a phone in a row that cannot be split",
        "A row was written by hand.",
        _malformed,
        partly(1),
        ("malformed line",),
        feed="users",
        planted=(_PHONES["malformed"],),
    ),
    BadInput(
        "a phone in a field of JSON nobody declared",
        "An interface's answer was passed on as it was.",
        _json_field,
        Expected("loaded", loaded=2),
        ("undeclared columns contact",),
        feed="users",
        planted=(_PHONES["field"],),
    ),
    BadInput(
        "a phone in a line of JSON that was cut off",
        "The disk was full.",
        _json_cut,
        partly(1),
        ("no JSON object",),
        feed="users",
        planted=(_PHONES["json"],),
    ),
    BadInput(
        "a phone in a text people write",
        "A user leaves the number in a review.",
        lambda slot: {
            "text.csv": as_csv(
                [good("course_reviews", slot, "text-1", review_text=f"call me {_PHONES['text']}")]
            ).encode()
        },
        Expected("loaded", loaded=1),
        feed="course_reviews",
        planted=(_PHONES["text"],),
    ),
)
