"""Kinds of bad input: files in the wrong folder, under a difficult name, or not finished."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from xmkt_assets.raw.stores import MANIFEST
from xmkt_assets.simulate.bad_input.kinds import (
    GOOD_FILE,
    STRAY,
    UNREADABLE,
    WAITS,
    BadInput,
    Content,
    Files,
    LinkTo,
    Pipe,
    Slot,
    as_csv,
    loaded,
    several,
    sound_content,
)

_VIEWS: Final = "course_views"


def _content(slot: Slot, prefix: str) -> bytes:
    return as_csv(several(_VIEWS, slot, prefix, 2)).encode()


def _stray(name: str, why: str, path: str, *must_say: str) -> BadInput:
    """A file below the landing folder that belongs to no feed; ``{day}`` in its path is the day of its slot."""
    return BadInput(name, why, lambda slot: {path.format(day=slot.day): _content(slot, "stray")}, STRAY, must_say)


def _named(name: str, why: str, file: str) -> BadInput:
    """Sound rows under a difficult name."""
    return BadInput(name, why, lambda slot: {file: _content(slot, name.replace(" ", "-"))}, loaded(2))


def _waiting(name: str, why: str, file: str) -> BadInput:
    return BadInput(name, why, lambda slot: {file: _content(slot, "waits")}, WAITS)


def _at(slot: Slot, file: str) -> str:
    return f"course_platform/{_VIEWS}/dt={slot.day}/{file}"


STRAYS: Final = (
    _stray(
        "an unknown partner",
        "A new partner was given access before the platform knew it.",
        "telecom/course_views/dt={day}/views.csv",
        "unknown partner 'telecom'",
        "wanted one of course_platform, insurer",
    ),
    _stray(
        "an unknown feed",
        "A new feed was agreed and its contract was not written.",
        "course_platform/course_likes/dt={day}/likes.csv",
        "unknown feed 'course_likes'",
        "add a contract",
    ),
    _stray(
        "a feed of the other partner",
        "Two upload jobs were confused.",
        "insurer/course_views/dt={day}/views.csv",
        "insurer does not deliver course_views",
    ),
    _stray(
        "a folder of the thirteenth month",
        "Day and month were swapped.",
        "course_platform/course_views/dt=2026-13-01/views.csv",
        "is no day",
    ),
    _stray(
        "a folder that is a day without dt=",
        "The partner's tool names folders so.",
        "course_platform/course_views/2026-07-01/views.csv",
        "is no day",
        "dt=2026-07-01",
    ),
    _stray(
        "a file too deep",
        "The archive was unpacked with a folder of its own.",
        "course_platform/course_views/dt={day}/export/views.csv",
        "wrong depth",
    ),
    _stray(
        "a file too high",
        "The folder of the day was forgotten.",
        "course_platform/course_views/views.csv",
        "wrong depth",
    ),
    _stray(
        "a workbook",
        "Somebody sends what they have.",
        "course_platform/course_views/dt={day}/views.xlsx",
        "unknown kind of file",
    ),
    _stray(
        "a name that is not UTF-8",
        "The file was packed on a Chinese Windows and unpacked here.",
        "course_platform/course_views/dt={day}/\udcff\udcfe.csv",
        "not UTF-8",
    ),
    _stray(
        "a name with a line end",
        "A script pasted the output of a command into it.",
        "course_platform/course_views/dt={day}/two\nlines.csv",
        "control or invisible characters",
    ),
    BadInput(
        "a link out of the landing folder",
        "An administrator saved space; or somebody tries to read what is not theirs.",
        lambda slot: {_at(slot, "link-out.csv"): LinkTo("/etc/hostname")},
        STRAY,
        ("leads out of the landing folder",),
    ),
    BadInput(
        "a link to nothing",
        "What it led to was cleared away.",
        lambda slot: {_at(slot, "link-broken.csv"): LinkTo("nothing-here.csv")},
        STRAY,
        ("does not exist",),
    ),
    BadInput(
        "a linked folder",
        "An administrator saved space.",
        lambda slot: {f"course_platform/{_VIEWS}/dt=2026-01-01": LinkTo("/etc")},
        STRAY,
        ("linked folder",),
    ),
    BadInput(
        "a pipe",
        "A program of the partner streams into it; whoever reads it waits for ever.",
        lambda slot: {_at(slot, "pipe.csv"): Pipe()},
        STRAY,
        ("no ordinary file",),
    ),
)

NAMES: Final = (
    _named(
        "a name with quotes and semicolons", "Somebody tries whether it is pasted into SQL.", "o'b;drop table x;--.csv"
    ),
    _named("a name that is a pattern", "The partner's shell did not expand it.", "v*[1]?{a,b}.csv"),
    _named("a name of emoji and Chinese", "People name their exports.", "课程浏览 🎓 (最终版).csv"),
    _named("a very long name", "The query was put into the file's name.", "n" * 240 + ".csv"),
    _named("a name with spaces at its ends", "Copied with its surroundings.", " views .csv"),
    _named("a name like an option", "The partner numbers its exports from -1.", "-rf --help.csv"),
)

UNFINISHED: Final = (
    _waiting("a file still being written", "The upload is under way; it is renamed when done.", "views.csv.part"),
    _waiting("a hidden file", "The agreed way to write: a dot first, renamed when done.", ".views.csv"),
    BadInput(
        "a folder of a day to come",
        "A clock was set wrong; it waits until that day is over.",
        lambda slot: {f"course_platform/{_VIEWS}/dt=2099-01-01/views.csv": _content(slot, "to-come")},
        WAITS,
    ),
)


def _manifest(slot: Slot, files: Mapping[str, bytes], **said: object) -> Content:
    """A manifest that tells the truth about `files` and the sound file beside them, but for what is `said`."""
    whole = {**files, GOOD_FILE: sound_content(_VIEWS, slot)}
    lines = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in whole.items()
    ]
    return json.dumps({"files": [{**lines[0], **said}, *lines[1:]]}).encode()


def _delivery(slot: Slot, **said: object) -> Files:
    files = {"views.csv": _content(slot, "promised")}
    return {**files, MANIFEST: _manifest(slot, files, **said)}


MANIFESTS: Final = (
    BadInput(
        "a manifest that holds",
        "The partner says what it sends; no fault.",
        lambda slot: _delivery(slot, rows=2),
        loaded(2),
        alone=True,
    ),
    BadInput(
        "a manifest with another checksum",
        "The file was exported again after the manifest was written.",
        lambda slot: _delivery(slot, sha256="0" * 64),
        UNREADABLE,
        ("manifest",),
        alone=True,
    ),
    BadInput(
        "a manifest with another number of rows",
        "The partner counts the header, or lost rows on the way.",
        lambda slot: _delivery(slot, rows=3),
        loaded(2),
        ("promises 3 rows, found 2",),
        alone=True,
    ),
    BadInput(
        "a manifest that names a missing file",
        "One of several uploads has not come yet; the folder waits for it.",
        lambda slot: {MANIFEST: _manifest(slot, {"missing.csv": b"x"})},
        WAITS,
        alone=True,
        keeps_sound_out=True,
    ),
    BadInput(
        "a manifest that is no JSON",
        "It was written by hand; the folder waits for a better one.",
        lambda slot: {"views.csv": _content(slot, "promised"), MANIFEST: b"views.csv, sound.csv"},
        WAITS,
        alone=True,
        keeps_sound_out=True,
    ),
    BadInput(
        "a file its manifest does not name",
        "A second export wrote into the same folder.",
        lambda slot: {"unnamed.csv": _content(slot, "unnamed"), MANIFEST: _manifest(slot, {})},
        STRAY,
        ("not named in",),
        alone=True,
    ),
)

PLACES: Final = (*STRAYS, *NAMES, *UNFINISHED, *MANIFESTS)
