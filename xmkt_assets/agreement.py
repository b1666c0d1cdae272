"""The sharing agreement of the two firms as data: which keys hash identifiers, which identifiers join accounts, and
which notices people consent under.

Read from ``<home>/sharing_agreement.yaml`` where a home has one, else from ``contracts/agreement/`` of this package.
Here: the terms and what makes them valid. Not here: joining by them (``dbt_like_sql/staging/identity_links.sql``), the
keys themselves (the firms hold them, this platform never does), and what feeds look like (``contracts``).
"""

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import yaml

from xmkt_assets.contracts import PARTNERS
from xmkt_assets.purposes import PURPOSES

FILE: Final = "sharing_agreement.yaml"
PACKAGED: Final = Path(__file__).parent / "contracts" / "agreement" / FILE
# Public: both firms hash it with their key and compare fingerprints of the outcome, so the key is never sent.
FINGERPRINTED: Final = "xmkt_assets sharing agreement key check"
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")


class AgreementError(ValueError):
    """An agreement that cannot be used; the message names the file, the term and the remedy."""


@dataclass(frozen=True, slots=True)
class HashKey:
    """One key under which both firms hash identifiers. `retired_on` is the last day on which it makes new links."""

    version: str
    agreed_on: date
    retired_on: date | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    """What one kind of identifier proves.

    A proof is one person's alone: it joins accounts of one firm too, whatever else they say. A hint joins one account
    of each firm, and only where nothing contradicts it. A hash that more than `at_most_accounts` of one firm carry
    proves nothing.
    """

    kind: str
    is_proof: bool
    at_most_accounts: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are shown before they decide. `recipients` are the firms that may use the data."""

    version: str
    purposes: tuple[str, ...]
    recipients: tuple[str, ...]
    valid_from: date
    valid_until: date | None
    languages: tuple[str, ...] = ()
    link: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The terms. Keys are in the order in which they were agreed, identifiers in the order of precedence."""

    hash_keys: tuple[HashKey, ...]
    identifiers: tuple[IdentifierRule, ...]
    birth_year_tolerance_years: int
    notices: tuple[Notice, ...] = ()  # without any, no consent counts

    @property
    def first_key(self) -> HashKey:
        """The key of phone_hash and email_hash in users and customers, which name no version."""
        return self.hash_keys[0]


def agreement_path(home: Path | None = None) -> Path:
    """The file that counts in a home: its own, else the packaged one."""
    own = home / FILE if home else None
    return own if own and own.exists() else PACKAGED


def read_agreement(home: Path | None = None) -> Agreement:
    """The agreement of a home. Raises `AgreementError` on an unknown term, a missing one or a contradiction."""
    path = agreement_path(home)
    terms = _terms(path)
    try:
        agreement = Agreement(
            hash_keys=tuple(_hash_key(k) for k in terms["hash_keys"]),
            identifiers=tuple(_identifier(i) for i in terms["identifiers"]),
            birth_year_tolerance_years=int(terms["birth_year_tolerance_years"]),
            notices=tuple(_notice(n) for n in terms.get("notices") or ()),
        )
    except KeyError as missing:
        raise AgreementError(f"{path} lacks the term {missing}. {PACKAGED.name} of the package has all.") from None
    except (TypeError, ValueError) as error:
        raise AgreementError(f"{path} holds a value of the wrong kind ({error}). Compare it with {PACKAGED}.") from None
    for complaint in (*_key_misfits(agreement), *_identifier_misfits(agreement), *_notice_misfits(agreement)):
        raise AgreementError(f"{path}: {complaint}")
    return agreement


def key_fingerprint(key: bytes) -> str:
    """What both firms compare to know that they hold one key: sha256 of the HMAC of a public text."""
    return sha256(hmac.digest(key, FINGERPRINTED.encode(), "sha256")).hexdigest()


_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"hash_keys", "identifiers", "birth_year_tolerance_years", "notices"}),
    "hash_keys": frozenset({"version", "agreed_on", "retired_on", "fingerprint"}),
    "identifiers": frozenset({"kind", "is_proof", "at_most_accounts", "meaning"}),
    "notices": frozenset(
        {"version", "purposes", "recipients", "valid_from", "valid_until", "languages", "link", "meaning"}
    ),
}


def _terms(path: Path) -> dict[str, Any]:
    try:
        terms = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise AgreementError(f"{path} is no YAML: {error}. Mend that line.") from None
    if not isinstance(terms, dict):
        raise AgreementError(f"{path} holds no terms. Copy {PACKAGED} and change it.")
    _refuse_unknown(terms, "", path=path)
    for name in ("hash_keys", "identifiers", "notices"):
        for entry in terms.get(name) or ():
            _refuse_unknown(entry, name, path=path)
    return terms


def _refuse_unknown(entry: object, where: str, *, path: Path) -> None:
    known = sorted(_KNOWN[where])
    if not isinstance(entry, dict):
        raise AgreementError(f"{path}: {where} holds {entry!r}; wanted entries with {known}.")
    if unknown := sorted(entry.keys() - _KNOWN[where]):
        raise AgreementError(f"{path}: {where or 'the file'} uses the unknown terms {unknown}. Known: {known}.")


def _hash_key(entry: Mapping[str, Any]) -> HashKey:
    return HashKey(
        version=str(entry["version"]),
        agreed_on=_day(entry["agreed_on"]),
        retired_on=None if entry.get("retired_on") is None else _day(entry["retired_on"]),
        fingerprint=str(entry["fingerprint"]),
    )


def _identifier(entry: Mapping[str, Any]) -> IdentifierRule:
    if not isinstance(entry["is_proof"], bool):
        raise TypeError(f"is_proof is {entry['is_proof']!r}, wanted true or false")
    return IdentifierRule(
        kind=str(entry["kind"]),
        is_proof=entry["is_proof"],
        at_most_accounts=int(entry["at_most_accounts"]),
        meaning=str(entry["meaning"]),
    )


def _notice(entry: Mapping[str, Any]) -> Notice:
    return Notice(
        version=str(entry["version"]),
        purposes=_words(entry["purposes"]),
        recipients=_words(entry["recipients"]),
        valid_from=_day(entry["valid_from"]),
        valid_until=None if entry.get("valid_until") is None else _day(entry["valid_until"]),
        languages=_words(entry.get("languages") or []),
        link=str(entry.get("link") or ""),
        meaning=str(entry.get("meaning") or ""),
    )


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r}, wanted a list such as [profiling, measurement]")
    return tuple(str(word) for word in value)


def _day(value: object) -> date:
    if type(value) is not date:
        raise TypeError(f"{value!r}, wanted a day such as 2026-07-01")
    return value


def _key_misfits(agreement: Agreement) -> Iterator[str]:
    """What is wrong with the keys, with the remedy."""
    keys = agreement.hash_keys
    if not keys:
        yield "hash_keys is empty. Name the key under which the firms hash identifiers."
    if len({k.version for k in keys}) != len(keys):
        yield "hash_keys names a version twice. Give every key a version of its own."
    if len({k.fingerprint for k in keys}) != len(keys):
        yield "two hash_keys have one fingerprint, so they are one key. A rotation needs a new key."
    if [k.agreed_on for k in keys] != sorted(k.agreed_on for k in keys):
        yield "hash_keys are out of order. Write them in the order in which they were agreed."
    for key in keys:
        if not _WORD.fullmatch(key.version):
            yield f"key version {key.version!r} is no plain name; wanted one such as v1."
        if not _HEX.fullmatch(key.fingerprint):
            yield f"the fingerprint of key {key.version} is not 64 hexadecimal digits. Make it with key_fingerprint."
        if key.retired_on and key.retired_on < key.agreed_on:
            yield f"key {key.version} is retired on {key.retired_on}, before it was agreed ({key.agreed_on})."


def _identifier_misfits(agreement: Agreement) -> Iterator[str]:
    """What is wrong with the identifiers, with the remedy."""
    rules = agreement.identifiers
    if len({r.kind for r in rules}) != len(rules):
        yield "identifiers names a kind twice. One place in the order of precedence each."
    if [r.is_proof for r in rules] != sorted((r.is_proof for r in rules), reverse=True):
        yield "identifiers are out of order: a proof comes before every hint."
    for rule in rules:
        if rule.at_most_accounts < 1 or (not rule.is_proof and rule.at_most_accounts != 1):
            yield (
                f"identifier {rule.kind} has at_most_accounts {rule.at_most_accounts}; wanted 1 for a hint (several "
                f"accounts with it are a household) and at least 1 for a proof."
            )
    if not 0 <= agreement.birth_year_tolerance_years <= 10:
        yield f"birth_year_tolerance_years is {agreement.birth_year_tolerance_years}; wanted 0 to 10."


def _notice_misfits(agreement: Agreement) -> Iterator[str]:
    """What is wrong with the notices, with the remedy."""
    notices = agreement.notices
    if len({n.version for n in notices}) != len(notices):
        yield "notices names a version twice. A changed notice is a new version."
    for notice in notices:
        for term, found, known in (
            ("purposes", notice.purposes, PURPOSES),
            ("recipients", notice.recipients, PARTNERS),
        ):
            if not found or not set(found) <= set(known):
                yield f"notice {notice.version} has {term} {list(found)}; wanted some of {list(known)}."
        if notice.valid_until and notice.valid_until < notice.valid_from:
            yield f"notice {notice.version} is valid until {notice.valid_until}, before it began ({notice.valid_from})."
