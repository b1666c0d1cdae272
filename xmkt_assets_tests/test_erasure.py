"""A person leaves every place the platform has, provably, and everybody else stays as they were.

One erasure on a copy of the tiny platform, with traces planted in every kind of place, is asked many questions; the
steps by themselves are tried on small lakes.
"""

import csv
import gzip
import hashlib
import io
import json
import pickle
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.automation import erasures
from xmkt_assets.automation.erasures import last_erasure
from xmkt_assets.automation.jobs import ERASE, LOAD, RETRAIN
from xmkt_assets.erasure import compact, lake, models, suppression, tables, work
from xmkt_assets.erasure.models import Version
from xmkt_assets.erasure.receipts import ReceiptError, verify_receipt, write_receipt
from xmkt_assets.erasure.registry import registry_of
from xmkt_assets.erasure.requests import Account, Person, Request, RequestError, read_request, write_request
from xmkt_assets.erasure.work import Place, erase
from xmkt_assets.published import publish
from xmkt_assets.raw.books import LEDGER
from xmkt_assets.raw.rewriting import Forgotten, RewriteError, stage_without
from xmkt_assets.recommenders.als import ALS
from xmkt_assets.secrets import home_secret
from xmkt_assets.security import scan_home
from xmkt_assets.warehouse import Delete, Lake, WarehouseError, attach_sql
from xmkt_assets_tests.platform_helper import Platform, finished_platform

ASKED_ON = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 12)
EVERYWHERE = "everywhere"

# ── files without somebody's rows ────────────────────────────────────────────────────────────────────────────────────

ANN = Forgotten({"user_id": frozenset({"u12"})}, frozenset({"u12", "pabc"}))


def without_ann(tmp_path: Path, name: str, content: bytes) -> bytes | None:
    """The file after it was rewritten; None where nothing had to be."""
    path = tmp_path / name
    path.write_bytes(content)
    done = stage_without(path, ANN)
    if done is None:
        assert [p.name for p in tmp_path.iterdir()] == [name]
        return None
    assert path.read_bytes() == content, "the old file stands until the new one is put"
    done.put()
    assert done.size_bytes == path.stat().st_size
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.csv", b"user_id,x\r\nu12,1\r\nu123,2\r\nu1,3", b"user_id,x\r\nu123,2\r\nu1,3"),
        ("a.csv", b'user_id,x\n"u12","a\nb"\nu1,"c\nd"\n', b'user_id,x\nu1,"c\nd"\n'),
        ("a.csv", b"x;user_id\n1;u12\n2;u1\n", b"x;user_id\n2;u1\n"),
        ("a.tsv", b"user_id\tx\n u12 \t1\nu1\t2\n", b"user_id\tx\nu1\t2\n"),
        # Somebody else's row that names her: the row stays, her id does not.
        ("a.csv", b"user_id,x\nu1,friend of u12!\n", b"user_id,x\nu1,friend of ***!\n"),
        ("a.csv", b"user_id,x\nu1,xu12 u123\n", None),
        # A line that cannot be split names nobody it is about, so it goes.
        ("a.csv", b"user_id,x\nu12,1,2,3\nu1,2\n", b"user_id,x\nu1,2\n"),
        # A quote that is never closed must not take the rest of the file along.
        ("a.csv", b'user_id,x\nu1,"open\nu12,3\nu5,6\n', b'user_id,x\nu1,"open\nu5,6\n'),
        # Without a column that says whom a row is about, any cell does.
        ("a.csv", b"who,x\nu12,1\nu1,2\n", b"who,x\nu1,2\n"),
        ("a.csv", "\ufeffuser_id,x\nu12,王\nu1,李\n".encode(), "\ufeffuser_id,x\nu1,李\n".encode()),
        ("a.csv", "user_id,名\nu12,王\nu1,李 pabc\n".encode("gb18030"), "user_id,名\nu1,李 ****\n".encode("gb18030")),
        ("a.jsonl", b'{"user_id": "u12"}\n{"user_id":"u1"}\n', b'{"user_id":"u1"}\n'),
        ("a.jsonl", b'{"user_id":"u1","l":["u12"]}\n{broken u12\n', b'{"user_id":"u1","l":["***"]}\n'),
        ("a.csv", b"user_id,x\n", None),
        ("a.csv", b"", None),
    ],
)
def test_a_file_loses_her_rows_and_keeps_the_others_byte_for_byte(
    tmp_path: Path, name: str, content: bytes, wanted: bytes | None
) -> None:
    assert without_ann(tmp_path, name, content) == wanted


def test_a_gzipped_file_stays_one(tmp_path: Path) -> None:
    found = without_ann(tmp_path, "a.csv.gz", gzip.compress(b"user_id\nu12\nu1\n"))
    assert found is not None
    assert gzip.decompress(found) == b"user_id\nu1\n"


def test_a_parquet_file_keeps_schema_row_groups_and_other_rows(tmp_path: Path) -> None:
    rows = pl.DataFrame({"user_id": ["u1", "u12", "u2", "u3"], "n": [1, 2, 3, 4], "l": [["a"], ["b"], ["u12"], None]})
    path = tmp_path / "a.parquet"
    rows.write_parquet(path, row_group_size=2)
    done = stage_without(path, ANN)
    assert done is not None
    assert (done.rows_removed, done.rows_masked) == (1, 1)
    done.put()
    left = pl.read_parquet(path)
    assert left.schema == rows.schema
    assert left.rows() == [("u1", 1, ["a"]), ("u2", 3, ["***"]), ("u3", 4, None)]
    with duckdb.connect() as connection:
        groups = connection.execute("select count(distinct row_group_id) from parquet_metadata(?)", [str(path)])
        assert groups.fetchone() == (2,)


def test_the_manifest_of_the_folder_follows(tmp_path: Path) -> None:
    (tmp_path / "_MANIFEST.json").write_text(
        json.dumps({"files": [{"name": "a.csv", "bytes": 14, "sha256": "0" * 64, "rows": 2}, {"name": "b.csv"}]})
    )
    (tmp_path / "a.csv").write_bytes(b"user_id\nu12\nu1\n")
    done = stage_without(tmp_path / "a.csv", ANN)
    assert done is not None
    done.put()
    line, other = json.loads((tmp_path / "_MANIFEST.json").read_text())["files"]
    assert line == {"name": "a.csv", "bytes": 11, "sha256": done.sha256, "rows": 1}
    assert other == {"name": "b.csv"}


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv.gz"])
def test_a_file_that_cannot_be_written_without_her_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"user_id\nu12\n")  # no gzip
    with pytest.raises(RewriteError, match="cannot be rewritten"):
        stage_without(tmp_path / name, ANN)
    assert [p.name for p in tmp_path.iterdir()] == [name]


LINES = st.lists(
    st.tuples(st.sampled_from(["u12", "u1", "u123"]), st.text(st.sampled_from('ab",\n;王'), max_size=5)), max_size=8
)


@settings(max_examples=50, deadline=None)
@given(LINES)
def test_rewriting_is_reading_filtering_and_writing(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    """Oracle: Python's own reader on both files."""

    def written(some: list[Any]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("user_id", "x"), *some])
        return text.getvalue().encode()

    found = without_ann(tmp_path_factory.mktemp("rewriting"), "a.csv", written(rows))
    kept = [row for row in rows if row[0] != "u12"]
    assert found == (written(kept) if len(kept) < len(rows) else None)


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_written_for_the_owners_eyes_under_an_id_that_says_nothing(tmp_path: Path) -> None:
    made = write_request(tmp_path, Account("insurer", "k123"), scope="account", asked_on=ASKED_ON)
    (path,) = (tmp_path / "erasure_requests").iterdir()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "k123" not in path.name
    assert read_request(path) == made


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r1", "partner: insurer\nsubject_id: k123\n", "is no request"),
        ("r1", "partner: nobody\nsubject_id: k123\nasked_on: 2026-11-23\n", "unknown partner"),
        ("r1", "partner: insurer\nsubject_id: ''\nasked_on: 2026-11-23\n", "no usable subject_id"),
        ("r1", "partner: insurer\nsubject_id: k123\nscope: all\nasked_on: 2026-11-23\n", "unknown scope"),
        ("of-k123", "partner: insurer\nsubject_id: k123\nasked_on: 2026-11-23\n", "names the person"),
        ("r1", "[", "is no request"),
    ],
)
def test_a_wrong_request_is_refused_without_naming_anybody(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match=said) as refused:
        read_request(path)
    assert "k123" not in str(refused.value)


def test_a_number_as_id_is_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "r1.yaml").write_text("partner: insurer\nsubject_id: 123456789\nasked_on: 2026-11-23\n")
    assert read_request(tmp_path / "r1.yaml").account == Account("insurer", "123456789")


@pytest.mark.parametrize(
    ("subject", "is_word"), [("k1", False), ("k123", True), ("12345678", False), ("123456789", True)]
)
def test_an_id_that_could_mean_anything_is_looked_for_in_columns_only(subject: str, is_word: bool) -> None:
    person = Person((Account("insurer", subject),), ("p1234",))
    assert (subject in person.words, person.untold_ids) == (is_word, 0 if is_word else 1)


# ── whose rows ───────────────────────────────────────────────────────────────────────────────────────────────────────


def people_lake(home: Path) -> Lake:
    """Ann (u1000 and k1000), Bob (u2000) who shares her phone at home, and somebody at the insurer called u2000."""
    made = Lake(home, threads=1)
    identities = [
        ("course_platform", "u1000", "pann"),
        ("insurer", "k1000", "pann"),
        ("course_platform", "u2000", "pbob"),
        ("insurer", "u2000", "pcleo"),
    ]
    kinds = dict.fromkeys(("partner", "subject_id", "person_id"), pl.String)
    made.replace("staging.identities", pl.DataFrame(identities, schema=kinds, orient="row"))
    made.replace(
        "staging.users",
        pl.DataFrame({"user_id": ["u1000", "u2000"], "phone_hash": ["home", "home"], "email_hash": ["hers", "his"]}),
    )
    made.replace(
        "raw.orders", pl.DataFrame({"user_id": ["u1000", "u2000"], "order_id": ["o1", "o2"], "partner": ["x", "x"]})
    )
    made.replace("later.prices", pl.DataFrame({"occasion_id": ["o1", "o2", "o3"]}))
    made.replace(
        "later.added",
        pl.DataFrame(
            {
                "anything": ["k1000", "y", "z", "k10001"],
                "note": ["a", "met pann.", "pann2", None],
                "inner": [{"l": ["a"]}, {"l": ["u1000", "b"]}, {"l": None}, None],
            }
        ),
    )
    return made


@pytest.fixture(scope="module")
def lake_of_people(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return people_lake(tmp_path_factory.mktemp("people"))


def asked(partner: str, subject: str, scope: Any = EVERYWHERE) -> Request:
    return Request("r1", Account(partner, subject), scope, ASKED_ON)


def test_a_person_is_all_accounts_names_and_the_identifiers_nobody_else_carries(lake_of_people: Lake) -> None:
    with lake_of_people.session() as session:
        found = tables.find_person(session, asked("insurer", "k1000"))
    assert set(found.accounts) == {("course_platform", "u1000"), ("insurer", "k1000")}
    assert found.person_ids[0] == "pann"
    assert found.hashes == ("hers",)


def test_an_id_both_firms_gave_to_different_people_is_no_word(lake_of_people: Lake) -> None:
    with lake_of_people.session() as session:
        found = tables.find_person(session, asked("course_platform", "u2000"))
    assert found.shared_ids == ("u2000",)
    assert "u2000" not in found.words
    assert "pbob" in found.words


def test_tables_added_later_are_covered_by_their_columns_and_their_texts(lake_of_people: Lake) -> None:
    with lake_of_people.session() as session:
        found = tables.find_person(session, asked("insurer", "k1000"))
        events = tables.event_ids(session, found, tables.lake_tables(session))
        counts = {c.table: (c.of_person, c.mentioning) for c in tables.count_rows(session, found, events=events)}
    assert events == {"o1"}
    assert counts == {
        "staging.identities": (2, 0),
        "staging.users": (1, 0),
        "raw.orders": (1, 0),
        "later.prices": (1, 0),
        "later.added": (1, 1),
    }


def test_removing_takes_her_rows_and_clears_what_others_say_of_her(tmp_path: Path) -> None:
    made = people_lake(tmp_path)
    with made.session() as session:
        found = tables.find_person(session, asked("insurer", "k1000"))
        counts = tables.count_rows(session, found)
        session.commit(tables.removals(session, found, counts))
        assert tables.count_rows(session, found) == []
    assert made.read("from later.added").rows() == [
        ("y", f"met {tables.REMOVED}.", {"l": [tables.REMOVED, "b"]}),
        ("z", "pann2", {"l": None}),
        ("k10001", None, None),
    ]
    assert made.read("select user_id from raw.orders")["user_id"].to_list() == ["u2000"]


def test_of_one_account_only_its_rows_and_what_was_derived_from_the_person_go(tmp_path: Path) -> None:
    made = people_lake(tmp_path)
    made.replace("segments.profile", pl.DataFrame({"person_id": ["pann", "pbob"]}))
    with made.session() as session:
        found = tables.find_person(session, asked("insurer", "k1000", "account"))
        counts = {c.table: c.of_person for c in tables.count_rows(session, found)}
    assert found.accounts == (("insurer", "k1000"),)
    assert counts == {"staging.identities": 1, "later.added": 1, "segments.profile": 1}


# ── suppression ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_before_anybody_was_erased_the_loader_has_nothing_to_ask(tmp_path: Path) -> None:
    with Lake(tmp_path).session() as session:
        assert suppression.erased_condition(session, tmp_path, partner="partner", subject="user_id") == "false"
    assert not (tmp_path / "secrets").exists()


def test_an_erased_account_is_known_again_at_its_firm_only_and_named_nowhere(tmp_path: Path) -> None:
    made = Lake(tmp_path)
    rows = [
        ("insurer", "k1", True),
        ("insurer", "k10", False),
        ("course_platform", "k1", False),
        ("insurer", None, False),
    ]
    with made.session() as session:
        for _ in range(2):  # the second time adds nothing
            suppression.suppress(session, tmp_path, [Account("insurer", "k1")], request_id="r1", erased_at=NOW)
        condition = suppression.erased_condition(session, tmp_path, partner="partner", subject="user_id")
        kinds = {"partner": pl.String, "user_id": pl.String, "wanted": pl.Boolean}
        session.stage_rows("incoming", pl.DataFrame(rows, schema=kinds, orient="row"))
        assert session.read(f"select {condition} = wanted as holds from incoming")["holds"].to_list() == [True] * 4
        assert session.read("select count(*) as n from raw.erased_subjects").item() == 1
        assert home_secret(tmp_path, "erasure").hex() not in condition
    keyed = hashlib.sha256(f"{home_secret(tmp_path, 'erasure').hex()}|insurer:k1".encode()).hexdigest()
    assert made.read("select subject_key from raw.erased_subjects").item() == keyed


# ── the lake's memory ────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_purging_no_page_file_or_statistic_remembers_deleted_rows(tmp_path: Path) -> None:
    made = Lake(tmp_path, threads=1)
    many = pl.DataFrame({"user_id": [f"u{i:05d}" for i in range(100)], "l": [[f"u{i:05d}"] for i in range(100)]})
    for table, rows in (("raw.many", many), ("raw.few", many.head(3))):
        for _ in range(2):
            made.replace(table, rows)
    gone = ["u00099", "u00000"]  # the largest and the smallest: they stand in statistics
    with made.session() as session:
        for table in ("raw.many", "raw.few"):
            session.commit([tables.Delete(table, "user_id in (select unnest($gone))", {"gone": gone})])
    assert {h.found for h in scan_home(tmp_path, gone)} == set(gone)
    done = lake.purge(made, gone)
    assert scan_home(tmp_path, gone) == ()
    assert made.read("select count(*) as n from raw.many").item() == 98
    assert made.read("select user_id from raw.few order by 1")["user_id"].to_list() == ["u00001", "u00002"]
    assert done.expired[0] == 0
    assert done.first_readable == made.snapshot_id()
    assert lake.purge(made, gone) == lake.Purged((), done.first_readable, 0)
    made.replace("raw.few", many.head(1), where={"user_id": "u00000"})
    assert made.read("select count(*) as n from raw.few where user_id < 'u00001'").item() == 1


def test_a_reader_that_was_there_before_reads_on(tmp_path: Path) -> None:
    made = people_lake(tmp_path)
    with duckdb.connect() as reader:
        for statement in attach_sql(made.root, read_only=True):
            reader.execute(statement)
        query = "select count(*) from raw.orders"
        assert reader.execute(query).fetchall() == [(2,)]
        with made.session() as session:
            session.commit([tables.Delete("raw.orders", "user_id = 'u1000'")])
        lake.purge(made, ["u1000"])
        assert reader.execute(query).fetchall() == [(1,)]


def test_a_log_that_a_reader_holds_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compact, "WAIT_SECONDS", 0.1)
    path = tmp_path / "catalog.sqlite"
    with sqlite3.connect(path, isolation_level=None) as book:
        book.execute("pragma journal_mode = wal")
        book.execute("create table t as select value as n from json_each('[1,2,3]')")
        half_read = book.execute("select n from t")
        half_read.fetchone()
        assert compact.main([str(path)], []) == 1
        half_read.close()
    assert "Readers hold" in capsys.readouterr().err
    assert compact.main([str(path)], []) == 0


@pytest.mark.parametrize(("snapshots", "said"), [([], ""), ([3], "3"), ([1, 2, 3, 7, 9, 8], "1-3, 7-9")])
def test_snapshots_are_said_as_spans(snapshots: list[int], said: str) -> None:
    assert lake.in_words(snapshots) == said


# ── books and models ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_words_in_a_database_are_overwritten_whole_and_of_the_same_length(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "log.db") as book:
        book.execute("create table t (id integer primary key, a text, b blob, n integer)")
        book.execute("insert into t values (1, 'of u12, u123 王', cast('u12' as blob), 12), (2, null, 'x', 3)")
    assert compact.main([str(tmp_path / "log.db")], ["u12"]) == 0
    with sqlite3.connect(tmp_path / "log.db") as book:
        assert book.execute("select a, b, n from t order by id").fetchall() == [
            ("of ***, u123 王", b"***", 12),
            (None, "x", 3),
        ]


def fitted() -> Any:
    rows = [(f"p{i % 7}", f"c{i % 5}", f"o{i}", datetime(2026, 7, 1), "purchase", 1.0) for i in range(30)]
    names = ("person_id", "item_id", "occasion_id", "occurred_at", "event", "weight")
    interactions = pl.DataFrame(rows, schema=names, orient="row")
    items = interactions.select("item_id").unique()
    return ALS(iterations=2).fit(interactions, items, interactions.select("person_id").unique())


def test_a_serving_model_forgets_one_person_and_serves_everybody_else_the_same() -> None:
    before = fitted()
    after = models.without(before, ["p3", "stranger"])
    others = pl.DataFrame({"person_id": ["p0", "p1", "p2", "p4", "p5", "p6"]})
    assert after.recommend(others, 3).equals(before.recommend(others, 3))
    assert set(after.recommend(pl.DataFrame({"person_id": ["p3"]}), 3)["basis"]) == {"popularity"}
    content = pickle.dumps(after)
    assert "p3".encode("utf-32-le") not in content
    assert "p4".encode("utf-32-le") in content
    assert after.person_factors.shape[0] == 6


class Tags:
    """A registry that remembers what was said of versions."""

    def __init__(self, *versions: Version) -> None:
        self.known, self.said = versions, dict[int, Mapping[str, str]]()

    def versions(self) -> Iterator[Version]:
        return iter(self.known)

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        self.said[version.version] = tags


def test_versions_that_learnt_from_her_lose_their_file_and_the_champion_her_row(tmp_path: Path) -> None:
    made = Lake(tmp_path)
    days = [date(2026, 7, 1), date(2026, 7, 2)]
    made.replace("recommenders.course_interactions", pl.DataFrame({"as_of_on": days, "person_id": ["p0", "p3"]}))
    earlier = made.snapshot_id()
    made.replace("recommenders.course_interactions", pl.DataFrame({"as_of_on": days, "person_id": ["p0", "p0"]}))
    blank = np.array(["p0"])
    for number in range(1, 5):
        (tmp_path / str(number)).write_bytes(pickle.dumps(fitted() if number == 3 else blank))

    def version(number: int, day: date | None, snapshot: int | None, is_champion: bool = False) -> Version:
        return Version("course_recommender", number, is_champion, day, snapshot, tmp_path / str(number))

    registry = Tags(
        version(1, days[0], earlier),
        version(2, days[1], earlier),  # she was there in that snapshot
        version(3, None, None, is_champion=True),  # its file names her
        version(4, days[1], made.snapshot_id()),
    )
    person = Person((Account("insurer", "k1000"),), ("p3",), hashes=("p3",))
    with made.session() as session:
        found = models.trained_with(session, registry.versions(), person)
    assert [v.version for v in found] == [2, 3]
    done = [models.forget(registry, v, person, request_id="r1") for v in found]
    assert [d.artifact for d in done] == ["was removed", "serves on without the person's row"]
    assert [(tmp_path / str(n)).exists() for n in range(1, 5)] == [True, False, True, True]
    assert registry.said.keys() == {2, 3}
    assert registry.said[2]["retrain"] == "due"
    assert not models.holds(tmp_path / "3", ["p3"])


def test_a_receipt_tells_a_change_and_another_home(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    path = write_receipt(here, {"request_id": "r1", "rows": 3}, words=["k123"])
    assert verify_receipt(here, path) == ""
    assert "another one" in verify_receipt(there, path)
    path.write_text(path.read_text().replace('"rows": 3', '"rows": 4'))
    assert "changed" in verify_receipt(here, path)
    path.write_text("{}")
    assert "no receipt" in verify_receipt(here, path)
    with pytest.raises(ReceiptError):
        write_receipt(here, {"request_id": "r2", "file": "of k123.csv"}, words=["k123"])
    assert not (here / "receipts" / "r2.json").exists()


# ── broken off, repeated, nobody there ───────────────────────────────────────────────────────────────────────────────


def place_of(home: Path) -> Place:
    (home / "landing").mkdir(exist_ok=True)
    return Place(home, Lake(home, threads=1), home / "landing", None)


def run_erase(home: Path, request: Request) -> work.Erased:
    (done,) = erase(place_of(home), [request], run_id="run", now=NOW)
    return done


class BrokenOffError(Exception):
    """Stands for kill -9."""


def test_a_run_broken_off_after_any_step_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people_lake(tmp_path)
    folder = tmp_path / "landing" / "course_platform" / "users" / "dt=2026-07-01"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"user_id,x\nu1000,1\nu2000,2\n")
    request = write_request(tmp_path, Account("insurer", "k1000"), scope="everywhere", asked_on=ASKED_ON)

    def break_off(*_: object, **__: object) -> None:
        raise BrokenOffError

    steps = [
        (work, "suppress"),
        (work, "_ledger_changes"),
        (work.Rewriting, "put"),
        (lake, "_clear_catalog"),
        (lake, "_compact"),
        (work, "_hits"),
        (work, "write_receipt"),
        (work, "close"),
    ]
    for owner, name in steps:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, break_off)
            with pytest.raises(BrokenOffError):
                run_erase(tmp_path, request)
    done = run_erase(tmp_path, request)
    assert done.is_complete
    counted = {t["table"]: t["rows_of_person_before"] for t in done.content["tables"]}
    assert counted["staging.users"] == 1, "the receipt tells what was there before the first attempt"
    assert done.content["accounts_erased"] == 2
    assert (folder / "a.csv").read_bytes() == b"user_id,x\nu2000,2\n"
    assert scan_home(tmp_path, ["u1000", "k1000", "pann", "hers"], whole_words=True) == ()
    assert list((tmp_path / "erasure_requests").iterdir()) == []
    assert Lake(tmp_path).read("select count(*) as n from raw.erased_subjects").item() == 2


def test_erasing_somebody_unknown_or_a_second_time_removes_nothing_and_is_told(tmp_path: Path) -> None:
    people_lake(tmp_path)
    before = {t: Lake(tmp_path).read(f"from {t}").rows() for t in ("raw.orders", "staging.identities")}
    for _ in range(2):
        request = write_request(tmp_path, Account("insurer", "nobody99"), scope="everywhere", asked_on=ASKED_ON)
        done = run_erase(tmp_path, request)
        assert (done.is_complete, done.content["tables"]) == (True, [])
    assert {t: Lake(tmp_path).read(f"from {t}").rows() for t in before} == before
    book = Lake(tmp_path).read("select table_name, status, rows_of_person_before from staging.erasures").rows()
    assert book == [("all", "complete", 0)] * 2
    assert Lake(tmp_path).read("select count(*) as n from raw.erased_subjects").item() == 1


# ── the platform ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Told(NamedTuple):
    """A platform from which somebody was erased, what is known of them, and how the others were before."""

    platform: Platform
    person: Person
    receipt: Mapping[str, Any]
    receipt_path: Path
    others: dict[str, int]
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A treated person known to both firms is erased from a copy of the tiny platform, by the job."""
    home = tmp_path_factory.mktemp("erasure") / "home"
    # By another program: to open and close the catalog here would drop the locks of those who have it open.
    subprocess.run(["cp", "-r", str(finished_platform(tmp_path_factory).home), str(home)], check=True)
    platform = Platform(home)
    user, customer, person_id = platform.read(
        "select user_id, customer_id, person_id from campaigns.campaign_list where arm = 'treatment' "
        "and user_id is not null and customer_id is not null and person_id in "
        "(select person_id from recommenders.course_interactions) order by person_id limit 1"
    ).row(0)
    _plant(platform, user, customer, person_id)
    request = write_request(home, Account("insurer", customer), scope="everywhere", asked_on=ASKED_ON)
    with platform.warehouse.session() as session:
        person = tables.find_person(session, request)
    others = {t: n - _own(platform, t, person) for t, n in _row_counts(platform).items()}
    result = platform.run(ERASE)
    path = home / "receipts" / f"{request.request_id}.json"
    return Told(platform, person, json.loads(path.read_text()), path, others, result)


def _plant(platform: Platform, user: str, customer: str, person_id: str) -> None:
    """Traces of the kind that come about in use."""
    home = platform.home
    platform.warehouse.replace("text.topics", pl.DataFrame({"who": [person_id, "p0"], "topic": ["a", "b"]}))
    refused = {"partner": "insurer", "feed": "claims", "dt": date(2026, 7, 1), "source_file": "gone.csv"}
    stamp = {"source_row": 1, "reason": "too many columns", "run_id": "r", "quarantined_at": NOW}
    kept = platform.read("select * from raw.quarantine")
    line = pl.DataFrame([{**refused, **stamp, "raw_text": f"{customer},1,2"}], schema=kept.schema)
    platform.warehouse.replace("raw.quarantine", pl.concat([kept, line]))
    (home / "alerts.jsonl").write_text(json.dumps({"error": f"first [{{'user_id': '{user}'}}]"}) + "\n")
    (home / "dagster").mkdir(exist_ok=True)
    with sqlite3.connect(home / "dagster" / "runs.db") as book:
        book.execute("create table event_logs (event text)")
        book.execute("insert into event_logs values (?)", (json.dumps({"first_rows": [person_id, "p1"]}),))
    publish(home / "lake", home / "published" / "xmkt.duckdb")


def _row_counts(platform: Platform) -> dict[str, int]:
    with platform.warehouse.session() as session:
        known = tables.lake_tables(session)
    return {t.name: int(platform.read(f"select count(*) as n from {t.name}").item()) for t in known}


def _own(platform: Platform, table: str, person: Person) -> int:
    """Rows that hold one of the person's ids in any column: by text, which shares nothing with the work."""
    words = "|".join(person.words)
    query = f"select count(*) as n from (select t::varchar as row_text from {table} as t) "
    return int(platform.read(query + "where regexp_matches(row_text, $words)", words=rf"\b({words})\b").item())


def test_no_byte_under_the_home_and_no_row_names_the_person_any_more(told: Told) -> None:
    assert len(told.person.words) >= 4
    assert scan_home(told.platform.home, told.person.words, whole_words=True) == ()


def test_everybody_elses_rows_are_all_there(told: Told) -> None:
    after = _row_counts(told.platform)
    mine = {"raw.erased_subjects", "staging.erasures"}
    assert {t: n for t, n in after.items() if t not in mine} == told.others


def test_older_snapshots_can_no_longer_be_read(told: Told) -> None:
    first = told.receipt["lake"]["first_readable_snapshot"]
    with pytest.raises((duckdb.Error, WarehouseError)):
        told.platform.read(f"select * from staging.users at (version => {first - 1})")
    assert told.receipt["lake"]["snapshots_no_longer_readable"].startswith("0-")


def test_the_receipt_holds_and_names_nobody(told: Told) -> None:
    assert verify_receipt(told.platform.home, told.receipt_path) == ""
    assert told.receipt["status"] == "complete"
    text = told.receipt_path.read_text()
    assert not any(word in text for word in told.person.words)
    counted = {t["table"]: t for t in told.receipt["tables"]}
    assert counted["staging.people"]["rows_of_person_before"] == 1
    assert counted["text.topics"]["rows_of_person_before"] == 1
    assert all(t["rows_of_person_after"] == 0 for t in counted.values())
    assert told.receipt["campaigns_to_evaluate_again"] == ["autumn_joint"]


def test_the_book_says_the_same_as_the_receipt(told: Told) -> None:
    rows = told.platform.read(
        f"select table_name, rows_of_person_before from {work.ERASURES} where table_name <> 'all'"
    ).rows()
    assert dict(rows) == {t["table"]: t["rows_of_person_before"] for t in told.receipt["tables"]}


def test_delivered_files_lost_the_rows_and_the_ledger_follows(told: Told) -> None:
    """So the drop sensor finds nothing new, and rows still add up."""
    files = [f["file"] for f in told.receipt["delivered_files"]]
    assert any("users" in f for f in files)
    assert any("customers" in f for f in files)
    for name in files:
        content = (told.platform.landing / name).read_bytes()
        sha256, size = told.platform.read(
            f"select sha256, size_bytes from {LEDGER} where source_file = $name", name=name
        ).row(0)
        assert (sha256, size) == (hashlib.sha256(content).hexdigest(), len(content))
    unequal = f"select count(*) as n from {LEDGER} where rows_in <> rows_loaded + rows_quarantined + rows_duplicate"
    assert told.platform.read(unequal).item() == 0
    loaded = told.platform.read(
        f"select l.source_file, l.rows_loaded, count(u.user_id) from {LEDGER} as l left join raw.users as u "
        "using (source_file) where l.feed = 'users' group by all"
    ).rows()
    assert all(said == found for _, said, found in loaded)


def test_exports_lost_the_rows_and_the_published_file_was_made_anew(told: Told) -> None:
    changed = {f["file"] for f in told.receipt["other_files"]}
    assert {f for f in changed if f.startswith("exports/")} == {
        "exports/autumn_joint/course_platform.csv",
        "exports/autumn_joint/insurer.csv",
    }
    with duckdb.connect(str(told.platform.home / "published" / "xmkt.duckdb"), read_only=True) as reader:
        assert reader.execute("select count(*) from segments.person_profile").fetchone() == (
            told.others["segments.person_profile"],
        )


def test_logs_stay_readable_with_the_ids_overwritten(told: Told) -> None:
    alert = json.loads((told.platform.home / "alerts.jsonl").read_text())
    assert alert["error"].startswith("first [{'user_id': '***")
    with sqlite3.connect(told.platform.home / "dagster" / "runs.db") as book:
        (event,) = book.execute("select event from event_logs").fetchone()
    assert json.loads(event)["first_rows"][1] == "p1"


def test_models_are_listed_and_the_champion_still_serves(told: Told) -> None:
    listed = {(m["model"], m["is_champion"]): m["artifact"] for m in told.receipt["models"]}
    assert listed["course_recommender", True] == "serves on without the person's row"
    registry = registry_of(told.platform.home)
    assert registry is not None
    serving = next(v for v in registry.versions() if v.model == "course_recommender")
    assert serving.artifact is not None
    assert serving.artifact.is_relative_to(told.platform.home)
    model = pickle.loads(serving.artifact.read_bytes())
    assert not set(told.person.person_ids) & set(model.history.person_ids)


def test_the_request_is_gone_and_the_run_says_nothing_of_the_person(told: Told) -> None:
    assert list((told.platform.home / "erasure_requests").iterdir()) == []
    said = "\n".join(str(record) for record in told.platform.instance.all_logs(told.result.run_id))
    assert "rows of" in said
    assert not any(word in said for word in told.person.words)
    assert told.result.dagster_run.run_config.keys() <= {"loggers", "ops"}


def ticked(platform: Platform, name: str, cursor: str | None = None) -> Any:
    context = dg.build_sensor_context(
        instance=platform.instance, cursor=cursor, definitions=platform.defs, resources=platform.resources
    )
    return platform.defs.resolve_sensor_def(name).evaluate_tick(context)


def test_a_finished_erasure_asks_once_for_models_as_of_the_newest_day(told: Told) -> None:
    first = ticked(told.platform, "retrain_after_erasure")
    (request,) = first.run_requests
    assert (request.job_name, request.partition_key) == (RETRAIN, "2026-07-04")
    assert ticked(told.platform, "retrain_after_erasure", first.cursor).run_requests == []


def test_where_an_account_stays_the_day_is_loaded_first(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert last_erasure(told.platform.warehouse) == (told.result.run_id, False)
    monkeypatch.setattr(erasures, "last_erasure", lambda _: ("another", True))
    (request,) = ticked(told.platform, "retrain_after_erasure").run_requests
    assert request.job_name == LOAD


def test_a_waiting_request_starts_one_run_that_names_nobody(told: Told) -> None:
    assert ticked(told.platform, "new_erasure_requests").run_requests == []
    made = write_request(told.platform.home, Account("insurer", "k-waiting"), scope="everywhere", asked_on=ASKED_ON)
    try:
        (request,) = ticked(told.platform, "new_erasure_requests").run_requests
        assert "k-waiting" not in f"{request.run_key}{request.tags}{request.run_config}"
        (again,) = ticked(told.platform, "new_erasure_requests").run_requests
        assert again.run_key == request.run_key
        job = told.platform.defs.resolve_job_def(LOAD)
        running = told.platform.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        assert "wait for the end" in str(ticked(told.platform, "new_erasure_requests").skip_message)
        told.platform.instance.delete_run(running.run_id)
    finally:
        (told.platform.home / "erasure_requests" / f"{made.request_id}.yaml").unlink()


def test_rows_are_still_found_after_an_erasure_and_the_next_load(tmp_path: Path) -> None:
    """Bounds of a column that were forgotten would become those of the next load alone; kept, they would name her."""
    home = Lake(tmp_path, threads=1)
    people = [f"p{number:02}" for number in range(9)]  # so few stay in the catalogue, and their bounds with them
    home.replace("staging.people", pl.DataFrame({"day": 1, "person_id": people}), where={"day": 1})
    with home.session() as session:
        session.commit([Delete("staging.people", "person_id = 'p00'")])
    lake.purge(home, ["p00"])
    home.replace("staging.people", pl.DataFrame({"day": 2, "person_id": ["q1"] * 20}), where={"day": 2})
    assert home.read("select day from staging.people where person_id = 'p07'").rows() == [(1,)]
    assert home.read("select min(person_id), max(person_id) from staging.people").row(0) == ("p01", "q1")
    known = "select distinct min_value from __ducklake_metadata_lake.ducklake_table_column_stats"
    assert "p00" not in home.read(known)["min_value"].to_list()
