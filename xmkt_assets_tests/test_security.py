"""No contact of a person lies anywhere under a home, and a partner's values never become part of a statement.

The scan is shown to find a planted value in each kind of file before a platform without hits counts as proof.
"""

import gzip
import json
import pickle
import random
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from xmkt_assets.contracts import contracts
from xmkt_assets.raw.landing import take_inventory
from xmkt_assets.raw.load import load_feed
from xmkt_assets.security import Hit, ScanError, contact_kinds, is_id_number, main, scan_home
from xmkt_assets.simulate.people import contacts
from xmkt_assets.warehouse import Lake, attach_sql
from xmkt_assets_tests.platform_helper import Platform, finished_platform
from xmkt_assets_tests.sql_helper import read_model

NEEDLE = "王小明+8613812345678"
PLANTED_NAMES = ("欧阳测试甲", "司徒测试乙", "Planted Person")


def sqlite_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table t (a text)")
    # Longer than a page, with the value where the first overflow page ends.
    connection.executemany("insert into t values (?)", [("x" * (4000 + i) + NEEDLE + "y" * 5000,) for i in range(300)])
    connection.commit()
    connection.close()


def duckdb_file(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        rows = [f"{'ab' * 50}{i % 7}" for i in range(5000)] + [NEEDLE]
        connection.execute("create table t as select unnest($rows) as a", {"rows": rows})


def lake_home(path: Path) -> None:
    Lake(path).replace("raw.t", pl.DataFrame({"a": [*(str(i) for i in range(100)), NEEDLE]}))
    Lake(path).replace("raw.inlined", pl.DataFrame({"a": [NEEDLE]}))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.csv.gz", gzip.compress(f"a\n{NEEDLE}\n".encode()))


WAYS: dict[str, Callable[[Path], object]] = {
    "text.csv": lambda p: p.write_text(f"a,{NEEDLE}\n", encoding="utf-8"),
    "gbk.csv": lambda p: p.write_bytes(f"a,{NEEDLE}\n".encode("gb18030")),
    "utf16.txt": lambda p: p.write_bytes(f"a {NEEDLE}\n".encode("utf-16")),
    "rows.csv.gz": lambda p: p.write_bytes(gzip.compress(f"a\n{NEEDLE}\n".encode() * 3)),
    "cut.csv.gz": lambda p: p.write_bytes(
        gzip.compress(f"a\n{NEEDLE}\n{random.Random(1).random()}".encode() * 999)[:-9]
    ),
    "rows.parquet": lambda p: pl.DataFrame({"a": [[NEEDLE]] * 9}).write_parquet(p, compression="zstd"),
    "log.db": sqlite_file,
    "published.duckdb": duckdb_file,
    "model.pkl": lambda p: p.write_bytes(pickle.dumps({"ids": [NEEDLE]})),
    "array.pkl": lambda p: p.write_bytes(pickle.dumps(np.array(["longer than the other one is", NEEDLE]))),
    "arrays.npz": lambda p: np.savez_compressed(p, ids=np.array([NEEDLE] * 5)),
    "packed.zip": zipped,
    f"{NEEDLE}.txt": lambda p: p.write_bytes(b""),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """File → places in which the one scan of this module finds the planted value."""
    home = tmp_path_factory.mktemp("planted")
    for name, write in WAYS.items():
        write(home / name)
    lake_home(home)
    (home / "innocent.txt").write_text("王小明 +86138123456789 8613812345678", encoding="utf-8")
    found: dict[str, set[str]] = {}
    for file, place, value in scan_home(home, ["nothing", NEEDLE]):
        assert value == NEEDLE
        found.setdefault(file, set()).add(place)
    return found


@pytest.mark.parametrize("name", WAYS)
def test_a_value_is_found_in_every_kind_of_file(planted: dict[str, set[str]], name: str) -> None:
    assert name in planted


def test_a_value_is_found_in_the_lake_in_its_files_and_in_rows_kept_in_the_catalog(
    planted: dict[str, set[str]],
) -> None:
    lake = {file: places for file, places in planted.items() if file.startswith("lake/")}
    assert any(file.endswith(".parquet") and "a" in places for file, places in lake.items())
    assert any("inlined" in place for file, places in lake.items() for place in places)


def test_nothing_else_is_found(planted: dict[str, set[str]]) -> None:
    assert {file for file in planted if not file.startswith("lake/")} == set(WAYS)


def test_an_archive_with_a_password_ends_the_scan_with_its_name_instead_of_passing_for_clean(tmp_path: Path) -> None:
    zipped(tmp_path / "locked.zip")
    content = bytearray((tmp_path / "locked.zip").read_bytes())
    content[6] |= 1  # the flag "encrypted" in the local header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    (tmp_path / "locked.zip").write_bytes(content)
    with pytest.raises(ScanError, match=r"(?s)ended with code 2.*locked\.zip.*password.*Unpack it, or remove it"):
        scan_home(tmp_path, [NEEDLE])


def test_a_value_that_lies_across_two_pieces_of_a_large_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xmkt_assets import security

    monkeypatch.setattr(security, "CHUNK", 100)
    search = security.needle_search(["seam-value"], whole_words=False)
    for before in (92, 95, 99, 195):
        (tmp_path / "f").write_bytes(b"." * before + b"seam-value" + b"." * 300)
        assert list(security.scan(tmp_path, search)) == [Hit("f", "bytes", "0")]


@pytest.mark.parametrize(
    ("text", "is_found"),
    [("u12", True), ("a,u12,b", True), ("u123", False), ("xu12", False), ("u123 u12", True), ("_u12", False)],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-le"])
def test_whole_words_leave_out_longer_ids(tmp_path: Path, text: str, encoding: str, is_found: bool) -> None:
    from xmkt_assets import security

    (tmp_path / "f").write_bytes(text.encode(encoding))
    found = list(security.scan(tmp_path, security.needle_search(["u12"], whole_words=True)))
    assert bool(found) is is_found


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("call 13812345678 now", {"phone"}),
        ('"+8613812345678"', {"phone"}),
        ("86-13812345678", {"phone"}),
        ("0.13812345678", set()),
        ("1381234567890", set()),
        ("12812345678", set()),
        ("such as +8613800000000", set()),
        ("me: some.body@mail.example.", {"e-mail"}),
        ("@pytest.fixture a@b", set()),
        # The worked example of GB 11643-1999, and the same with another check digit.
        ("id 11010519491231002X", {"ID number"}),
        ("id 110105194912310021", set()),
        ("a" * 64, set()),
    ],
)
def test_shapes_of_contacts(text: str, kinds: set[str]) -> None:
    assert contact_kinds(text.encode()) == kinds


def test_the_check_digit_of_an_id_number_tells_a_mistyped_digit() -> None:
    right = "11010519491231002X"
    assert is_id_number(right)
    wrong = [right[:i] + str((int(right[i]) + 1) % 10) + right[i + 1 :] for i in range(17)]
    assert not any(is_id_number(number) for number in wrong)


def test_the_command_names_files_and_never_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "leak.log").write_text("mail to some.body@mail.example", encoding="utf-8")
    (tmp_path / "clean.log").write_text("nothing", encoding="utf-8")
    assert main(["--home", str(tmp_path), "--patterns"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("leak.log: e-mail in bytes\n2 files")
    assert "some.body" not in said
    (tmp_path / "leak.log").unlink()
    assert main(["--home", str(tmp_path), "--patterns"]) == 0


# ── the platform ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return finished_platform(tmp_path_factory)


def test_no_contact_of_a_simulated_person_lies_under_the_home(platform: Platform) -> None:
    phones, emails = contacts(400, seed=7)
    without_code = [phone.removeprefix("+86") for phone in phones]
    assert len(set(phones)) > 350
    assert scan_home(platform.home, [*phones, *without_code, *emails, *PLANTED_NAMES]) == ()


def test_nothing_under_the_home_has_the_shape_of_a_contact(platform: Platform) -> None:
    command = [sys.executable, "-m", "xmkt_assets.security", "--home", str(platform.home), "--patterns"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# ── a partner's values ───────────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = (
    "'; drop table raw.users; --",
    "\"; attach 'x.db'; --",
    "$1 $start $$ {0} %s",
    "a' or '1'='1",
    "u\u202e\u0000x".replace("\u0000", ""),
    "王'小\"明;）；＇",
    "\\'; select 1; /*",
    "*/ -- ",
    "x'); insert into staging.users select * from staging.users; ('",
    "😀' union all select version() --",
)


def test_hostile_values_travel_through_load_and_staging_as_they_are(tmp_path: Path) -> None:
    """Every text column at once, as JSON (no escaping but JSON's), in ids as well as in free text."""
    day = date(2026, 7, 1)
    folder = tmp_path / "landing" / "course_platform" / "users" / f"dt={day}"
    folder.mkdir(parents=True)
    rows = [
        {
            "user_id": f"{i}{v}",
            "occupation": v,
            "interests": v,
            "registered_at": f"{day} 08:00:00",
            "updated_at": f"{day} 09:00:00",
        }
        for i, v in enumerate(HOSTILE)
    ]
    name = "rows '; drop table raw.file_ledger; --.jsonl"
    (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    lake = Lake(tmp_path, threads=1)
    contract = contracts()["users"]
    files = take_inventory(tmp_path / "landing", contracts()).of("users", [day])
    with lake.session() as session:
        for _ in range(2):  # the second time replaces the rows of the first
            load_feed(session, contract, files, run_id="r'; --", loaded_at=datetime(2026, 7, 2))
        session.stage("staged_rows", read_model("staging.users").sql)
        stored = session.read("select user_id, occupation, interests from staged_rows order by user_id").rows()
        assert session.tables() >= {"raw.users", "raw.file_ledger", "raw.quarantine"}
        ledger = session.read("select source_file, rows_loaded from raw.file_ledger").rows()
    assert sorted(stored) == sorted((f"{i}{v.strip()}".strip(), v.strip(), v.strip()) for i, v in enumerate(HOSTILE))
    assert ledger == [(f"course_platform/users/dt={day}/{name}", len(HOSTILE))]


def test_the_lake_opens_under_a_hostile_path(tmp_path: Path) -> None:
    home = tmp_path / 'it\'s; a "home" -- 王'
    Lake(home).replace("raw.t", pl.DataFrame({"a": ["x"]}))
    assert any("''" in statement for statement in attach_sql(home / "lake", read_only=True))
    assert Lake(home).read("select a from raw.t")["a"].to_list() == ["x"]


def test_a_file_that_only_begins_like_an_archive_is_looked_through_as_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"PK\x03\x04 13800138000")
    assert [hit.file for hit in scan_home(tmp_path, ["13800138000"])] == ["a.csv"]
