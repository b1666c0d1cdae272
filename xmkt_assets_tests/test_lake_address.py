"""Where a lake lies: addresses, what opens them, and that no credential is seen on the way."""

import json
import logging
from pathlib import Path

import pytest

from xmkt_assets import resources
from xmkt_assets.lake_address import LakeAddress, WarehouseError, attach_sql, connect
from xmkt_assets.machine import Machine
from xmkt_assets.resources import prepare_home, warehouse_of
from xmkt_assets.resources import settings as read_settings
from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.lake_helper import PASSWORD, SHARED, STORE_SECRET, address, environment

SECRETS = (PASSWORD, STORE_SECRET)
VARIABLES = ("XMKT_CATALOG", "XMKT_LAKE_DATA", "XMKT_LAKE_OPTIONS", "XMKT_THREADS", "XMKT_MEMORY_LIMIT")
MORE_VARIABLES = ("XMKT_MAX_RUNS", "XMKT_LOCK_WAIT_SECONDS", "XMKT_SETTLE_SECONDS")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and an environment that says nothing else."""
    for name in (*VARIABLES, *MORE_VARIABLES, "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XMKT_HOME", str(tmp_path))
    return tmp_path


def is_silent(text: str) -> bool:
    return not any(secret in text for secret in SECRETS)


# --- what an address says ------------------------------------------------------------------------------------------


def test_a_home_alone_is_an_address(home: Path) -> None:
    found = LakeAddress(home)
    assert (found.is_postgres, found.is_remote) == (False, False)
    assert (found.sqlite, found.data_path) == (home / "lake" / "catalog.sqlite", str(home / "lake" / "data"))
    assert found.extensions == ("ducklake", "sqlite_scanner")
    assert not found.exists()


def test_catalogue_and_data_may_lie_elsewhere_each_for_itself(home: Path) -> None:
    assert LakeAddress(home, data="s3://lakes/one").extensions == ("ducklake", "sqlite_scanner", "httpfs")
    assert LakeAddress(home, "postgres:host=db dbname=x").extensions == ("ducklake", "postgres_scanner")
    assert LakeAddress(home, data="s3://lakes/one").data_path == "s3://lakes/one/"
    assert LakeAddress(home, data=str(home / "elsewhere")).data_path == f"{home / 'elsewhere'}/"


def test_an_object_store_also_serves_a_sqlite_catalogue(home: Path) -> None:
    shared = address(SHARED, home)
    lake = Lake(LakeAddress(home, "", f"{shared.data}/of_sqlite", shared.options), threads=1)
    lake.replace("w.t", _frame(1000))
    assert lake.address.sqlite.exists()
    assert not (home / "lake" / "data").exists()
    assert lake.read("select count(*) as n from w.t").item() == 1000


def test_data_may_lie_in_another_folder(home: Path) -> None:
    lake = Lake(LakeAddress(home, data=str(home / "elsewhere")), threads=1)
    lake.replace("w.t", _frame(1000))
    assert list((home / "elsewhere").rglob("*.parquet"))
    assert lake.read("select count(*) as n from w.t").item() == 1000


def _frame(rows: int):  # type: ignore[no-untyped-def]
    import polars as pl

    return pl.DataFrame({"a": range(rows)})


@pytest.mark.parametrize(
    ("catalog", "data", "options", "said"),
    [
        ("mysql:host=db", "", {}, "wanted nothing .* or for example 'postgres:host=db"),
        ("", "gs://bucket/x", {}, r"data lie at gs://bucket/x; wanted .* s3://bucket/prefix"),
        ("postgres:host=db password=open-sesame-catalogue", "", {}, "holds a password.*XMKT_LAKE_OPTIONS"),
        ("postgres:postgresql://u:open-sesame-catalogue@db/x", "", {}, "wanted nothing .* 'postgres:host=db"),
        ("mysql:host=db password=open-sesame-catalogue", "", {}, "wanted nothing"),
        ("", "s3://key:open-sesame-catalogue@bucket/x", {}, "holds a password"),
        ("", "s3://b/x", {"secrte": "open-sesame-catalogue"}, "no options secrte; there are password, key_id"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_words_without_its_password(
    home: Path, catalog: str, data: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(WarehouseError, match=said) as refusal:
        LakeAddress(home, catalog, data, options)
    assert is_silent(str(refusal.value))


def test_an_endpoint_may_be_written_as_an_address(home: Path) -> None:
    found = LakeAddress.told(home, data="s3://b/x", options={"endpoint": "http://127.0.0.1:9000", "region": None})
    assert dict(found.options) == {"endpoint": "127.0.0.1:9000", "use_ssl": "false", "url_style": "path"}
    own = LakeAddress.told(home, data="s3://b/x", options={"endpoint": "https://store", "use_ssl": False})
    assert dict(own.options) == {"endpoint": "store", "use_ssl": "false", "url_style": "path"}


# --- what is seen --------------------------------------------------------------------------------------------------


def test_nothing_that_is_shown_holds_a_credential(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    where = address(SHARED, home)
    with caplog.at_level(logging.DEBUG):
        lake = Lake(where, threads=1)
        lake.replace("w.t", _frame(1000))
    seen = [repr(where), str(where), repr(vars(lake)), caplog.text, *attach_sql(where, read_only=True)]
    with connect(where, read_only=True) as analyst:
        for query in ("from duckdb_secrets()", "from duckdb_databases()", "from duckdb_settings()"):
            seen.append(str(analyst.execute(query).fetchall()))
    assert "lake opened: Postgres (host=127.0.0.1" in caplog.text
    assert any("PASSWORD '<password>'" in text for text in seen)  # the analyst fills it in
    assert is_silent("\n".join(seen))


@pytest.mark.parametrize("wrong", ["port", "database", "password", "store secret"])
def test_a_lake_that_cannot_be_opened_says_what_to_check_and_no_credential(home: Path, wrong: str) -> None:
    where = address(SHARED, home)
    catalog, options = where.catalog, dict(where.options)
    if wrong == "port":
        catalog = f"{catalog} port=1"
    if wrong == "database":
        catalog += "_not"
    if wrong == "password":
        options["password"] = "open-sesame-catalogue-not"
    if wrong == "store secret":
        options["use_ssl"] = "open-sesame-object-store"
    with pytest.raises(WarehouseError, match=r"cannot be opened: .*Check XMKT_CATALOG, XMKT_LAKE_DATA") as refusal:
        Lake(LakeAddress(home, catalog, where.data, options)).tables()
    error: BaseException | None = refusal.value
    while error is not None:  # a chained error is printed, too
        assert is_silent(str(error)), error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


# --- settings ------------------------------------------------------------------------------------------------------


def test_the_environment_goes_before_the_file_of_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "lake.yaml"
    path.write_text(
        "catalog: 'postgres:host=one dbname=x'\ndata: s3://one/x\noptions: {password: of file, region: eu}\n"
    )
    path.chmod(0o600)
    found = read_settings()
    assert (found.catalog, found.lake_data) == ("postgres:host=one dbname=x", "s3://one/x")
    assert dict(found.lake.options) == {"password": "of file", "region": "eu"}
    monkeypatch.setenv("XMKT_CATALOG", "postgres:host=two dbname=x")
    monkeypatch.setenv("XMKT_LAKE_OPTIONS", '{"password": "of environment", "use_ssl": false}')
    found = read_settings()
    assert (found.catalog, found.lake_data) == ("postgres:host=two dbname=x", "s3://one/x")
    assert dict(found.lake.options) == {"password": "of environment", "region": "eu", "use_ssl": "false"}


def test_the_variables_of_aws_open_the_store_where_no_key_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMKT_LAKE_DATA", "s3://lakes/x")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of aws")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setenv("AWS_REGION", "cn-north-1")
    assert dict(read_settings().lake.options) == {"key_id": "id", "secret": "of aws", "region": "cn-north-1"}
    monkeypatch.setenv("XMKT_LAKE_OPTIONS", '{"key_id": "own", "secret": "own secret"}')
    assert dict(read_settings().lake.options) == {"key_id": "own", "secret": "own secret"}


def test_a_file_with_credentials_that_others_can_read_is_refused(home: Path) -> None:
    path = home / "lake.yaml"
    path.write_text("options: {password: open-sesame-catalogue}\n")
    path.chmod(0o644)
    with pytest.raises(ValueError, match=r"can be read by others\. Run: chmod 600") as refusal:
        read_settings()
    assert is_silent(str(refusal.value))


@pytest.mark.parametrize("text", ["catalogue: x\n", "- 1\n", "options: [1]\n"])
def test_a_file_with_a_wrong_name_is_refused(home: Path, text: str) -> None:
    (home / "lake.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"lake\.yaml holds .*; wanted only catalog, data, options"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("XMKT_THREADS", "two", "wanted a whole number of at least 1"),
        ("XMKT_THREADS", "0", "wanted a whole number of at least 1"),
        ("XMKT_THREADS", "1.5", "wanted a whole number"),
        ("XMKT_MAX_RUNS", "-1", "wanted a whole number of at least 1"),
        ("XMKT_LOCK_WAIT_SECONDS", "-5", "wanted a number of at least 0"),
        ("XMKT_LOCK_WAIT_SECONDS", "nan", "wanted a number of at least 0"),
        ("XMKT_LOCK_WAIT_SECONDS", "inf", "wanted a number of at least 0"),
        ("XMKT_MEMORY_LIMIT", "lots", "wanted for example 4GiB or 800MB"),
        ("XMKT_MEMORY_LIMIT", "4", "wanted for example 4GiB or 800MB"),
        ("XMKT_MEMORY_LIMIT", "0GB", "wanted for example 4GiB or 800MB"),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} is '{value}'; {said}"):
        read_settings()


def test_options_that_are_no_json_are_refused_without_being_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMKT_LAKE_OPTIONS", "open-sesame-catalogue")
    with pytest.raises(ValueError, match="XMKT_LAKE_OPTIONS is no JSON object") as refusal:
        _ = read_settings().lake
    assert is_silent(str(refusal.value))


def test_the_machines_share_is_what_a_run_gets_unless_it_is_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resources, "this_machine", lambda: Machine(memory_mib=16_000, cores=8))
    found = read_settings()
    assert (found.threads, found.memory_limit, found.max_runs) == (4, "4200MiB", 2)
    monkeypatch.setenv("XMKT_MAX_RUNS", "4")
    found = read_settings()
    assert (found.threads, found.memory_limit) == (2, "2100MiB")
    monkeypatch.setenv("XMKT_THREADS", "3")
    monkeypatch.setenv("XMKT_MEMORY_LIMIT", "700MiB")
    with caplog.at_level(logging.INFO):
        of_lake = "select current_setting('threads') as t, current_setting('memory_limit') as m"
        assert warehouse_of(read_settings()).read(of_lake).row(0) == (3, "700.0 MiB")
    assert "3 threads, 700.0 MiB of memory" in caplog.text  # in the log of the run


def test_the_number_of_runs_is_also_dagsters(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMKT_MAX_RUNS", "5")
    for name in ("DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")  # put back afterwards: preparing a home sets them
    written = (prepare_home(home) / "dagster.yaml").read_text(encoding="utf-8")
    assert "max_concurrent_runs: 5" in written


def test_what_dagster_shows_of_the_lake_says_where_it_lies_and_not_what_opens_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = address(SHARED, home)
    for name, value in environment(where).items():
        monkeypatch.setenv(name, value)
    warehouse = warehouse_of(read_settings())
    assert warehouse.lake.address.options["password"] == PASSWORD
    shown = f"{warehouse!r}{warehouse.model_dump()}{json.dumps(warehouse._convert_to_config_dictionary(), default=str)}"
    assert where.catalog in shown
    assert is_silent(shown)


def test_an_address_with_a_password_is_refused_before_dagster_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMKT_CATALOG", f"postgres:host=db password={PASSWORD}")
    with pytest.raises(WarehouseError, match="holds a password"):
        resources.resources()
