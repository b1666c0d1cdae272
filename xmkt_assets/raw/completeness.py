"""Completeness: when the folder of a partner's day is whole and may be read. Pure.

Two ways for a partner to say so, both optional, each a file written last into ``<partner>/<feed>/dt=<day>/``:

* ``_MANIFEST.json``: ``{"files": [{"name": .., "bytes": .., "sha256": .., "rows": ..}], "contract_version": ..}``
  (`rows` and `contract_version` may be left out). Exactly these files are read, once all are there in the right size
  and none is newer than its manifest by more than a minute. Their hashes are compared when they are read; a file with
  another hash is refused. Files that it does not name are strays.
* ``_SUCCESS``, of any content: wanted from the partners named under `wait_for_success` in ``landing.yaml`` of the home.

Until then the day of that folder waits. After `grace_seconds` (an hour) it waits no longer for it: the folder is told
as a stray with what it lacks, its files stay unread until they are right, and the day's other folders are loaded.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeGuard

from xmkt_assets.raw.stores import LONGEST_TEXT_BYTES, MANIFEST, SUCCESS, Entry, printable

_SAME_MOMENT_NS: Final = 60_000_000_000
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """What completeness is wanted: the small settings of ``landing.yaml``."""

    wait_for_success: frozenset[str] = frozenset()
    grace_seconds: float = 3600.0


NO_RULES: Final = Rules()


@dataclass(frozen=True, slots=True)
class Promise:
    """What a manifest says of one file."""

    size_bytes: int
    sha256: str
    rows: int | None = None
    contract_version: str | None = None


class Verdict(NamedTuple):
    """Whether a folder is whole: empty `lacks`. `promises` by file name where there is a manifest, else None."""

    lacks: str = ""
    is_overdue: bool = False
    promises: Mapping[str, Promise] | None = None


class ManifestError(ValueError):
    """A manifest that does not say what is wanted."""


def judge_folder(
    files: Sequence[Entry], markers: Mapping[str, Entry], manifest: str | None, *, rules: Rules, now_ns: int
) -> Verdict:
    """Whether a day's folder is whole, from its files, its marker files and the text of its manifest.

    The partner is the first part of a name; whether it must write ``_SUCCESS`` is among the `rules`.
    """
    partner = next(iter([*files, *markers.values()])).name.split("/")[0]
    newest_ns = markers[MANIFEST].modified_ns if MANIFEST in markers else max(f.modified_ns for f in files)
    is_in_grace = now_ns <= newest_ns + int(rules.grace_seconds * 1e9)
    lacks = f"{SUCCESS} is not there yet" if partner in rules.wait_for_success and SUCCESS not in markers else ""
    promises = None
    if MANIFEST in markers and not lacks:
        by_name = {file.name.rpartition("/")[2]: file for file in files}
        try:
            promises = parse_manifest(manifest)
            lacks = "; ".join(_differences(promises, by_name, manifest_ns=newest_ns if is_in_grace else None))
        except ManifestError as error:
            lacks = str(error)
    return Verdict(lacks, bool(lacks) and not is_in_grace, promises)


def parse_manifest(text: str | None) -> dict[str, Promise]:
    """The files a manifest promises, by name. It names plain files of its own folder, each once."""
    if text is None:
        raise ManifestError(f"{MANIFEST} cannot be read; wanted UTF-8 text of at most {LONGEST_TEXT_BYTES:,} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise ManifestError(f"{MANIFEST} is no JSON{where}") from error
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, list):
        raise ManifestError(f'{MANIFEST} has no list "files"')
    version = found.get("contract_version")
    promises: dict[str, Promise] = {}
    for number, line in enumerate(files, start=1):
        name, promise = _promise(line, None if version is None else str(version), number)
        if name in promises:
            raise ManifestError(f"{MANIFEST} names file {number} twice")
        promises[name] = promise
    return promises


def _promise(line: Any, contract_version: str | None, number: int) -> tuple[str, Promise]:
    """One file of a manifest; values are not repeated in errors, for they are the partner's."""
    fields = line if isinstance(line, dict) else {}
    name, size, sha256, rows = (fields.get(key) for key in ("name", "bytes", "sha256", "rows"))
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise ManifestError(f'{MANIFEST}, file {number}: "name" is no plain file name of this folder')
    if not _is_count(size):
        raise ManifestError(f'{MANIFEST}, file {number}: "bytes" is no whole number')
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ManifestError(f'{MANIFEST}, file {number}: "sha256" is not 64 hexadecimal digits')
    if rows is not None and not _is_count(rows):
        raise ManifestError(f'{MANIFEST}, file {number}: "rows" is no whole number')
    return name, Promise(size, sha256.lower(), rows, contract_version)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _differences(promises: Mapping[str, Promise], files: Mapping[str, Entry], *, manifest_ns: int | None) -> list[str]:
    """What of a manifest does not hold, as far as a listing shows it."""
    said = []
    for name, promise in promises.items():
        file, shown = files.get(name), printable(name)[:80]
        if file is None:
            said.append(f"{shown} is not there")
        elif file.size_bytes != promise.size_bytes:
            said.append(f"{shown} has {file.size_bytes} bytes, the manifest says {promise.size_bytes}")
        elif manifest_ns is not None and file.modified_ns > manifest_ns + _SAME_MOMENT_NS:
            said.append(f"{shown} was written after the manifest")
    return [*said[:_SHOWN], f"and {len(said) - _SHOWN} files more"] if len(said) > _SHOWN else said
