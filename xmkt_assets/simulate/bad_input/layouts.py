"""Kinds of bad input: CSV whose header, separators, quotes, line ends or encoding are not the agreed ones."""

from typing import Final

from xmkt_assets.simulate.bad_input.kinds import (
    UNREADABLE,
    BadInput,
    Expected,
    Files,
    Slot,
    as_csv,
    good,
    loaded,
    partly,
    rejected,
    several,
)

_VIEWS: Final = "course_views"
_REVIEWS: Final = "course_reviews"
_CHINESE: Final = "老师讲得很好，推荐给大家。"
_BEYOND_GBK: Final = "𠮷野家的课程"  # the first character has four bytes in GB18030 and none in GBK
_MANY_COLUMNS: Final = 2_000
_LONG_LINE: Final = 10_000_000


def _views(slot: Slot, prefix: str, count: int = 3, **changes: str) -> list[dict[str, str]]:
    return [{**row, **changes} for row in several(_VIEWS, slot, prefix, count)]


def _reviews(slot: Slot, prefix: str, *texts: str) -> str:
    rows = several(_REVIEWS, slot, prefix, len(texts))
    return as_csv([{**row, "review_text": text} for row, text in zip(rows, texts, strict=True)])


def _line(text: str, number: int) -> str:
    return text.splitlines()[number]


def _without(slot: Slot, prefix: str, column: str) -> str:
    rows = _views(slot, prefix)
    return as_csv(rows, columns=[name for name in rows[0] if name != column])


def _renamed(slot: Slot, prefix: str, found: str, wanted: str) -> str:
    text = as_csv(_views(slot, prefix))
    return text.replace(found, wanted, 1)


def _mixed_ends(slot: Slot) -> Files:
    lines = as_csv(_views(slot, "mixed", 4)).splitlines()
    ends = ("\r\n", "\n", "\r\n", "\n", "\r\n")
    return {"mixed-ends.csv": "".join(line + end for line, end in zip(lines, ends, strict=True)).encode()}


def _broken_utf8(slot: Slot) -> Files:
    text = _reviews(slot, "utf8", _CHINESE, "spoiled", _CHINESE)
    return {"broken-utf8.csv": text.encode().replace(b"spoiled", b"spoi\xff\xfeled")}


def _broken_gbk(slot: Slot) -> Files:
    text = _reviews(slot, "gbk-broken", _CHINESE, "spoiled", _CHINESE)
    return {"broken-gbk.csv": text.encode("gb18030").replace(b"spoiled", b"spoi\xff\xffled")}


def _short_and_long(slot: Slot) -> Files:
    short, long = (as_csv([row], header=False) for row in several(_VIEWS, slot, "ragged", 2))
    whole = as_csv([good(_VIEWS, slot, "ragged-3")])
    return {"ragged.csv": (whole + short.rsplit(",", 2)[0] + "\n" + long.replace(",c1,", ",c1,one,more,")).encode()}


def _open_quote(slot: Slot) -> Files:
    lines = as_csv(_views(slot, "open", 4)).splitlines()
    lines[2] = lines[2].replace(",u1,", ',"u1,')
    return {"open-quote.csv": ("\n".join(lines) + "\n").encode()}


def _backslashes(slot: Slot) -> Files:
    text = _reviews(slot, "backslash", "good", "SPOILED")
    return {"backslash.csv": text.replace("SPOILED", '"she said \\"good\\" twice"').encode()}


def _many_columns(slot: Slot) -> Files:
    names = [f"f{i}" for i in range(_MANY_COLUMNS)]
    return {"many-columns.csv": (",".join(names) + "\n" + "," * (_MANY_COLUMNS - 1) + "\n").encode()}


def _long_line(slot: Slot) -> Files:
    rows = [good(_VIEWS, slot, "long-1"), good(_VIEWS, slot, "long-2", user_id="x" * _LONG_LINE)]
    return {"long-line.csv": as_csv([*rows, good(_VIEWS, slot, "long-3")]).encode()}


def _totals(slot: Slot) -> Files:
    return {"totals.csv": (as_csv(_views(slot, "totals")) + "Total,3,,,90,\n").encode()}


def _under_a_title(slot: Slot) -> Files:
    return {"title.csv": (f"Course views of {slot.day}\n" + as_csv(_views(slot, "title"))).encode()}


HEADERS: Final = (
    BadInput(
        "no header",
        "The partner's export option 'with column names' is off.",
        lambda slot: {"no-header.csv": as_csv(_views(slot, "no-header", 4), header=False).encode()},
        rejected(3),
        ("lacks column", "wanted view_id"),
    ),
    BadInput(
        "a column named twice",
        "A join in the partner's query brought the key from both sides.",
        lambda slot: {"twice.csv": _renamed(slot, "twice", "source", "view_id").encode()},
        UNREADABLE,
        ("view_id", "twice"),
    ),
    BadInput(
        "header in upper case",
        "The partner's database folds names to upper case.",
        lambda slot: {"upper.csv": as_csv(_views(slot, "upper")).replace("view_id", "VIEW_ID", 1).encode()},
        rejected(3),
        ("lacks column view_id", "VIEW_ID"),
    ),
    BadInput(
        "spaces around the names of the header",
        "The file was aligned for reading; no fault.",
        lambda slot: {"spaced.csv": as_csv(_views(slot, "spaced")).replace(",", " , ").encode()},
        loaded(3),
    ),
    BadInput(
        "byte order mark",
        "Spreadsheets write one at the start of UTF-8; no fault.",
        lambda slot: {"mark.csv": as_csv(_views(slot, "mark")).encode("utf-8-sig")},
        loaded(3),
    ),
    BadInput(
        "header in Chinese",
        "The export was made for people and shows labels in place of names.",
        lambda slot: {"chinese.csv": _renamed(slot, "chinese", "dwell_seconds", "停留秒数").encode()},
        rejected(3),
        ("lacks column dwell_seconds", "停留秒数"),
    ),
    BadInput(
        "a required column missing",
        "A release of the partner's system dropped it.",
        lambda slot: {"missing.csv": _without(slot, "missing", "dwell_seconds").encode()},
        rejected(3),
        ("lacks column dwell_seconds", "wanted view_id"),
    ),
    BadInput(
        "an optional column missing",
        "An older release of the partner's system never had it; no fault.",
        lambda slot: {"optional.csv": _without(slot, "optional", "source").encode()},
        loaded(3),
        ("source",),
    ),
    BadInput(
        "an undeclared column",
        "A release of the partner's system added it and nobody told.",
        lambda slot: {"undeclared.csv": as_csv(_views(slot, "undeclared", device="phone")).encode()},
        loaded(3),
        ("undeclared columns device",),
    ),
    BadInput(
        "columns in another order",
        "The partner's query was rewritten; no fault.",
        lambda slot: {"swapped.csv": as_csv(_views(slot, "order"), columns=[*_views(slot, "x")[0]][::-1]).encode()},
        loaded(3),
    ),
    BadInput(
        "a title above the header",
        "A report tool prints what the report is.",
        _under_a_title,
        rejected(4),
        ("lacks", "view_id"),
    ),
    BadInput(
        "an empty line above the header",
        "A template begins with one.",
        lambda slot: {"empty-line.csv": ("\n" + as_csv(_views(slot, "empty-line"))).encode()},
        UNREADABLE,
        ("empty line",),
    ),
    BadInput(
        "header of 2,000 columns",
        "Rows and columns were swapped on the way.",
        _many_columns,
        rejected(1),
        ("lacks", "view_id"),
        alone=True,
    ),
)

SPLITTING: Final = (
    BadInput(
        "semicolons for commas",
        "Spreadsheets of many countries export so; no fault.",
        lambda slot: {"semicolons.csv": as_csv(_views(slot, "semicolon"), delimiter=";").encode()},
        loaded(3),
    ),
    BadInput(
        "tabs for commas",
        "The text was copied out of a database tool; no fault.",
        lambda slot: {"tabs.csv": as_csv(_views(slot, "tab"), delimiter="\t").encode()},
        loaded(3),
    ),
    BadInput(
        "tabs in a .tsv",
        "The partner's warehouse exports so; no fault.",
        lambda slot: {"tabs.tsv": as_csv(_views(slot, "tsv"), delimiter="\t").encode()},
        loaded(3),
    ),
    BadInput(
        "bars for commas",
        "Mainframes export so; no fault.",
        lambda slot: {"bars.csv": as_csv(_views(slot, "bar"), delimiter="|").encode()},
        loaded(3),
    ),
    BadInput(
        "a line for spreadsheets that says sep=,",
        "Some tools write it so that a spreadsheet splits the columns.",
        lambda slot: {"sep.csv": ("sep=,\n" + as_csv(_views(slot, "sep"))).encode()},
        rejected(4),
        ("lacks", "view_id"),
    ),
    BadInput(
        "short and long rows",
        "A text with an unquoted comma, and a row whose last fields were lost.",
        _short_and_long,
        partly(1, refused=2),
        ("malformed line",),
    ),
    BadInput(
        "a quote that is never closed",
        "A text was cut at the width of its column, with the quote that ends it.",
        _open_quote,
        partly(1, refused=3),
        ("quote",),
    ),
    BadInput(
        "line ends inside quotes",
        "People write reviews of several lines; no fault.",
        lambda slot: {"quoted-ends.csv": _reviews(slot, "quoted", "one\ntwo", "three\r\nfour", "five").encode()},
        loaded(3),
        feed=_REVIEWS,
    ),
    BadInput(
        "quotes escaped by backslashes",
        "MySQL's export writes them so.",
        _backslashes,
        partly(1),
        ("malformed line",),
        feed=_REVIEWS,
    ),
    BadInput(
        "mixed line ends",
        "Files of two systems were joined into one; no fault that cannot be told.",
        _mixed_ends,
        loaded(4),
    ),
    BadInput(
        "carriage returns only",
        "An old spreadsheet on a Mac; no fault.",
        lambda slot: {"returns.csv": as_csv(_views(slot, "return"), end="\r").encode()},
        loaded(3),
    ),
    BadInput(
        "empty lines between rows",
        "Line ends were doubled on the way between systems; no fault.",
        lambda slot: {"gaps.csv": as_csv(_views(slot, "gap"), end="\n\n").encode()},
        loaded(3),
    ),
    BadInput(
        "no line end at the end",
        "Many tools write none; no fault.",
        lambda slot: {"no-end.csv": as_csv(_views(slot, "no-end")).rstrip("\n").encode()},
        loaded(3),
    ),
    BadInput(
        "a row of totals at the end",
        "A report tool adds it.",
        _totals,
        partly(3),
        ("viewed_at: empty",),
    ),
    BadInput(
        "a line of 10 MB",
        "Two line ends were lost in a value, or a picture was pasted into a text.",
        _long_line,
        Expected("partly quarantined", loaded=2, quarantined=1),
        ("line",),
        alone=True,
    ),
)

ENCODINGS: Final = (
    BadInput(
        "GBK",
        "Chinese Windows saves text so; no fault.",
        lambda slot: {"gbk.csv": _reviews(slot, "gbk", _CHINESE, _CHINESE * 3).encode("gbk")},
        loaded(2),
        feed=_REVIEWS,
    ),
    BadInput(
        "GB18030 with a character beyond GBK",
        "Rare characters in names; no fault.",
        lambda slot: {"gb18030.csv": _reviews(slot, "gb18030", _CHINESE, _BEYOND_GBK).encode("gb18030")},
        loaded(2),
        feed=_REVIEWS,
    ),
    BadInput(
        "GBK with a broken byte",
        "A text was cut in the middle of a character: the file is neither GBK nor UTF-8 any more.",
        _broken_gbk,
        rejected(3),
        ("neither UTF-8 nor GB18030",),
        feed=_REVIEWS,
    ),
    BadInput(
        "a row that is no UTF-8",
        "One source of the partner still writes another encoding.",
        _broken_utf8,
        partly(2),
        ("malformed line",),
        feed=_REVIEWS,
    ),
    BadInput(
        "UTF-16",
        "A spreadsheet's 'Unicode text'; no fault.",
        lambda slot: {"utf16.csv": as_csv(_views(slot, "utf16")).encode("utf-16")},
        loaded(3),
        ("UTF-16",),
    ),
    BadInput(
        "NUL bytes",
        "A block of the disk was lost, or a field was padded by a program in C.",
        lambda slot: {
            "nul.csv": as_csv([*_views(slot, "nul", 2), good(_VIEWS, slot, "nul-3", user_id="u\0")]).encode()
        },
        partly(2),
        ("user_id",),
    ),
    BadInput(
        "control characters",
        "A terminal's colours or a bell were copied with the text.",
        lambda slot: {"controls.csv": _reviews(slot, "control", "ok\x1b[31m red\x07", "\x01\x02", "ok").encode()},
        partly(1, refused=2),
        ("review_text", "control characters"),
        feed=_REVIEWS,
    ),
    BadInput(
        "text in all directions",
        "Emoji, right-to-left marks and zero-width characters, as people paste them; no fault.",
        lambda slot: {"unicode.csv": _reviews(slot, "unicode", "👩‍🏫👍", "\u202eevil\u202c", "a\u200bb").encode()},
        loaded(3),
        feed=_REVIEWS,
    ),
)

LAYOUTS: Final = (*HEADERS, *SPLITTING, *ENCODINGS)
