"""Kinds of bad input: files that are not what their name says, cut off, empty, or far larger than they look."""

from typing import Final

import polars as pl

from xmkt_assets.simulate.bad_input.kinds import (
    EMPTY,
    UNREADABLE,
    BadInput,
    Files,
    Slot,
    as_csv,
    as_parquet,
    good,
    gzipped,
    loaded,
    parquet_of,
    partly,
    rejected,
    several,
)

_VIEWS: Final = "course_views"
_BOMB_BYTES: Final = 20_000_000


def _long_gzip(slot: Slot, prefix: str) -> bytes:
    """A gzip too long for a reader to have taken whole at the first gulp: its rows hardly compress."""
    chance = slot.chance(prefix)
    rows = [good(_VIEWS, slot, f"{prefix}-{i}", user_id=f"{chance.getrandbits(128):032x}") for i in range(3000)]
    return gzipped(as_csv(rows))


def _wrong_sum(slot: Slot) -> Files:
    whole = bytearray(gzipped(as_csv(several(_VIEWS, slot, "wrong-sum", 3))))
    whole[-8] ^= 0xFF
    return {"wrong-sum.csv.gz": bytes(whole)}


def _damaged_parquet(slot: Slot) -> Files:
    chance = slot.chance("damaged")
    rows = [good(_VIEWS, slot, f"damaged-{i}", user_id=f"{chance.getrandbits(128):032x}") for i in range(2000)]
    whole = bytearray(as_parquet(rows))
    whole[400:6000] = bytes(5600)
    return {"damaged.parquet": bytes(whole)}


def _encrypted_parquet(slot: Slot) -> Files:
    """What a reader without the key sees of one: another magic number, and bytes it cannot make sense of."""
    body = slot.chance("encrypted").randbytes(3000)
    return {"encrypted.parquet": b"PARE" + body + (1200).to_bytes(4, "little") + b"PARE"}


def _typed_parquet(slot: Slot) -> Files:
    rows = several(_VIEWS, slot, "typed", 2)
    return {"typed.parquet": as_parquet(rows, dwell_seconds=pl.Series([30, 31], dtype=pl.Int32))}


def _nested_parquet(slot: Slot) -> Files:
    rows = several(_VIEWS, slot, "nested", 2)
    return {"nested.parquet": as_parquet(rows, dwell_seconds=pl.Series([{"seconds": 30}, {"seconds": 31}]))}


def _true_parquet(slot: Slot) -> Files:
    rows = several(_VIEWS, slot, "true", 2)
    return {"true.parquet": as_parquet(rows, viewed_at=pl.Series([True, False]))}


def _fraction_parquet(slot: Slot) -> Files:
    rows = several(_VIEWS, slot, "fraction", 2)
    return {"fraction.parquet": as_parquet(rows, dwell_seconds=pl.Series([30.5, 31.0]))}


def _line_bomb(slot: Slot) -> Files:
    bomb = good(_VIEWS, slot, "bomb-2", user_id="0" * _BOMB_BYTES)
    return {"line-bomb.csv.gz": gzipped(as_csv([good(_VIEWS, slot, "bomb-1"), bomb]))}


_HTML: Final = "<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\nThe server is busy\n</body>\n</html>\n"

CONTAINERS: Final = (
    BadInput(
        "gzip cut off",
        "An upload broke off, and what had arrived was renamed as if it were whole.",
        lambda slot: {"cut-off.csv.gz": _long_gzip(slot, "cut-off")[:-5000]},
        UNREADABLE,
        ("cut-off.csv.gz", "deliver it again"),
    ),
    BadInput(
        "gzip with a wrong checksum",
        "A disk or a proxy changed a byte on the way.",
        _wrong_sum,
        UNREADABLE,
        ("deliver it again",),
    ),
    BadInput(
        "gzip of something else",
        "A script packed the wrong file of its folder.",
        lambda slot: {"of-parquet.csv.gz": gzipped(as_parquet(several(_VIEWS, slot, "packed", 3)))},
        UNREADABLE,
        ("no text",),
    ),
    BadInput(
        "plain text called .gz",
        "The job that packs files was switched off, the one that names them was not.",
        lambda slot: {"plain.csv.gz": as_csv(several(_VIEWS, slot, "plain", 3)).encode()},
        UNREADABLE,
        ("eliver it",),
    ),
    BadInput(
        "gzip called .csv",
        "The file was packed to send it by mail and renamed back.",
        lambda slot: {"packed.csv": _long_gzip(slot, "renamed")},
        UNREADABLE,
        ("no text",),
    ),
    BadInput(
        "Parquet called .csv",
        "An export's format was changed and its file name was not.",
        lambda slot: {"parquet.csv": as_parquet(several(_VIEWS, slot, "called-csv", 3))},
        UNREADABLE,
        ("no text",),
    ),
    BadInput(
        "CSV called .parquet",
        "An export's file name was changed and its format was not.",
        lambda slot: {"csv.parquet": as_csv(several(_VIEWS, slot, "called-parquet", 3)).encode()},
        UNREADABLE,
        ("eliver it",),
    ),
    BadInput(
        "workbook called .csv",
        "Somebody saved the sheet under another name instead of exporting it.",
        lambda slot: {"workbook.csv": b"PK\x03\x04" + slot.chance("workbook").randbytes(4000)},
        UNREADABLE,
        ("eliver it",),
    ),
    BadInput(
        "web page of an error called .csv",
        "The partner's download script stored the error page of its own server.",
        lambda slot: {"error-page.csv": _HTML.encode()},
        rejected(5),
        ("lacks", "view_id"),
    ),
    BadInput(
        "empty file",
        "The export ran before its database was up.",
        lambda slot: {"empty.csv": b""},
        EMPTY,
        ("is empty",),
    ),
    BadInput(
        "nothing but line ends",
        "A template was filled with no rows.",
        lambda slot: {"line-ends.csv": b"\r\n\r\n\r\n"},
        EMPTY,
        ("no header",),
    ),
    BadInput(
        "gzip of nothing",
        "An empty export was packed.",
        lambda slot: {"of-nothing.csv.gz": gzipped(b"")},
        EMPTY,
        ("no header",),
    ),
    BadInput(
        "header without rows",
        "Nothing happened on that day; no fault.",
        lambda slot: {"header-only.csv": as_csv(several(_VIEWS, slot, "x", 1)).splitlines()[0].encode()},
        loaded(0),
    ),
    BadInput(
        "gzip bomb without a line end",
        "A sparse disk image was packed by accident; or somebody means harm.",
        lambda slot: {"bomb.csv.gz": gzipped(bytes(_BOMB_BYTES))},
        UNREADABLE,
        ("bomb.csv.gz",),
        alone=True,
    ),
    BadInput(
        "gzip bomb in one value",
        "A field was filled up to the width of a column that has none.",
        _line_bomb,
        partly(1),
        ("line",),
        alone=True,
    ),
    BadInput(
        "Parquet cut off",
        "The writer was stopped before it wrote the footer.",
        lambda slot: {"cut-off.parquet": as_parquet(several(_VIEWS, slot, "cut", 3))[:-9]},
        UNREADABLE,
        ("deliver it again",),
    ),
    BadInput(
        "Parquet damaged inside",
        "A block of the disk was lost; header and footer are sound.",
        _damaged_parquet,
        UNREADABLE,
        ("deliver it again",),
    ),
    BadInput(
        "encrypted Parquet",
        "The partner's security policy encrypts whatever leaves the house.",
        _encrypted_parquet,
        UNREADABLE,
        ("eliver it",),
    ),
    BadInput(
        "Parquet with types of its own",
        "The partner's warehouse has narrower types; no fault.",
        _typed_parquet,
        loaded(2),
    ),
    BadInput(
        "Parquet with a nested column",
        "An upgrade wrapped a number into a structure.",
        _nested_parquet,
        rejected(2),
        ("nested values in column dwell_seconds", "one value per row"),
    ),
    BadInput(
        "Parquet with truth values for times",
        "Two columns were swapped in the export's mapping.",
        _true_parquet,
        rejected(2),
        ("viewed_at", "wanted a UTC time"),
    ),
    BadInput(
        "Parquet with fractions for whole numbers",
        "A null in the column made the partner's tool turn it into floating point, and somebody divided by it.",
        _fraction_parquet,
        partly(1),
        ("30.5",),
    ),
    BadInput(
        "Parquet without rows",
        "Nothing happened on that day; no fault.",
        lambda slot: {"no-rows.parquet": parquet_of(pl.DataFrame(several(_VIEWS, slot, "none", 1)).clear())},
        loaded(0),
    ),
)
