"""Partner files at an address: listed, fetched once, told by version, and loaded as those of a folder are.

Most tests use fsspec's store in memory; those of S3 a server on this machine that speaks its protocol.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.automation.jobs import LOAD
from xmkt_assets.contracts import contracts
from xmkt_assets.raw import lending, stores
from xmkt_assets.raw.books import LEDGER
from xmkt_assets.raw.fetched import Fetched, kind_of
from xmkt_assets.raw.landing import Inventory, content_hash, take_inventory
from xmkt_assets.raw.lending import lent
from xmkt_assets.raw.stores import (
    Entry,
    LocalFolder,
    RemoteFolder,
    StoreError,
    flaw_of_name,
    is_unfinished,
    open_store,
    printable,
)
from xmkt_assets.resources import PartnerDrops, prepare_home
from xmkt_assets.resources import settings as read_settings
from xmkt_assets_tests.platform_helper import FIRST_DAY, Platform, new_platform

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:.*is currently in beta"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
]
FOLDER = "insurer/claims/dt=2026-07-01"
# SHA-256 of "abc", FIPS 180-2 appendix B.1
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class Away:
    """A landing folder in memory, and the spool folder beside it."""

    def __init__(self, root: str, spool: Path) -> None:
        self.fs, self.root, self.spool = fsspec.filesystem("memory"), f"/{root}", spool
        self.pauses: list[float] = []
        self.store = RemoteFolder(f"memory://{root}", Fetched(spool), pause=self.pauses.append)

    def put(self, name: str, content: bytes = b"abc") -> None:
        self.fs.pipe_file(f"{self.root}/{name}", content)

    def look(self, **options: Any) -> Inventory:
        return take_inventory(self.store, contracts(), **options)

    def copies(self) -> list[str]:
        return sorted(p.name for p in self.spool.iterdir() if not p.name.startswith("book."))


@pytest.fixture
def away(tmp_path: Path) -> Away:
    return Away(tmp_path.name + "/landing", tmp_path / "spool")


def counting(store: RemoteFolder, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is fetched from now on."""
    fetched: list[str] = []
    fetch = RemoteFolder.fetch

    def fetch_and_count(self: RemoteFolder, entry: Entry, into: Path) -> Entry:
        fetched.append(entry.name)
        return fetch(self, entry, into)

    monkeypatch.setattr(RemoteFolder, "fetch", fetch_and_count)
    return fetched


# ── listing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


DELIVERED = [
    f"{FOLDER}/a.csv",
    f"{FOLDER}/b.jsonl.gz",
    f"{FOLDER}/c.xlsx",
    f"{FOLDER}/.hidden.csv",
    f"{FOLDER}/d.csv.part",
    f"{FOLDER}/_temporary/0/e.csv",
    f"{FOLDER}/deeper/f.csv",
    "insurer/loans/dt=2026-07-01/a.csv",
    "bank/claims/dt=2026-07-01/a.csv",
    "insurer/claims/2026-07-01/a.csv",
    "course_platform/consents/dt=2026-07-02/报表.csv",
    "insurer/consents/dt=2026-07-02/a.csv",
    "readme.csv",
]


@pytest.mark.parametrize("only_feed", [None, "consents"])
def test_the_same_files_are_the_same_inventory_in_a_folder_and_at_an_address(
    away: Away, tmp_path: Path, only_feed: str | None
) -> None:
    local = LocalFolder(tmp_path / "landing")
    for number, name in enumerate(DELIVERED):
        away.put(name, b"x" * number)
        (local.root / name).parent.mkdir(parents=True, exist_ok=True)
        (local.root / name).write_bytes(b"x" * number)
    here, there = take_inventory(local, contracts(), only_feed=only_feed), away.look(only_feed=only_feed)
    assert [(f.name, f.feed, f.dt, f.size_bytes) for f in there.files] == [
        (f.name, f.feed, f.dt, f.size_bytes) for f in here.files
    ]
    assert there.strays == here.strays
    assert len(here.files) == (2 if only_feed else 4)


def test_an_address_where_nothing_was_delivered_yet_holds_nothing(away: Away) -> None:
    assert away.look() == away.look(only_feed="claims") == ((), (), ())


ODD_KEYS = [
    f"{FOLDER}/../../etc/passwd.csv",
    "insurer/claims/../../../etc/passwd.csv",
    "insurer/claims/dt=2026-07-01/../a.csv",
    "../insurer/claims/dt=2026-07-01/a.csv",
    "insurer/../dt=2026-07-01/a.csv",
    "insurer//claims/dt=2026-07-01/a.csv",
    "insurer/claims/dt=2026-07-01//a.csv",
    "insurer/claims/./a.csv",
    f"{FOLDER}/a\0.csv",
    f"{FOLDER}/a\n.csv",
    f"{FOLDER}/a\udcb5.csv",
    f"{FOLDER}/{'a' * 300}.csv",
    f"{FOLDER}/a?versionId=1.csv",
]


@pytest.mark.parametrize("key", ODD_KEYS, ids=ascii)
def test_a_key_that_is_no_plain_path_is_a_stray_and_nothing_of_it_is_fetched(away: Away, key: str) -> None:
    """In an object store `a/../b` is a name like any other."""
    found = take_inventory(listing(away, {key: 3, f"{FOLDER}/good.csv": 3}), contracts())
    assert [file.name for file in found.files] == [f"{FOLDER}/good.csv"]
    (stray,) = found.strays
    assert stray.name == printable(key)
    assert stray.name.isprintable()


def listing(away: Away, keys: Mapping[str, int]) -> RemoteFolder:
    """A store that lists these keys, whatever the store in memory makes of such names."""
    found = {f"{away.store._root}/{key}": {"size": size, "ETag": f'"{size}"'} for key, size in keys.items()}
    store = RemoteFolder(away.store.address, away.store.fetched)
    object.__setattr__(store, "_find", lambda below: found)
    return store


PARTS = st.text(max_size=12) | st.sampled_from(
    ["..", ".", "", "insurer", "claims", "dt=2026-07-01", "a.csv", "~", "\0"]
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(parts=st.lists(PARTS, min_size=1, max_size=6), last=PARTS)
def test_no_key_however_odd_reaches_out_of_its_folder_or_the_spool(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], last: str
) -> None:
    away = Away("anywhere", tmp_path_factory.getbasetemp() / "odd_spool")
    keys = ["/".join([*parts, last]), f"{FOLDER}/{last}", f"{FOLDER}/{last}.csv", f"{FOLDER}/{last.upper()}.csv"]
    found = take_inventory(listing(away, dict.fromkeys(keys, 1)), contracts())
    for file in found.files:
        assert file.folder == FOLDER
        assert file.name.encode()
        assert (file.path.parent, file.path.resolve().parent) == (away.spool, away.spool.resolve())
        assert len(file.path.name) < 100
    assert len({file.path for file in found.files}) == len(found.files)
    told = {stray.name for stray in found.strays} | {file.name for file in found.files}
    for key in keys:
        is_hidden = key.endswith("/") or any(is_unfinished(part) for part in key.split("/"))
        assert is_hidden or key.endswith(("/_SUCCESS", "/_MANIFEST.json")) or printable(key)[:500] in told
    assert all("\n" not in name and "\0" not in name for name in told)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(name=st.text(alphabet=st.characters(), max_size=300))
def test_a_name_without_a_flaw_can_be_shown_and_stored_as_it_is(name: str) -> None:
    if not flaw_of_name(name):
        assert printable(name) == name
        assert len(name.encode("utf-8")) <= 255
    assert "\x1b" not in printable(name)
    assert printable(name).encode("utf-8").decode() == printable(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a/b.csv", ".csv"), ("a/b.c.csv.gz", ".csv.gz"), ("x.tsv.gz", ".tsv.gz"), ("a.d/b", ""), ("a/b.c\0v", "")],
)
def test_a_copy_keeps_the_kind_of_its_file_and_nothing_else_of_the_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


# ── fetching ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lent_files_lie_here_while_they_are_needed_and_are_gone_after(away: Away) -> None:
    away.put(f"{FOLDER}/a.csv", b"first")
    away.put(f"{FOLDER}/b.csv.gz", b"second")
    with lent(away.store, away.look().files) as files:
        assert [f.path.read_bytes() for f in files] == [b"first", b"second"]
        assert [f.path.name.partition(".")[2] for f in files] == ["csv", "csv.gz"]
        assert away.spool.stat().st_mode & 0o777 == 0o700
    assert away.copies() == []
    assert not any(file.path.exists() for file in files)


def test_what_was_fetched_once_is_known_by_its_hash_at_the_next_look(away: Away) -> None:
    away.put(f"{FOLDER}/a.csv")
    assert away.look().files[0].sha256 == ""
    with lent(away.store, away.look().files) as (file,):
        sha256 = content_hash(file.path)
    assert away.look().files[0].sha256 == sha256
    time.sleep(0.001)  # the store in memory tells versions by their time
    away.put(f"{FOLDER}/a.csv", b"abd")
    assert away.look().files[0].sha256 == ""


def test_after_a_failed_load_the_copies_stay_and_are_not_fetched_again(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    away.put(f"{FOLDER}/a.csv")
    fetched = counting(away.store, monkeypatch)
    with suppress(ZeroDivisionError), lent(away.store, away.look().files):
        _ = 1 / 0
    assert len(away.copies()) == 1
    with lent(away.store, away.look().files) as (file,):
        assert file.path.read_bytes() == b"abc"
    assert fetched == [f"{FOLDER}/a.csv"]
    assert away.copies() == []


def test_a_large_file_comes_in_pieces(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's own way of fetching would hold it in memory."""
    content = bytes(range(256)) * 50
    away.put(f"{FOLDER}/a.csv", content)
    monkeypatch.setattr(stores, "_LARGE_BYTES", 12_000)
    monkeypatch.setattr(stores, "_PIECE_BYTES", 1_000)
    monkeypatch.setattr(type(away.fs), "get_file", None)
    with lent(away.store, away.look().files) as (file,):
        assert file.path.read_bytes() == content


def test_two_loads_of_the_same_file_at_once_take_nothing_from_each_other(away: Away) -> None:
    away.put(f"{FOLDER}/a.csv")
    with lent(away.store, away.look().files) as (first,):
        with lent(away.store, away.look().files) as (second,):
            assert second.path.read_bytes() == b"abc"
        assert first.path.read_bytes() == b"abc"
    assert away.copies() == []


def test_what_a_killed_load_left_behind_goes_with_the_next(away: Away) -> None:
    for name in ("lent-999999999-x", f"lent-{os.getpid()}-y"):
        (away.spool / name).mkdir(parents=True)
        (away.spool / name / "copy.csv").write_text("x")
    old, new = away.spool / "old.csv", away.spool / "new.csv"
    for copy in (old, new):
        copy.write_text("x")
    long_ago = time.time() - lending.KEPT_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    with lent(away.store, ()):
        pass
    assert away.copies() == [f"lent-{os.getpid()}-y", "new.csv"]


def test_a_file_that_has_gone_since_it_was_listed_is_lent_with_that_problem_and_its_neighbour_without(
    away: Away,
) -> None:
    for name in ("a.csv", "b.csv"):
        away.put(f"{FOLDER}/{name}")
    files = away.look().files
    away.fs.rm(f"{away.root}/{FOLDER}/a.csv")
    with lent(away.store, files) as (a, b):
        assert a.problem == (
            "has gone since its folder was listed; nothing of it was read. Deliver it again if it is wanted."
        )
        assert not a.path.exists()
        assert (b.problem, b.path.read_bytes()) == (None, b"abc")


def test_a_file_that_was_corrected_since_it_was_listed_is_read_as_it_is_now(away: Away) -> None:
    away.put(f"{FOLDER}/a.csv", b"first")
    files = away.look().files
    time.sleep(0.001)
    away.put(f"{FOLDER}/a.csv", b"corrected")
    with lent(away.store, files) as (file,):
        assert (file.path.read_bytes(), file.size_bytes, file.problem) == (b"corrected", 9, None)
        assert file.sha256 == content_hash(file.path)
    (now,) = away.look().files
    assert (now.version, now.sha256) == (file.version, file.sha256)


def test_a_file_that_does_not_stand_still_is_lent_with_that_problem(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    away.put(f"{FOLDER}/a.csv")
    fetch, contents = RemoteFolder.fetch, iter(range(100))

    def restless(self: RemoteFolder, entry: Entry, into: Path) -> Entry:
        time.sleep(0.001)
        away.put(f"{FOLDER}/a.csv", b"x" * next(contents))
        return fetch(self, entry, into)

    monkeypatch.setattr(RemoteFolder, "fetch", restless)
    with lent(away.store, away.look().files) as (file,):
        assert file.problem
        assert file.problem.startswith("changed 3 times while it was fetched.")
        assert not file.path.exists()
    assert next(contents) == 3


def test_a_manifest_is_checked_against_what_was_fetched_and_read_once(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.csv", "b.csv"):
        away.put(f"{FOLDER}/{name}")
    lines = [{"name": n, "bytes": 3, "sha256": s} for n, s in (("a.csv", ABC), ("b.csv", "0" * 64))]
    away.put(f"{FOLDER}/_MANIFEST.json", json.dumps({"files": lines}).encode())
    with lent(away.store, away.look().files) as (a, b):
        assert (a.problem, a.sha256) == (None, ABC)
        assert b.problem
        assert f"found sha256 {ABC}, wanted sha256 {'0' * 64}" in b.problem
    monkeypatch.setattr(type(away.fs), "cat", None)
    assert len(away.look().files) == 2


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def failing(monkeypatch: pytest.MonkeyPatch, away: Away, *errors: Exception) -> None:
    """The store in memory raises these, one a call, then works."""
    left, get_file = list(errors), type(away.fs).get_file

    def get(self: Any, *arguments: Any, **options: Any) -> Any:
        if left:
            raise left.pop(0)
        return get_file(self, *arguments, **options)

    monkeypatch.setattr(type(away.fs), "get_file", get)


def test_an_error_that_passes_is_waited_out(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    away.put(f"{FOLDER}/a.csv")
    failing(monkeypatch, away, TimeoutError("slow"), ConnectionResetError("reset"), OSError("503 slow down"))
    with lent(away.store, away.look().files) as (file,):
        assert file.path.read_bytes() == b"abc"
    assert away.pauses == [0.5, 1.0, 2.0]


def test_an_error_that_stays_ends_with_the_address_the_file_and_what_to_do(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    away.put(f"{FOLDER}/a.csv")
    failing(monkeypatch, away, *(TimeoutError(f"slow {i}") for i in range(9)))
    with pytest.raises(StoreError) as said, lent(away.store, away.look().files):
        pass
    assert str(said.value).startswith(
        f"The partner files' address {away.store.address} cannot hand out {FOLDER}/a.csv: slow 3 (tried 4 times). "
    )
    assert "Check XMKT_LANDING, the network, and the credentials" in str(said.value)


def test_an_error_that_trying_again_does_not_mend_is_told_at_once(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    away.put(f"{FOLDER}/a.csv")
    failing(monkeypatch, away, PermissionError("access denied"))
    with pytest.raises(StoreError, match=r"access denied \(tried once\)"), lent(away.store, away.look().files):
        pass
    assert away.pauses == []


def test_an_error_does_not_repeat_what_the_options_hold(tmp_path: Path) -> None:
    options = {"secret": "hunter2hunter2", "client_kwargs": {"region_name": "eu-1", "token": "t0ken"}}
    store = RemoteFolder("memory://x", Fetched(tmp_path), options)
    said = store._said("be listed", OSError("hunter2hunter2 and t0ken refused in eu-1"), tries=1)
    assert "*** and *** refused in eu-1" in said
    assert "hunter2" not in repr(store)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://key:secret@bucket/landing", "XMKT_LANDING is an address of s3:// with credentials in it"),
        ("sftp://user@host/landing", "with credentials in it"),
        ("nosuch://bucket", "cannot be opened: Protocol not known: nosuch"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_what_to_do(tmp_path: Path, address: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as found:
        list(open_store(address, spool=tmp_path).entries())
    assert ":secret" not in str(found.value)


def test_a_path_and_a_file_address_are_folders_and_need_no_spool(tmp_path: Path) -> None:
    assert open_store(str(tmp_path)) == open_store(f"file://{tmp_path}") == LocalFolder(tmp_path)
    with pytest.raises(StoreError, match="give PartnerDrops a home"):
        open_store("memory://x")


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_landing_yaml_says_who_is_waited_for_and_how_the_address_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drops = PartnerDrops(landing="memory://settings/landing", home=str(tmp_path))
    Path(tmp_path, "landing.yaml").write_text(
        "wait_for_success: [insurer]\ngrace_seconds: 1\noptions: {a: from file, b: from file}\n", encoding="utf-8"
    )
    monkeypatch.setenv("XMKT_LANDING_OPTIONS", '{"b": "from environment"}')
    store = drops.store
    assert isinstance(store, RemoteFolder)
    assert store.options == {"a": "from file", "b": "from environment"}
    Away("settings/landing", tmp_path / "spool").put(f"{FOLDER}/a.csv")
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    assert [w.lacks for w in drops.inventory().waiting] == ["_SUCCESS is not there yet"]


@pytest.mark.parametrize("text", ["{hunter2", '"hunter2"'])
def test_options_that_are_no_json_object_are_refused_without_repeating_them(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XMKT_LANDING_OPTIONS", text)
    with pytest.raises(ValueError, match="XMKT_LANDING_OPTIONS is no JSON object") as found:
        _ = PartnerDrops(landing="memory://x", home=str(tmp_path)).store
    assert "hunter2" not in str(found.value)


def test_the_address_is_that_of_the_environment_or_the_folder_in_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XMKT_HOME", str(tmp_path))
    monkeypatch.delenv("XMKT_LANDING", raising=False)
    assert read_settings().landing == str(tmp_path.resolve() / "landing")
    monkeypatch.setenv("XMKT_LANDING", "s3://partners/landing")
    assert read_settings().landing == "s3://partners/landing"
    monkeypatch.setenv("XMKT_LANDING", "some/folder")
    assert read_settings().landing == str(Path.cwd() / "some/folder")


def test_a_home_that_is_filled_with_made_up_or_public_data_reads_no_partners_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("XMKT_HOME", "DAGSTER_HOME", "XMKT_START_ON", "DAGSTER_DISABLE_TELEMETRY", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("XMKT_LANDING", "s3://partners/landing")
    prepare_home(tmp_path)
    assert read_settings().landing == "s3://partners/landing"
    prepare_home(tmp_path, start_on=FIRST_DAY)
    assert read_settings().landing == str(tmp_path / "landing")


def test_a_setting_of_another_name_is_refused(tmp_path: Path) -> None:
    Path(tmp_path, "landing.yaml").write_text("wait_for_succes: [insurer]\n", encoding="utf-8")
    drops = PartnerDrops(landing=str(tmp_path / "landing"), home=str(tmp_path))
    with pytest.raises(ValueError, match=r"holds wait_for_succes; wanted only options, wait_for_success, grace_second"):
        drops.inventory()


def test_the_resource_shows_no_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Dagster shows a resource's configuration to everybody."""
    monkeypatch.setenv("XMKT_LANDING_OPTIONS", '{"secret": "hunter2hunter2"}')
    drops = PartnerDrops(landing="memory://x", home=str(tmp_path))
    assert isinstance(drops.store, RemoteFolder)
    assert "hunter2" not in f"{drops!r}{drops.model_dump()}"


# ── S3 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


USERS = ["raw.users", "staging.users"]
HEADER = "user_id,registered_at,updated_at,occupation\n"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A server on this machine that speaks S3, with one empty bucket; its storage options are in `options`."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    fs = fsspec.filesystem("s3", key="testing", secret="testing-secret", endpoint_url=f"http://{host}:{port}")
    fs.mkdir("partners")
    yield fs
    server.stop()


@pytest.fixture
def platform(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A home whose partners deliver to the bucket; the options come from the environment."""
    monkeypatch.setenv("XMKT_LANDING_OPTIONS", json.dumps(dict(s3.storage_options)))
    found = new_platform(tmp_path)
    drops = PartnerDrops(landing="s3://partners/landing", settle_seconds=0.0, home=str(found.home))
    found.__dict__["resources"] = {**found.resources, "drops": drops}
    return found


def deliver(s3: Any, day: date, *lines: str, name: str = "rows.csv") -> None:
    text = HEADER + "".join(f"{user},{day} 08:00:00,{day} 09:00:00,{job}\n" for user, job in map(str.split, lines))
    s3.pipe_file(f"partners/landing/course_platform/users/dt={day}/{name}", text.encode())


def tick(platform: Platform, *, cursor: str | None = None) -> Any:
    sensor = platform.defs.resolve_sensor_def("new_partner_drops")
    context = dg.build_sensor_context(
        instance=platform.instance, cursor=cursor, definitions=platform.defs, resources=platform.resources
    )
    return sensor.evaluate_tick(context)


def test_files_in_a_bucket_are_loaded_corrected_and_accounted_for_as_those_of_a_folder(
    s3: Any, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    day, other = FIRST_DAY, FIRST_DAY + timedelta(days=1)
    deliver(s3, day, "u1 cook", "u1 cook", "u2 cook")
    deliver(s3, other, "u3 cook")
    fetched = counting(RemoteFolder("", Fetched(platform.home)), monkeypatch)

    first = tick(platform)
    platform.run_request(*first.run_requests, job=LOAD, only=USERS)
    assert len(fetched) == 2
    for cursor in (first.cursor, None):
        assert tick(platform, cursor=cursor).run_requests == []
    s3.touch(f"partners/landing/course_platform/users/dt={other}/rows.csv.part")
    deliver(s3, other, "u3 cook")  # the same file again
    assert tick(platform, cursor=first.cursor).run_requests == []
    assert len(fetched) == 2

    deliver(s3, day, "u1 nurse", "u4 nurse")
    (again,) = tick(platform, cursor=first.cursor).run_requests
    assert again.partition_key == day.isoformat()
    platform.run_request(again, job=LOAD, only=USERS)
    assert len(fetched) == 3
    found = dict(platform.read("select user_id, occupation from staging.users").iter_rows())
    assert found == {"u1": "nurse", "u4": "nurse", "u3": "cook"}
    ledger = platform.read(
        "select dt, source_file, status, rows_in, rows_loaded, rows_quarantined, rows_duplicate, sha256 "
        f"from {LEDGER} order by dt"
    ).rows()
    names = {d: f"course_platform/users/dt={d}/rows.csv" for d in (day, other)}
    hashes = [s3_hash(s3, names[d]) for d in (day, other)]
    assert ledger == [
        (day, names[day], "loaded", 2, 2, 0, 0, hashes[0]),
        (other, names[other], "loaded", 1, 1, 0, 0, hashes[1]),
    ]
    assert [p.name for p in (platform.home / "spool").iterdir()] == ["book.sqlite"]


def s3_hash(s3: Any, name: str) -> str:
    return hashlib.sha256(s3.cat_file(f"partners/landing/{name}")).hexdigest()


def test_in_a_bucket_too_a_key_with_two_dots_is_a_stray_and_an_unknown_bucket_an_error(
    s3: Any, platform: Platform
) -> None:
    s3.pipe_file("partners/landing/insurer/claims/dt=2026-07-01/../../../../etc/passwd.csv", b"x")
    s3.pipe_file("partners/landing/insurer/claims/dt=2026-07-01//a.csv", b"x")
    drops = platform.resources["drops"]
    names = [stray.name for stray in drops.inventory().strays]
    assert names == ["insurer/claims/dt=2026-07-01/../../../../etc/passwd.csv", "insurer/claims/dt=2026-07-01//a.csv"]
    nowhere = PartnerDrops(landing="s3://nowhere/landing", home=str(platform.home))
    with pytest.raises(StoreError, match=r"s3://nowhere/landing cannot be listed: .*bucket does not exist \(tried onc"):
        nowhere.inventory()
