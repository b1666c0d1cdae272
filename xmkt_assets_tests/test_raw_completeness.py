"""Whole folders: what a manifest or a `_SUCCESS` asks for, how long a day waits for it, and what is said after that."""

import hashlib
import json
import os
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.contracts import contracts
from xmkt_assets.raw.completeness import NO_RULES, ManifestError, Promise, Rules, parse_manifest
from xmkt_assets.raw.landing import Inventory, take_inventory
from xmkt_assets.raw.lending import lent
from xmkt_assets.raw.load import load_feed
from xmkt_assets.raw.stores import LONGEST_TEXT_BYTES, LocalFolder
from xmkt_assets.warehouse import Lake

DAY = date(2026, 7, 1)
FOLDER = f"insurer/claims/dt={DAY}"
SECOND = 1_000_000_000
WRITTEN = 1_700_000_000 * SECOND
HOUR = 3600 * SECOND
# SHA-256 of "abc", FIPS 180-2 appendix B.1
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "landing"


def put(landing: Path, name: str, content: str = "abc", *, at_ns: int = WRITTEN, folder: str = FOLDER) -> Path:
    path = landing / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    os.utime(path, ns=(at_ns, at_ns))
    return path


def promised(name: str = "a.csv", content: str = "abc", **more: object) -> dict[str, object]:
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    return {"name": name, "bytes": len(content.encode()), "sha256": sha256, **more}


def manifest(landing: Path, *files: dict[str, object], at_ns: int = WRITTEN, **more: object) -> None:
    put(landing, "_MANIFEST.json", json.dumps({"files": files, **more}), at_ns=at_ns)


def look(landing: Path, *, rules: Rules = NO_RULES, now_ns: int = WRITTEN) -> Inventory:
    return take_inventory(landing, contracts(), rules=rules, now_ns=now_ns)


def names(inventory: Inventory) -> list[str]:
    return [file.name.rpartition("/")[2] for file in inventory.files]


def lacks(inventory: Inventory) -> str:
    assert inventory.files == inventory.strays == ()
    (waiting,) = inventory.waiting
    assert (waiting.dt, waiting.folder) == (DAY, FOLDER)
    return waiting.lacks


# ── manifests ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_with_all_its_manifest_names_is_read_with_what_was_promised(landing: Path) -> None:
    put(landing, "a.csv")
    put(landing, "b.csv", "other")
    manifest(landing, promised(rows=3), promised("b.csv", "other"), contract_version="1.2.0")
    a, b = look(landing).files
    assert (a.promise, a.expected_rows, a.contract_version) == (Promise(3, ABC, 3, "1.2.0"), 3, "1.2.0")
    assert (b.expected_rows, b.contract_version) == (None, "1.2.0")


def test_a_folder_without_a_manifest_is_read_as_it_lies(landing: Path) -> None:
    put(landing, "a.csv")
    (file,) = look(landing).files
    assert (file.promise, file.expected_rows, file.contract_version) == (None, None, None)


def test_a_file_that_is_missing_or_of_another_size_keeps_the_whole_folder_waiting(landing: Path) -> None:
    put(landing, "a.csv")
    manifest(landing, promised(), promised("b.csv", "other"))
    assert lacks(look(landing)) == "b.csv is not there"
    put(landing, "b.csv", "oth")
    assert lacks(look(landing)) == "b.csv has 3 bytes, the manifest says 5"
    put(landing, "b.csv", "other")
    assert names(look(landing)) == ["a.csv", "b.csv"]


def test_a_manifest_that_comes_before_any_file_waits(landing: Path) -> None:
    manifest(landing, promised())
    assert lacks(look(landing)) == "a.csv is not there"


def test_a_file_still_being_written_is_not_there_yet(landing: Path) -> None:
    put(landing, ".a.csv")
    put(landing, "a.csv.part")
    manifest(landing, promised())
    assert lacks(look(landing)) == "a.csv is not there"


def test_after_the_grace_the_folder_is_told_with_what_differs_and_waits_no_longer(landing: Path) -> None:
    put(landing, "a.csv")
    manifest(landing, promised(), promised("b.csv"))
    assert lacks(look(landing, now_ns=WRITTEN + HOUR)) == "b.csv is not there"
    late = look(landing, now_ns=WRITTEN + HOUR + 1)
    assert (late.files, late.waiting) == ((), ())
    said = "this folder is not whole after 60 minutes and is not read: b.csv is not there. Deliver it whole."
    assert late.strays == ((f"{FOLDER}/_MANIFEST.json", said),)
    assert lacks(look(landing, rules=Rules(grace_seconds=7200.0), now_ns=WRITTEN + HOUR + 1))


def test_a_folder_that_is_whole_after_the_grace_is_read(landing: Path) -> None:
    put(landing, "a.csv", at_ns=WRITTEN + 2 * HOUR)
    manifest(landing, promised())
    assert names(look(landing, now_ns=WRITTEN + 2 * HOUR)) == ["a.csv"]


@pytest.mark.parametrize(("later_ns", "waits"), [(60 * SECOND, False), (60 * SECOND + 1, True)])
def test_a_file_written_after_its_manifest_waits_for_the_manifest_that_follows_it(
    landing: Path, later_ns: int, waits: bool
) -> None:
    """A correction of the same size, half delivered. Files copied together may lie some seconds apart."""
    put(landing, "a.csv", at_ns=WRITTEN + later_ns)
    manifest(landing, promised())
    found = look(landing)
    assert names(found) == ([] if waits else ["a.csv"])
    assert [w.lacks for w in found.waiting] == (["a.csv was written after the manifest"] if waits else [])


def test_a_file_the_manifest_does_not_name_is_a_stray_beside_those_it_names(landing: Path) -> None:
    for name in ("a.csv", "b.csv"):
        put(landing, name)
    manifest(landing, promised())
    found = look(landing)
    assert names(found) == ["a.csv"]
    said = "not named in the _MANIFEST.json of its folder; deliver it with a manifest that names it."
    assert found.strays == ((f"{FOLDER}/b.csv", said),)


def test_a_manifest_that_names_no_file_leaves_nothing_to_read(landing: Path) -> None:
    put(landing, "a.csv")
    manifest(landing)
    found = look(landing)
    assert (found.files, len(found.strays), found.waiting) == ((), 1, ())


def test_one_folder_that_waits_leaves_the_other_partners_folder_to_be_read(landing: Path) -> None:
    manifest(landing, promised())
    put(landing, "a.csv", folder=f"course_platform/consents/dt={DAY}")
    found = look(landing)
    assert (names(found), len(found.waiting)) == (["a.csv"], 1)


def test_many_differences_are_counted_and_not_all_spelled_out(landing: Path) -> None:
    manifest(landing, *(promised(f"{i}.csv") for i in range(7)))
    wanted = [f"{i}.csv is not there" for i in range(5)]
    assert lacks(look(landing)).split("; ") == [*wanted, "and 2 files more"]


def test_a_linked_manifest_is_not_read(landing: Path, tmp_path: Path) -> None:
    secret = put(tmp_path, "elsewhere.json", json.dumps({"files": [promised()]}))
    put(landing, "a.csv")
    (landing / FOLDER / "_MANIFEST.json").symlink_to(secret)
    assert "_MANIFEST.json cannot be read" in take_inventory(landing, contracts()).waiting[0].lacks


def test_a_manifest_outside_a_days_folder_says_nothing(landing: Path) -> None:
    put(landing, "a.csv")
    for folder in ("", "insurer", "insurer/claims", "bank/claims/dt=2026-07-01", f"{FOLDER}/deeper"):
        put(landing, "_MANIFEST.json", "{", folder=folder)
    assert look(landing) == take_inventory(landing, contracts())
    assert (names(look(landing)), look(landing).strays, look(landing).waiting) == (["a.csv"], (), ())


BAD_MANIFESTS = [
    ("", "_MANIFEST.json is no JSON (line 1, column 1)"),
    ('{"files": [', "_MANIFEST.json is no JSON (line 1, column 12)"),
    ("[]", '_MANIFEST.json has no list "files"'),
    ('{"files": {"a.csv": 3}}', '_MANIFEST.json has no list "files"'),
    ('{"files": ["a.csv"]}', '_MANIFEST.json, file 1: "name" is no plain file name of this folder'),
    ('{"files": [{"name": "../b/a.csv"}]}', '_MANIFEST.json, file 1: "name" is no plain file name of this folder'),
    ('{"files": [{"name": ".."}]}', '_MANIFEST.json, file 1: "name" is no plain file name of this folder'),
    ('{"files": [{"name": "a.csv"}]}', '_MANIFEST.json, file 1: "bytes" is no whole number'),
    ('{"files": [{"name": "a.csv", "bytes": true}]}', '_MANIFEST.json, file 1: "bytes" is no whole number'),
    ('{"files": [{"name": "a.csv", "bytes": -1}]}', '_MANIFEST.json, file 1: "bytes" is no whole number'),
    ('{"files": [{"name": "a.csv", "bytes": 3}]}', '_MANIFEST.json, file 1: "sha256" is not 64 hexadecimal digits'),
    (json.dumps({"files": [promised(rows="3")]}), '_MANIFEST.json, file 1: "rows" is no whole number'),
    (json.dumps({"files": [promised(), promised()]}), "_MANIFEST.json names file 2 twice"),
    ("[" * 100_000, "_MANIFEST.json is no JSON"),
    (" " * (LONGEST_TEXT_BYTES + 1), "_MANIFEST.json cannot be read; wanted UTF-8 text of at most 4,194,304 bytes"),
]


@pytest.mark.parametrize(("text", "said"), BAD_MANIFESTS, ids=[said for _, said in BAD_MANIFESTS])
def test_a_manifest_that_says_something_else_waits_and_says_why(landing: Path, text: str, said: str) -> None:
    put(landing, "a.csv")
    put(landing, "_MANIFEST.json", text)
    assert lacks(look(landing)) == said
    late = look(landing, now_ns=WRITTEN + 2 * HOUR)
    assert said in late.strays[0].reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["files", "name", "bytes"]), inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(found=JSON)
def test_a_manifest_of_any_json_is_understood_or_refused_by_name(found: object) -> None:
    try:
        promises = parse_manifest(json.dumps(found))
    except ManifestError as error:
        assert "_MANIFEST.json" in str(error)  # noqa: PT017
    else:
        assert isinstance(found, dict)
        assert len(promises) == len(found["files"])


# ── what is read keeps its promise ───────────────────────────────────────────────────────────────────────────────────


def test_a_file_of_another_content_is_lent_with_what_was_found_and_wanted_and_its_neighbour_without(
    landing: Path,
) -> None:
    put(landing, "a.csv", "abd")
    put(landing, "b.csv")
    manifest(landing, promised(), promised("b.csv"))
    with lent(LocalFolder(landing), look(landing).files) as (a, b):
        found = hashlib.sha256(b"abd").hexdigest()
        assert a.problem == (
            f"is not what its manifest promises: found sha256 {found}, wanted sha256 {ABC}. "
            "Deliver the file again, then its manifest."
        )
        assert (b.problem, b.sha256, b.path.read_text()) == (None, ABC, "abc")


def test_a_file_of_another_content_is_unreadable_in_the_ledger_and_its_neighbour_is_loaded(
    landing: Path, tmp_path: Path
) -> None:
    """Its hash stays empty there: the file is not what was promised, so it counts as not loaded."""
    header = "product_id,updated_at,kind\n"
    folder = f"insurer/products/dt={DAY}"
    for name in ("a.csv", "b.csv"):
        put(landing, name, header, folder=folder)
    lines = [promised("a.csv", header), {**promised("b.csv", header), "sha256": ABC}]
    put(landing, "_MANIFEST.json", json.dumps({"files": lines}), folder=folder)
    with lent(LocalFolder(landing), look(landing).files) as files, Lake(tmp_path, threads=1).session() as session:
        at = datetime(2026, 7, 2)
        ledger = load_feed(session, contracts()["products"], files, run_id="r", loaded_at=at).ledger
    a, b = ledger.sort("source_file").iter_rows(named=True)
    assert (a["sha256"], a["status"] == "unreadable") == (promised("a.csv", header)["sha256"], False)
    assert (b["sha256"], b["status"], b["rows_loaded"]) == ("", "unreadable", 0)
    assert f"found sha256 {a['sha256']}, wanted sha256 {ABC}" in b["note"]


def test_a_promise_written_in_capitals_is_the_same_promise(landing: Path) -> None:
    put(landing, "a.csv")
    manifest(landing, {**promised(), "sha256": ABC.upper()})
    with lent(LocalFolder(landing), look(landing).files) as (file,):
        assert file.problem is None


def test_a_promised_file_that_has_gone_meanwhile_is_told(landing: Path) -> None:
    path = put(landing, "a.csv")
    manifest(landing, promised())
    files = look(landing).files
    path.unlink()
    with lent(LocalFolder(landing), files) as (file,):
        assert file.problem
        assert "found nothing to read any more" in file.problem


# ── _SUCCESS ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_partner_that_must_say_success_is_waited_for_and_the_other_is_not(landing: Path) -> None:
    rules = Rules(wait_for_success=frozenset({"insurer"}))
    put(landing, "a.csv")
    put(landing, "b.csv", folder=f"course_platform/users/dt={DAY}")
    found = look(landing, rules=rules)
    assert (names(found), [w.lacks for w in found.waiting]) == (["b.csv"], ["_SUCCESS is not there yet"])
    put(landing, "_SUCCESS", "")
    assert names(look(landing, rules=rules)) == ["a.csv", "b.csv"]


def test_a_folder_without_success_is_told_an_hour_after_its_newest_file(landing: Path) -> None:
    rules = Rules(wait_for_success=frozenset({"insurer"}))
    put(landing, "a.csv")
    put(landing, "b.csv", at_ns=WRITTEN + HOUR)
    assert lacks(look(landing, rules=rules, now_ns=WRITTEN + 2 * HOUR)) == "_SUCCESS is not there yet"
    (stray,) = look(landing, rules=rules, now_ns=WRITTEN + 2 * HOUR + 1).strays
    assert stray.name == f"{FOLDER}/_SUCCESS"
    assert "_SUCCESS is not there yet" in stray.reason


def test_success_does_not_make_up_for_what_a_manifest_misses(landing: Path) -> None:
    put(landing, "_SUCCESS", "")
    manifest(landing, promised())
    assert lacks(look(landing, rules=Rules(wait_for_success=frozenset({"insurer"})))) == "a.csv is not there"
