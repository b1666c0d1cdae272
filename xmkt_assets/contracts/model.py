"""What a contract is, in memory: a feed, its columns, its earlier versions, and the words allowed in each term.

Reading it from YAML is ``yaml_file``'s work; choosing and applying an earlier version is ``versions``'s.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from xmkt_assets.purposes import PURPOSES as CONSENT_PURPOSES

PARTNERS: Final = ("course_platform", "insurer")
DUCKDB_TYPES: Final = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
IN_WORDS: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "date": "a date such as 2026-07-01",
    "timestamp": "a UTC time such as 2026-07-01T08:30:00Z",
}
Classification = Literal["internal", "personal", "sensitive"]
Delivery = Literal["events", "snapshot"]
# What the OTHER firm may see of the rows. Within the platform every use is bound by consent and purpose besides.
SharingMode = Literal["hashed ids only", "aggregates only", "row level within the platform", "open to both firms"]
SHARING_IN_WORDS: Final[dict[str, str]] = {
    "hashed ids only": "The other firm learns nothing of a row; keyed hashes join the two firms inside the platform.",
    "aggregates only": "The other firm sees counts and sums over groups of people, never a row.",
    "row level within the platform": "Rows of consenting people are joined inside the platform; "
    "none is handed to the other firm.",
    "open to both firms": "No person is in it; both firms read it as it is.",
}
# What a person is asked about (feed consents), and the duty to prove and obey the answers.
PURPOSES: Final = (*CONSENT_PURPOSES, "compliance")
Undeclared = Literal["ignore", "refuse"]
DriftRule = Literal["block", "warn", "off"]
MixRule = Literal["warn", "off"]
_SUBJECT_COLUMNS: Final = ("user_id", "customer_id", "subject_id")


@dataclass(frozen=True, slots=True)
class ContractColumn:
    """One column of a feed, as the partner promises it."""

    name: str
    logical_type: str
    description: str
    is_key: bool = False
    is_required: bool = False
    classification: Classification = "internal"
    unit: str | None = None
    valid_values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    holds_free_text: bool = False
    classification_reason: str = ""

    @property
    def duckdb_type(self) -> str:
        return DUCKDB_TYPES[self.logical_type]

    @property
    def meaning(self) -> str:
        """Description with unit and allowed values, for people."""
        unit = f" Unit: {self.unit}." if self.unit else ""
        values = f" One of: {', '.join(self.valid_values)}." if self.valid_values else ""
        return f"{self.description}.{unit}{values}"


@dataclass(frozen=True, slots=True)
class FormerColumn:
    """How a column stood in an earlier version, where it stood otherwise than in the version after it.

    `factor` turns a number of then into one of the version after it (yuan to fen: 100); `values` pairs a value of then
    with its successor; `fill` stands where a row of then has none. `terms` are further fields of `ContractColumn`.
    """

    name: str  # in the version after it
    former_name: str
    terms: tuple[tuple[str, object], ...] = ()
    factor: float | None = None
    values: tuple[tuple[str, str], ...] = ()
    fill: str | None = None


@dataclass(frozen=True, slots=True)
class FormerVersion:
    """An earlier version of a contract, said by how it differed from the version after it.

    `lacked` pairs a column that came later with the value the rows of then get (None = empty); `dropped` columns
    existed then and are no longer loaded; `until` is the last day whose files may be of this version.
    """

    version: str
    description: str
    until: date | None = None
    lacked: tuple[tuple[str, str | None], ...] = ()
    dropped: tuple[str, ...] = ()
    columns: tuple[FormerColumn, ...] = ()


@dataclass(frozen=True, slots=True)
class Contract:
    """One feed: who delivers it, how, its columns, and the terms on which it may be used."""

    feed: str
    version: str
    description: str
    partners: tuple[str, ...]
    delivery: Delivery
    event_time: str | None
    version_by: str | None
    is_optional: bool
    columns: tuple[ContractColumn, ...]
    owner: str = ""
    purposes: tuple[str, ...] = ()
    retention_days: int = 730
    retention_reason: str = ""
    frequency_days: int = 1
    late_days: int = 0  # how many days after its event a row may be delivered
    notice_versions: tuple[str, ...] = ()
    sharing_mode: SharingMode = "row level within the platform"
    max_refused_share: float = 0.2
    undeclared_columns: Undeclared = "ignore"
    drift: DriftRule = "block"  # of medians: a jump that looks like another unit blocks the day
    mix_drift: MixRule = "warn"  # of shares of values
    history: tuple[FormerVersion, ...] = ()  # newest first

    @property
    def subject_column(self) -> str | None:
        """The column with the firm's own id of the person a row is about; None where it is about nobody."""
        personal = {c.name for c in self.columns if c.classification != "internal"}
        return next((name for name in _SUBJECT_COLUMNS if name in personal), None)

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns if c.is_key)

    @property
    def is_personal(self) -> bool:
        return any(c.classification != "internal" for c in self.columns)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    @property
    def required_names(self) -> frozenset[str]:
        return frozenset(c.name for c in self.columns if c.is_required)
