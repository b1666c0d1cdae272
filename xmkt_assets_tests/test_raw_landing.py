"""The landing folder: every file is one of a known feed and day, still being written, or named with its remedy."""

import os
from datetime import date
from pathlib import Path

import pytest

from xmkt_assets.contracts import contracts
from xmkt_assets.raw.landing import Inventory, content_hash, take_inventory

GOOD = "course_platform/course_views/dt=2026-07-01/views.csv"


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "landing"


def put(landing: Path, name: str, content: bytes = b"x") -> Path:
    path = landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def look(landing: Path, **options: str) -> Inventory:
    return take_inventory(landing, contracts(), **options)


def names(inventory: Inventory) -> list[str]:
    return [file.name for file in inventory.files]


def test_a_well_placed_file_is_known_by_partner_feed_and_day(landing: Path) -> None:
    path = put(landing, GOOD, b"12345")
    (file,) = look(landing).files
    assert (file.partner, file.feed, file.dt) == ("course_platform", "course_views", date(2026, 7, 1))
    assert (file.name, file.path, file.size_bytes) == (GOOD, path, 5)
    assert file.modified_ns == path.stat().st_mtime_ns


def test_a_folder_that_does_not_exist_holds_nothing(landing: Path) -> None:
    assert look(landing) == ((), (), ())


def test_files_come_in_order_of_feed_day_partner_and_name_whatever_order_they_were_made_in(landing: Path) -> None:
    wanted = [
        "course_platform/consents/dt=2026-07-01/b.csv",
        "insurer/consents/dt=2026-07-01/a.csv",
        "course_platform/consents/dt=2026-07-02/a.csv",
        "course_platform/consents/dt=2026-07-02/b.parquet",
        "insurer/policies/dt=2026-07-01/a.jsonl",
    ]
    for name in reversed(wanted):
        put(landing, name)
    assert names(look(landing)) == wanted


MISPLACED = [
    ("views.csv", "wrong depth; wanted <partner>/<feed>/dt=YYYY-MM-DD/<file>. Move it there."),
    ("course_platform/course_views/views.csv", "wrong depth"),
    ("course_platform/course_views/dt=2026-07-01/deeper/views.csv", "wrong depth"),
    ("bank/course_views/dt=2026-07-01/a.csv", "unknown partner 'bank'; wanted one of course_platform, insurer. Rename"),
    ("insurer/loans/dt=2026-07-01/a.csv", "unknown feed 'loans'; wanted one of campaign_events, claims"),
    ("insurer/loans/dt=2026-07-01/a.csv", "Rename the folder or add a contract."),
    ("insurer/course_views/dt=2026-07-01/a.csv", "insurer does not deliver course_views; its contract names course_pl"),
    ("insurer/claims/2026-07-01/a.csv", "'2026-07-01' is no day; wanted dt=YYYY-MM-DD, for example dt=2026-07-01. Re"),
    ("insurer/claims/dt=2026-02-30/a.csv", "'dt=2026-02-30' is no day"),
    ("insurer/claims/dt=2026-7-1/a.csv", "'dt=2026-7-1' is no day"),
    ("insurer/claims/dt=2026-07-01\n/a.csv", "is no day"),
    (
        "insurer/claims/dt=2026-07-01/a.xlsx",
        "unknown kind of file; wanted one of .csv, .csv.gz, .tsv, .tsv.gz, .jsonl,",
    ),
    ("insurer/claims/dt=2026-07-01/a.CSV", "unknown kind of file"),
    ("insurer/claims/dt=2026-07-01/a.gz", "unknown kind of file"),
    ("insurer/claims/dt=2026-07-01/a.parquet.gz", "unknown kind of file"),
    ("insurer/claims/dt=2026-07-01/a\x1b[2J.csv", "a name with control or invisible characters; rename the file."),
    ("insurer/claims/dt=2026-07-01/a\u202evsc.csv", "a name with control or invisible characters; rename the file."),
    (f"insurer/claims/dt=2026-07-01/{'a' * 200}\n.csv", "a name with control or invisible characters"),
]


@pytest.mark.parametrize(("name", "said"), MISPLACED)
def test_a_misplaced_file_is_named_with_what_is_wrong_and_what_to_do(landing: Path, name: str, said: str) -> None:
    put(landing, name)
    put(landing, GOOD)
    inventory = look(landing)
    assert names(inventory) == [GOOD]
    (stray,) = inventory.strays
    assert stray.name == name.translate({10: r"\n", 0x1B: r"\x1b", 0x202E: r"\u202e"})
    assert said in stray.reason


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.tsv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_every_kind_of_file_that_can_be_read_is_taken(landing: Path, name: str) -> None:
    put(landing, f"insurer/claims/dt=2026-07-01/{name}")
    assert len(look(landing).files) == 1


def test_names_that_differ_only_by_case_or_by_how_an_accent_is_spelled_are_files_of_their_own(landing: Path) -> None:
    wanted = {"a.csv", "A.csv", "caf\u00e9.csv", "cafe\u0301.csv", "报表 一.csv"}
    for number, name in enumerate(sorted(wanted)):
        put(landing, f"insurer/claims/dt=2026-07-01/{name}", b"x" * number)
    found = look(landing).files
    assert {file.name.rpartition("/")[2] for file in found} == wanted
    assert sorted(file.size_bytes for file in found) == [0, 1, 2, 3, 4]


UNFINISHED = [
    "course_platform/course_views/dt=2026-07-01/.views.csv",
    "course_platform/course_views/dt=2026-07-01/_SUCCESS",
    "course_platform/course_views/dt=2026-07-01/views.csv.tmp",
    "course_platform/course_views/dt=2026-07-01/views.csv.part",
    "course_platform/course_views/dt=2026-07-01/views.csv.partial",
    "course_platform/course_views/dt=2026-07-01/views.csv.crdownload",
    "course_platform/course_views/dt=2026-07-01/_temporary/0/views.csv",
    "course_platform/course_views/dt=2026-07-01.tmp/views.csv",
    "course_platform/.sync/views.csv",
    ".DS_Store",
]


@pytest.mark.parametrize("only_feed", [{}, {"only_feed": "course_views"}])
def test_files_and_folders_still_being_written_are_not_looked_at(landing: Path, only_feed: dict[str, str]) -> None:
    for name in [*UNFINISHED, GOOD]:
        put(landing, name)
    assert (names(look(landing, **only_feed)), look(landing, **only_feed).strays) == ([GOOD], ())


def test_a_link_that_leads_out_is_not_followed(landing: Path, tmp_path: Path) -> None:
    secret = put(tmp_path, "elsewhere/secret.csv")
    link = landing / "insurer/claims/dt=2026-07-01/claims.csv"
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    inventory = look(landing)
    assert inventory.files == ()
    assert inventory.strays[0].reason == "a link that leads out of the landing folder; deliver the file itself."


def test_a_link_to_a_file_of_the_other_partner_is_not_followed(landing: Path) -> None:
    theirs = put(landing, GOOD)
    link = landing / "insurer/claims/dt=2026-07-01/claims.csv"
    link.parent.mkdir(parents=True)
    link.symlink_to(theirs)
    inventory = look(landing)
    assert names(inventory) == [GOOD]
    assert inventory.strays[0].reason == "a link that leads out of the landing folder; deliver the file itself."


@pytest.mark.parametrize("name", ["round.csv", "round"])
def test_a_link_to_itself_is_a_stray_and_stops_nothing(landing: Path, name: str) -> None:
    path = put(landing, GOOD)
    (path.parent / name).symlink_to(path.parent / name)
    inventory = look(landing)
    assert names(inventory) == [GOOD]
    assert len(inventory.strays) == 1


def test_a_folder_that_cannot_be_listed_is_told(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in it would otherwise be missing without a word."""
    shut = put(landing, GOOD).parent
    put(landing, "insurer/claims/dt=2026-07-01/a.csv")
    scandir = os.scandir

    def scan(folder: Path) -> object:
        if Path(folder) == shut:
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    inventory = look(landing)
    assert names(inventory) == ["insurer/claims/dt=2026-07-01/a.csv"]
    said = "a folder that cannot be listed (Permission denied); correct its permissions or its name."
    assert inventory.strays == ((GOOD.rpartition("/")[0], said),)


def test_a_very_deep_folder_stops_nothing(landing: Path) -> None:
    put(landing, GOOD)
    put(landing, "/".join(["d"] * 300) + "/a.csv")
    inventory = look(landing)
    assert names(inventory) == [GOOD]
    assert "wrong depth" in inventory.strays[0].reason
    assert len(inventory.strays[0].name) == 500


def test_a_link_to_a_file_that_stays_inside_is_a_file(landing: Path) -> None:
    path = put(landing, GOOD)
    (path.parent / "again.csv").symlink_to(path)
    assert len(look(landing).files) == 2


def test_a_link_to_nothing_is_a_stray(landing: Path) -> None:
    path = put(landing, GOOD)
    (path.parent / "broken.csv").symlink_to(path.parent / "never.csv")
    inventory = look(landing)
    assert names(inventory) == [GOOD]
    assert inventory.strays[0].reason == "a link to a file that does not exist; deliver the file itself."


@pytest.mark.parametrize("linked", ["insurer", "insurer/claims", "insurer/claims/dt=2026-07-01"])
@pytest.mark.parametrize("only_feed", [{}, {"only_feed": "claims"}])
def test_a_linked_folder_is_not_entered(landing: Path, tmp_path: Path, linked: str, only_feed: dict[str, str]) -> None:
    below = Path("insurer/claims/dt=2026-07-01").relative_to(linked)
    put(tmp_path / "elsewhere", (below / "claims.csv").as_posix())
    (landing / linked).parent.mkdir(parents=True, exist_ok=True)
    (landing / linked).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    inventory = look(landing, **only_feed)
    assert inventory.files == ()
    if not only_feed or linked != "insurer":
        assert inventory.strays == ((linked, "a linked folder, which is not followed; deliver the folder itself."),)


def test_what_is_no_ordinary_file_is_a_stray(landing: Path) -> None:
    path = put(landing, GOOD)
    os.mkfifo(path.parent / "pipe.csv")
    inventory = look(landing)
    assert names(inventory) == [GOOD]
    assert inventory.strays[0].reason == "no ordinary file but a pipe, socket or device; deliver the file itself."


def test_a_name_that_is_not_utf_8_is_a_stray_with_its_bytes_spelled_out(landing: Path) -> None:
    folder = put(landing, GOOD).parent
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xb5.csv")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (stray,) = look(landing).strays
    assert stray.name.endswith("\\udcb5.csv")
    assert stray.name.encode("utf-8")
    assert stray.reason == "a name that is not UTF-8; rename the file."


def test_only_one_feed_is_looked_through_where_one_is_asked_for(landing: Path) -> None:
    for name in [GOOD, "insurer/claims/dt=2026-07-01/a.csv", "insurer/consents/dt=2026-07-01/a.csv", "stray.csv"]:
        put(landing, name)
    put(landing, "course_platform/consents/dt=2026-07-01/a.csv")
    assert names(look(landing, only_feed="consents")) == [
        "course_platform/consents/dt=2026-07-01/a.csv",
        "insurer/consents/dt=2026-07-01/a.csv",
    ]
    assert look(landing, only_feed="consents").strays == ()
    assert [stray.name for stray in look(landing).strays] == ["stray.csv"]


def test_looking_for_one_feed_finds_the_same_files_as_looking_for_all(landing: Path) -> None:
    for day in (1, 2, 3):
        for where in ("course_platform/consents", "insurer/consents", "insurer/claims"):
            put(landing, f"{where}/dt=2026-07-0{day}/a.csv")
    days = [date(2026, 7, 1), date(2026, 7, 3)]
    assert look(landing).of("consents", days) == look(landing, only_feed="consents").of("consents", days)
    assert {file.dt for file in look(landing).of("consents", days)} == set(days)


def test_the_hash_is_that_of_the_bytes_and_empty_for_a_file_that_is_gone(tmp_path: Path) -> None:
    # SHA-256 of "abc", FIPS 180-2 appendix B.1
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert content_hash(put(tmp_path, "a.csv", b"abc")) == known
    assert content_hash(tmp_path / "gone.csv") == ""
