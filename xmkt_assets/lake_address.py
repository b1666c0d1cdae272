"""Where a lake lies and what opens it: a home folder, or a Postgres catalogue and an object store. Pure: no Dagster.

Here: the address, the statements that attach it, its secrets. Not here: sessions and transactions (``warehouse``), who
may write when (``locks``), which environment variable says what (``resources``).

Credentials are options of an address: they reach DuckDB as secrets, which it never shows, and are left out of the
address's repr, of `attach_sql` and of every error.
"""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb

from xmkt_assets.spill import spill_setting

POSTGRES: Final = "postgres:"
S3: Final = "s3://"
CATALOG_SECRET: Final = "xmkt_catalog"
DATA_SECRET: Final = "xmkt_data"
# Options of an address: the database's password, and what DuckDB's S3 secret is told under the same names.
S3_OPTIONS: Final = ("key_id", "secret", "session_token", "region", "endpoint", "url_style", "use_ssl")
OPTIONS: Final = ("password", *S3_OPTIONS)
CREDENTIALS: Final = ("password", "key_id", "secret", "session_token")
# DuckDB would draw a bar amid the output of every program whose query takes two seconds. It is a connection's setting.
QUIET: Final = "SET enable_progress_bar = false"
_PASSWORD: Final = re.compile(r"\bpassword\s*=|://[^/@]*:[^/@]*@", re.IGNORECASE)
_FIRST_OPENING_TRIES: Final = 5


class WarehouseError(RuntimeError):
    """The lake refused a write or could not be opened; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LakeAddress:
    """A home, and where its lake's catalogue and data lie; both empty: in the home.

    `catalog` is ``postgres:`` and a libpq connection string without a password, `data` an ``s3://`` address or another
    folder, `options` (names in `OPTIONS`) what is needed to get in.
    """

    home: Path
    catalog: str = ""
    data: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.catalog and ("://" in self.catalog or not self.catalog.startswith(POSTGRES)):
            raise WarehouseError(
                f"A lake's catalogue is {_without_password(self.catalog)!r}; wanted nothing (SQLite in the home) or "
                "for example 'postgres:host=db dbname=lake user=xmkt'. Correct XMKT_CATALOG."
            )
        if _PASSWORD.search(self.catalog) or _PASSWORD.search(self.data):
            raise WarehouseError(
                "The address of a lake holds a password, which would be shown in logs. Take it out of XMKT_CATALOG and "
                "XMKT_LAKE_DATA and put it into XMKT_LAKE_OPTIONS or lake.yaml of the home."
            )
        if "://" in self.data and not self.data.startswith(S3):
            raise WarehouseError(
                f"A lake's data lie at {self.data}; wanted nothing (the home), a folder or s3://bucket/prefix. "
                "Correct XMKT_LAKE_DATA."
            )
        if unknown := sorted(set(self.options) - set(OPTIONS)):
            raise WarehouseError(f"A lake has no options {', '.join(unknown)}; there are {', '.join(OPTIONS)}.")

    @classmethod
    def told(cls, home: Path, *, catalog: str = "", data: str = "", options: Mapping[str, object]) -> "LakeAddress":
        """An address from options as people write them: any value, and an endpoint with its ``http://``."""
        said = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in options.items() if v is not None}
        scheme, found, host = said.get("endpoint", "").partition("://")
        if found:
            said = {"use_ssl": "false" if scheme == "http" else "true", "url_style": "path", **said, "endpoint": host}
        return cls(home, catalog, data, said)

    @property
    def root(self) -> Path:
        """The folder of the home that a lake needs at least for its lock."""
        return self.home / "lake"

    @property
    def sqlite(self) -> Path:
        """The catalogue's file, where it is one."""
        return self.root / "catalog.sqlite"

    @property
    def is_postgres(self) -> bool:
        return bool(self.catalog)

    @property
    def is_remote(self) -> bool:
        """Whether the data files lie in an object store."""
        return self.data.startswith(S3)

    @property
    def data_path(self) -> str:
        return f"{self.data.rstrip('/')}/" if self.data else str(self.root / "data")

    @property
    def extensions(self) -> tuple[str, ...]:
        """DuckDB extensions that open it."""
        catalog = "postgres_scanner" if self.is_postgres else "sqlite_scanner"
        return ("ducklake", catalog, *(["httpfs"] if self.is_remote else []))

    def exists(self) -> bool:
        """Whether a lake was made there. A database is not asked: opening it says what it lacks."""
        return self.is_postgres or self.sqlite.exists()

    def __str__(self) -> str:
        """For logs: where it lies, in words."""
        catalog = f"Postgres ({self.catalog.removeprefix(POSTGRES)})" if self.is_postgres else "SQLite"
        return f"{catalog}, data in {self.data_path}"

    def masked(self, text: str) -> str:
        """`text` without the credentials."""
        for name in CREDENTIALS:
            if len(value := self.options.get(name, "")) >= 4:
                text = text.replace(value, "***")
        return text


def address_of(where: LakeAddress | Path) -> LakeAddress:
    """An address; a path is the ``lake`` folder of a home."""
    return where if isinstance(where, LakeAddress) else LakeAddress(where.parent)


def attach_sql(where: LakeAddress | Path, *, read_only: bool) -> tuple[str, ...]:
    """Statements that open the lake in any DuckDB 1.5.5 shell, the analyst's included; credentials are left to fill in.

    `open_lake` runs them with the credentials.
    """
    address = address_of(where)
    shown = {name: f"<{name}>" if name in CREDENTIALS else value for name, value in address.options.items()}
    return _statements(address, shown, read_only=read_only)


def open_lake(connection: duckdb.DuckDBPyConnection, where: LakeAddress | Path, *, read_only: bool) -> None:
    """Attach the lake as ``lake`` and use it. A lake that is missing is made, unless `read_only`."""
    address = address_of(where)
    for tries in range(1, _FIRST_OPENING_TRIES + 1):
        try:
            for statement in _statements(address, address.options, read_only=read_only):
                connection.execute(statement)
        except duckdb.Error as error:
            if address.is_postgres and tries < _FIRST_OPENING_TRIES and _is_made_by_another(error):
                continue
            # `from None`: a chained error would show the statement, and with it the credentials.
            raise WarehouseError(_refusal(address, error)) from None
        return


def connect(
    where: LakeAddress | Path, *, read_only: bool, config: Mapping[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB instance of its own with the lake open in it; what does not fit in memory is spilled to the home."""
    address = address_of(where)
    connection = duckdb.connect(config={**(config or {}), **spill_setting(address.home)})
    try:
        connection.execute(QUIET)
        open_lake(connection, address, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def extension_path(name: str) -> str:
    """File of a DuckDB extension that came as a wheel. LOAD by full path never asks the network."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or not spec.submodule_search_locations:
        package = f"duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
        raise WarehouseError(f"The DuckDB extension {name} is not installed. Run: pip install {package}")
    root = Path(next(iter(spec.submodule_search_locations)))
    return str(root / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension")


def literal(text: object) -> str:
    """`text` as a SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def _statements(address: LakeAddress, options: Mapping[str, str], *, read_only: bool) -> tuple[str, ...]:
    loads = tuple(f"LOAD {literal(extension_path(name))}" for name in address.extensions)
    return (
        *loads,
        *_secrets(address, options),
        "SET TimeZone = 'UTC'",
        _attach(address, options, read_only),
        "USE lake",
    )


def _secrets(address: LakeAddress, options: Mapping[str, str]) -> list[str]:
    """Secrets of this connection's instance only: nothing is written to a disk."""
    found = []
    if address.is_postgres and "password" in options:
        found.append(
            f"CREATE OR REPLACE SECRET {CATALOG_SECRET} (TYPE postgres, PASSWORD {literal(options['password'])})"
        )
    of_store = [f"{name.upper()} {literal(options[name])}" for name in S3_OPTIONS if name in options]
    if address.is_remote and of_store:
        scope = f"SCOPE {literal(address.data_path)}"
        found.append(f"CREATE OR REPLACE SECRET {DATA_SECRET} ({', '.join(['TYPE s3', scope, *of_store])})")
    return found


def _attach(address: LakeAddress, options: Mapping[str, str], read_only: bool) -> str:
    clauses = [f"DATA_PATH {literal(address.data_path)}"]
    if not address.is_remote:
        # The catalogue remembers where its files lay; overriding it keeps a moved or copied home readable.
        clauses += ["OVERRIDE_DATA_PATH true"]
    if not address.is_postgres:
        clauses += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 5000"]
    elif "password" in options:
        clauses += [f"META_SECRET {literal(CATALOG_SECRET)}"]
    clauses += ["READ_ONLY"] if read_only else []
    catalog = address.catalog if address.is_postgres else f"sqlite:{address.sqlite}"
    return f"ATTACH {literal(f'ducklake:{catalog}')} AS lake ({', '.join(clauses)})"


def _is_made_by_another(error: duckdb.Error) -> bool:
    """Two processes that open an empty database at once both make the catalogue's tables; one of them loses."""
    return any(words in str(error) for words in ("already exists", "duplicate key", "could not serialize"))


def _refusal(address: LakeAddress, error: duckdb.Error) -> str:
    said = " ".join(address.masked(_without_password(str(error))).split())[:600].rstrip(".")
    if not address.is_postgres and not address.is_remote:
        return f"The lake in {address.root} cannot be opened: {said}"
    return (
        f"The lake ({address}) cannot be opened: {said}. Check XMKT_CATALOG, XMKT_LAKE_DATA, the network, and the "
        "credentials in XMKT_LAKE_OPTIONS or lake.yaml of the home; then run it again. Nothing was changed."
    )


def _without_password(text: str) -> str:
    return re.sub(r"(password\s*=\s*)('[^']*'|\S+)|(://[^/@:]*):[^/@]*@", r"\1\3***", text, flags=re.IGNORECASE)
