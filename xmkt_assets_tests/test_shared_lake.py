"""A lake on Postgres and an object store, by configuration alone: the platform's own steps run on it unchanged.

Tests that run on both kinds of lake, body by body, are in ``test_warehouse`` and ``test_locks``.
"""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from xmkt_assets import simulate
from xmkt_assets.automation.jobs import LOAD
from xmkt_assets.definitions import build_defs
from xmkt_assets.erasure import lake as memory
from xmkt_assets.erasure.requests import Account, write_request
from xmkt_assets.erasure.tables import Delete
from xmkt_assets.erasure.work import Place, erase
from xmkt_assets.published import publish
from xmkt_assets.security import scan_home
from xmkt_assets.sql import main as sql
from xmkt_assets.warehouse import Lake, LakeAddress
from xmkt_assets_tests.lake_helper import PASSWORD, SHARED, STORE_SECRET, address, environment, objects, pages
from xmkt_assets_tests.platform_helper import FIRST_DAY, failures, tiny_world

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:.*is currently in beta"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
]
SMALL = 1000  # rows; fewer would be kept in the catalogue instead of a file


@pytest.fixture
def where(tmp_path: Path) -> LakeAddress:
    return address(SHARED, tmp_path)


def test_a_day_is_loaded_and_cleaned_by_dagster_with_nothing_said_but_environment_variables(
    where: LakeAddress, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**environment(where), "XMKT_SETTLE_SECONDS": "0", "XMKT_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XMKT_LANDING", raising=False)
    world = tiny_world()
    simulate.write_days(world, where.home / "landing", from_on=FIRST_DAY, until_on=FIRST_DAY)
    tables = ["raw.users", "raw.courses", "raw.course_orders", "staging.users", "staging.courses"]
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            build_defs()
            .resolve_job_def(LOAD)
            .execute_in_process(
                instance=instance,
                partition_key=FIRST_DAY.isoformat(),
                asset_selection=[dg.AssetKey(t.split(".")) for t in tables],
                raise_on_error=False,
            )
        )
        said = "\n".join(str(entry) for entry in instance.all_logs(result.run_id))
    assert result.success, "\n".join(failures(result))

    lake = Lake(where, threads=1)
    assert set(tables) <= lake.tables()
    delivered = lake.read("select sum(rows_loaded) as n from raw.file_ledger where feed = 'users'").item()
    assert lake.read("select count(*) as n from raw.users").item() == delivered > 0
    assert lake.read("select count(*) as n from staging.users").item() > 0
    assert any(key.endswith(".parquet") for key in objects(where))
    assert not (where.root / "data").exists()
    assert not where.sqlite.exists()

    assert sql(["select count(*) as people from raw.users"]) == 0
    assert sql(["--attach"]) == 0
    shown = capsys.readouterr()
    assert str(delivered) in shown.out
    for text in (said, shown.out, shown.err, *_texts(where.home)):
        assert PASSWORD not in text
        assert STORE_SECRET not in text


def _texts(home: Path) -> list[str]:
    return [p.read_bytes().decode(errors="replace") for p in home.rglob("*") if p.is_file()]


def test_the_published_file_is_copied_from_it_and_holds_nothing_that_opens_it(where: LakeAddress) -> None:
    lake = Lake(where, threads=1)
    lake.replace("segments.sizes", pl.DataFrame({"segment": ["a", "b"], "people": [3, 4]}), description="Sizes")
    done = publish(where, where.home / "published" / "xmkt.duckdb")
    assert done.tables == (("segments.sizes", 2),)
    assert done.snapshot_id == lake.snapshot_id()
    content = done.path.read_bytes()
    assert not [word for word in (PASSWORD, STORE_SECRET, "127.0.0.1") if word.encode() in content]


def test_after_purging_no_page_object_or_statistic_remembers_deleted_rows(where: LakeAddress, tmp_path: Path) -> None:
    made = Lake(where, threads=1)
    many = pl.DataFrame({"user_id": [f"u{i:05d}" for i in range(SMALL)]})
    for table, rows in (("raw.many", many), ("raw.few", many.head(3))):
        for _ in range(2):
            made.replace(table, rows)
    gone = ["u00999", "u00000"]  # the largest and the smallest: they stand in statistics
    with made.session() as session:
        for table in ("raw.many", "raw.few"):
            session.commit([Delete(table, "user_id in (select unnest($gone))", {"gone": gone})])
    assert found_in(where, gone, tmp_path / "before") == {"objects": set(gone), "pages": set(gone)}
    done = memory.purge(made, gone)
    assert found_in(where, gone, tmp_path / "after") == {"objects": set(), "pages": set()}
    assert made.read("select count(*) as n from raw.many").item() == SMALL - 2
    assert made.read("select user_id from raw.few order by 1")["user_id"].to_list() == ["u00001", "u00002"]
    assert done.first_readable == made.snapshot_id()
    assert memory.purge(made, gone) == memory.Purged((), done.first_readable, 0)


def found_in(where: LakeAddress, words: list[str], folder: Path) -> dict[str, set[str]]:
    """Which words the store's objects and the database's pages hold."""
    folder.mkdir()
    for number, content in enumerate(objects(where).values()):
        (folder / f"{number}.parquet").write_bytes(content)
    every_page = pages(where)
    return {
        "objects": {hit.found for hit in scan_home(folder, words)},
        "pages": {word for word in words if word.encode() in every_page},
    }


def test_a_person_is_erased_from_it_and_the_receipt_says_what_lies_beyond_reach(where: LakeAddress) -> None:
    made = Lake(where, threads=1)
    people = pl.DataFrame({"partner": "insurer", "subject_id": ["k1000", "k2000"], "person_id": ["pann", "pbob"]})
    made.replace("staging.identities", people)
    made.replace("raw.claims", pl.DataFrame({"customer_id": ["k1000", "k2000"] * SMALL, "n": range(2 * SMALL)}))
    request = write_request(where.home, Account("insurer", "k1000"), scope="everywhere", asked_on=date(2026, 7, 1))
    now = datetime(2026, 7, 2, tzinfo=UTC).replace(tzinfo=None)
    (done,) = erase(Place(where.home, made, None, None), [request], run_id="run", now=now)
    assert done.is_complete
    assert made.read("select distinct customer_id from raw.claims")["customer_id"].to_list() == ["k2000"]
    assert {t["table"]: t["rows_of_person_before"] for t in done.content["tables"]} == {
        "raw.claims": SMALL,
        "staging.identities": 1,
    }
    beyond = [line for line in done.content["kept"] if line.startswith(("The Postgres server", "The object store"))]
    assert len(beyond) == 2
    assert memory.kept(LakeAddress(where.home)) == []


def test_an_older_snapshot_of_a_shared_lake_reads_the_old_rows_in_another_process(where: LakeAddress) -> None:
    made = Lake(where, threads=1)
    first = made.replace("w.t", pl.DataFrame({"a": range(SMALL)})).snapshot_id
    made.replace("w.t", pl.DataFrame({"a": [7]}))
    query = f"select count(*) as n from w.t at (version => {first})"
    assert Lake(where, threads=2).read(query).item() == SMALL  # an instance of its own
