"""Exports: the files by which a campaign leaves the platform, ``<home>/exports/<campaign_id>/<partner>.csv``. Pure.

Each firm is told only what it must do: its own accounts that are contacted, what to offer, through which channel, why.
The held-out are in no file, because a firm that knows them can contact them and end the experiment; neither is
person_id nor anything else about a person. The pseudonym is another one in every campaign, so that two files cannot be
joined. Consent is checked once more: who is not allowed any more on the newest day is left out.

The files are UTF-8 with a byte-order mark, because spreadsheets read Chinese wrongly without; cells that a spreadsheet
would compute are marked (OWASP, CSV injection; ``spreadsheet``).
"""

import csv
import hashlib
import io
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from xmkt_assets.pseudonyms import campaign_pseudonyms
from xmkt_assets.spreadsheet import spreadsheet_safe

FOLDER: Final = "exports"
ACCOUNT_COLUMNS: Final = {"course_platform": "user_id", "insurer": "customer_id"}
OFFER_COLUMNS: Final = ("course_id", "product_id", "channel", "reason")
_CAMPAIGN: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")


class ExportError(ValueError):
    """Files that cannot be written; the message says what to do."""


class Checked(NamedTuple):
    """Who of a list is contacted still, and how many were left out since it was made."""

    listed: pl.DataFrame
    withdrawn: int


class Exported(NamedTuple):
    """One file that was written. `file` is its path below the home."""

    partner: str
    file: str
    rows: int
    sha256: str


def check_again(listed: pl.DataFrame, *, allowed: pl.DataFrame, refused: pl.DataFrame) -> Checked:
    """The people of a list to contact: treated, allowed on the newest day, not refused (person_id, channel) since."""
    treated = listed.filter(pl.col("arm") == "treatment")
    silent = refused.filter(pl.col("channel") == "all").select("person_id")
    kept = (
        treated.join(allowed.select("person_id").unique(), on="person_id", how="semi")
        .join(silent, on="person_id", how="anti")
        .join(refused.select("person_id", "channel"), on=["person_id", "channel"], how="anti")
    )
    return Checked(kept, treated.height - kept.height)


def firm_rows(listed: pl.DataFrame, *, partner: str, campaign_id: str, secret: bytes) -> pl.DataFrame:
    """What one firm is told, in the order of its own ids."""
    account = ACCOUNT_COLUMNS[partner]
    known = listed.filter(pl.col(account).is_not_null())
    pseudonyms = campaign_pseudonyms(known["person_id"], campaign_id=campaign_id, secret=secret)
    return known.select(account, pseudonyms.alias("pseudonym"), *OFFER_COLUMNS).sort(account)


def write_exports(home: Path, listed: pl.DataFrame, *, campaign_id: str, secret: bytes) -> list[Exported]:
    """Write the file of each firm in place of the one before; a firm without a row gets a file with the header."""
    if not _CAMPAIGN.fullmatch(campaign_id):
        raise ExportError(f"Campaign {campaign_id!r} cannot name a folder; wanted lower-case letters, digits, _ and -.")
    done = []
    for partner in ACCOUNT_COLUMNS:
        rows = firm_rows(listed, partner=partner, campaign_id=campaign_id, secret=secret)
        path = home / FOLDER / campaign_id / f"{partner}.csv"
        content = spreadsheet_csv(rows)
        _replace(path, content)
        sha256 = hashlib.sha256(content).hexdigest()
        done.append(Exported(partner, path.relative_to(home).as_posix(), rows.height, sha256))
    return done


def spreadsheet_csv(rows: pl.DataFrame) -> bytes:
    """A frame as a CSV that any spreadsheet opens as it is: every text quoted, nothing computed."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow(rows.columns)
    writer.writerows(spreadsheet_safe(rows).iter_rows())
    return text.getvalue().encode("utf-8-sig")


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.staged")
    staged.write_bytes(content)
    os.replace(staged, path)
