"""Requests: who is to be erased, as a file, because run configuration and tags of Dagster are stored for ever.

``<home>/erasure_requests/<request_id>.yaml`` holds partner, subject_id, scope and asked_on; it is removed when the work
is done. Beside it, until then, lies what was found of the person (``.<request_id>.json``): a run that is broken off
after the rows are gone could not find the person's other accounts any more.
"""

import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

import yaml

from xmkt_assets.contracts import PARTNERS

FOLDER: Final = "erasure_requests"
Scope = Literal["everywhere", "account"]
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_EXAMPLE: Final = (
    "partner: insurer, subject_id: (the firm's own id), scope: everywhere (or account), asked_on: 2026-07-01"
)
_SHORTEST_WORD: Final = 4
_SHORTEST_NUMBER: Final = 9
T = TypeVar("T")


class RequestError(ValueError):
    """A request that cannot be carried out; the message names the file and the remedy, never the person."""


class Account(NamedTuple):
    """One account at one firm, by the firm's own id."""

    partner: str
    subject_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `scope` account leaves the person's account at the other firm alone."""

    request_id: str
    account: Account
    scope: Scope
    asked_on: date


@dataclass(frozen=True, slots=True)
class Person:
    """Everything by which the platform knows the person of a request."""

    accounts: tuple[Account, ...]
    person_ids: tuple[str, ...]
    hashes: tuple[str, ...] = ()
    shared_ids: tuple[str, ...] = ()  # account ids that are another person's id at the other firm
    is_whole: bool = True  # False: an account stays, and with it the person

    def of(self, partner: str) -> list[str]:
        return [a.subject_id for a in self.accounts if a.partner == partner]

    @property
    def words(self) -> tuple[str, ...]:
        """What names the person wherever it stands. Ids that are short, or plain numbers, could mean anything."""
        people = self.person_ids if self.is_whole else ()
        ids = [i for _, i in self.accounts if is_telling(i) and i not in self.shared_ids]
        return tuple(dict.fromkeys((*ids, *people, *self.hashes)))

    @property
    def untold_ids(self) -> int:
        """Account ids that are looked for in columns only."""
        return len({i for _, i in self.accounts} - set(self.words))

    def joined(self, other: "Person") -> "Person":
        """What either knows."""
        return Person(
            accounts=_both(self.accounts, other.accounts),
            person_ids=_both(self.person_ids, other.person_ids),
            hashes=_both(self.hashes, other.hashes),
            shared_ids=_both(self.shared_ids, other.shared_ids),
            is_whole=self.is_whole,
        )


def _both(one: tuple[T, ...], other: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def is_telling(subject_id: str) -> bool:
    """Whether an id, met anywhere in a text, means this account and nothing else."""
    return len(subject_id) >= (_SHORTEST_NUMBER if subject_id.isdecimal() else _SHORTEST_WORD)


def write_request(home: Path, account: Account, *, scope: Scope, asked_on: date) -> Request:
    """Put a request where the sensor and the asset look for it, under an id that says nothing of the person."""
    request = Request(f"{asked_on:%Y%m%d}-{secrets.token_hex(4)}", account, scope, asked_on)
    _refuse(request, "The request")
    terms = {**account._asdict(), "scope": scope, "asked_on": asked_on}
    _write(home / FOLDER / f"{request.request_id}.yaml", yaml.safe_dump(terms, allow_unicode=True))
    return request


def pending(home: Path) -> list[Path]:
    """Request files that wait."""
    return sorted((home / FOLDER).glob("*.yaml"))


def read_request(path: Path) -> Request:
    """The request of one file. Raises `RequestError`."""
    try:
        terms = yaml.safe_load(path.read_text(encoding="utf-8"))
        asked_on = terms["asked_on"]
        request = Request(
            request_id=path.stem,
            account=Account(str(terms["partner"]).strip(), str(terms["subject_id"]).strip()),
            scope=terms.get("scope", "everywhere"),
            asked_on=asked_on if isinstance(asked_on, date) else date.fromisoformat(asked_on),
        )
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError):
        # Neither the file's name nor its content is repeated: either may name the person.
        raise RequestError(f"A file in {FOLDER}/ is no request. Wanted YAML with {_EXAMPLE}.") from None
    _refuse(request, f"A request in {FOLDER}/")
    return request


def remember(home: Path, request: Request, known: dict[str, Any]) -> None:
    """Keep what was found of the person until the request is done."""
    _write(_notes(home, request), json.dumps(known, ensure_ascii=False, default=str))


def remembered(home: Path, request: Request) -> dict[str, Any]:
    """What an earlier run kept; empty for the first."""
    path = _notes(home, request)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def close(home: Path, request: Request) -> None:
    """The work is done: what named the person goes, the request last."""
    _notes(home, request).unlink(missing_ok=True)
    (home / FOLDER / f"{request.request_id}.yaml").unlink(missing_ok=True)


def person_from(found: dict[str, Any]) -> Person:
    """The person of `person_terms`, read back from JSON."""
    return Person(
        accounts=tuple(Account(*account) for account in found["accounts"]),
        person_ids=tuple(found["person_ids"]),
        hashes=tuple(found["hashes"]),
        shared_ids=tuple(found["shared_ids"]),
        is_whole=bool(found["is_whole"]),
    )


def person_terms(person: Person) -> dict[str, Any]:
    return asdict(person)


def _notes(home: Path, request: Request) -> Path:
    return home / FOLDER / f".{request.request_id}.json"


def _refuse(request: Request, what: str) -> None:
    account = request.account
    if account.partner not in PARTNERS:
        raise RequestError(f"{what} names an unknown partner; wanted one of {', '.join(PARTNERS)}.")
    if not account.subject_id or any(ord(sign) < 32 for sign in account.subject_id):
        raise RequestError(
            f"{what} has no usable subject_id; wanted the firm's own id of the person, one line of text."
        )
    if request.scope not in get_args(Scope):
        raise RequestError(f"{what} has an unknown scope; wanted one of {', '.join(get_args(Scope))}.")
    if not _ID.fullmatch(request.request_id) or (
        is_telling(account.subject_id) and account.subject_id in request.request_id
    ):
        raise RequestError(
            f"{what} has a file name that names the person, or other signs than letters, digits, _ and -. The name "
            f"stays in the receipt: rename the file, for example to {request.asked_on:%Y%m%d}-1.yaml."
        )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.staged")
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staged, path)
