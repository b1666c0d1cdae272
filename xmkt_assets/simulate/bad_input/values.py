"""Kinds of bad input: single values that are not what their column promises. Each file has one good row and one bad."""

from typing import Final

from xmkt_assets.simulate.bad_input.kinds import BadInput, Expected, Slot, as_csv, as_jsonl, good, loaded, partly

_TOO_MANY: Final = 400  # of a day's thousand
_LONG_KEY: Final = 1_000_000
_NAME_LENGTH: Final = 24


def _spoiled(
    name: str, why: str, feed: str, column: str, found: str, *must_say: str, expected: Expected | None = None
) -> BadInput:
    """One good row, and one with `found` in `column`. The reason names the column and, unless told, the value."""

    def files(slot: Slot) -> dict[str, bytes]:
        mark = "".join(c if c.isalnum() and c.isascii() else "-" for c in name)[:_NAME_LENGTH]
        sound = good(feed, slot, f"{mark}-good")
        bad = good(feed, slot, f"{mark}-bad", **{column: found.format(day=slot.day)})
        return {f"{mark}.csv": as_csv([sound, bad]).encode()}

    said = must_say or (f"{column}: found", found.strip() or "empty")
    return BadInput(name, why, files, expected or partly(1), () if expected and not must_say else said, feed=feed)


_ORDERS: Final = "course_orders"
_VIEWS: Final = "course_views"
_EVENTS: Final = "campaign_events"

NUMBERS: Final = (
    _spoiled(
        "a decimal comma",
        "The price is in yuan, written as in much of Europe.",
        _ORDERS,
        "paid_fen",
        "199,00",
    ),
    _spoiled("a thousands separator", "A spreadsheet formatted the column.", _ORDERS, "paid_fen", "19,900"),
    _spoiled("full-width digits", "Typed by hand with a Chinese input method.", _ORDERS, "paid_fen", "１９９００"),
    _spoiled("yuan in a column of fen", "The unit drifted: 199.00 yuan are 19900 fen.", _ORDERS, "paid_fen", "199.00"),
    _spoiled("a currency sign", "The export is the one for people.", _ORDERS, "paid_fen", "¥19900"),
    _spoiled(
        "a negative amount", "A refund was booked as a payment.", _ORDERS, "paid_fen", "-100", "paid_fen", "at least 0"
    ),
    _spoiled(
        "a number too large for its type", "A missing separator joined two columns.", _ORDERS, "paid_fen", "9" * 25
    ),
    _spoiled("exponents in a whole number", "A spreadsheet shortened a long number.", _ORDERS, "paid_fen", "1.99E+4"),
    _spoiled("hexadecimal", "A debug build of the export.", _ORDERS, "paid_fen", "0x4DBC"),
    _spoiled("a number beyond floating point", "An overflow upstream.", _EVENTS, "score", "1e309"),
    _spoiled("not a number", "A division by zero upstream.", _EVENTS, "score", "nan"),
    _spoiled("infinity", "A division by zero upstream.", _EVENTS, "score", "-inf"),
    _spoiled(
        "milliseconds in a column of seconds",
        "The unit drifted with a release.",
        _VIEWS,
        "dwell_seconds",
        "30000000",
        "dwell_seconds",
        "at most 86400",
    ),
    _spoiled("an age for a year of birth", "Two columns of a form were confused.", "users", "birth_year", "36"),
    _spoiled("truth values in words", "The export shows labels.", "products", "is_on_sale", "是"),
    _spoiled("a word for no value", "A database's NULL printed as text.", "users", "birth_year", "NULL"),
)

TIMES: Final = (
    _spoiled(
        "a day that does not exist", "Somebody typed the end of the month.", "consents", "expires_on", "2027-02-30"
    ),
    _spoiled("a year of two digits", "A spreadsheet's short format.", _VIEWS, "viewed_at", "26-07-01"),
    _spoiled("the thirteenth month", "Day and month were swapped.", _VIEWS, "viewed_at", "2026-13-01T08:00:00Z"),
    _spoiled("day/month/year", "The format of the country.", _VIEWS, "viewed_at", "31/12/2026 08:00"),
    _spoiled("a spreadsheet's day number", "The cell's format was lost.", _VIEWS, "viewed_at", "46204.354"),
    _spoiled("seconds since 1970", "A developer's export.", _VIEWS, "viewed_at", "1782894600"),
    _spoiled(
        "a time zone offset",
        "The partner's clock is Beijing's and the time says so; no fault: it is converted.",
        _VIEWS,
        "viewed_at",
        "{day}T16:30:00+08:00",
        expected=loaded(2),
    ),
    _spoiled(
        "an event of an earlier week",
        "An old batch was sent again by mistake; what comes up to three days late is taken.",
        _VIEWS,
        "viewed_at",
        "2026-06-20T20:00:00Z",
        "viewed_at: found 2026-06-20",
        "deliver the row in folder dt=2026-06-20",
    ),
    _spoiled(
        "an event in the future",
        "A clock was set wrong.",
        _VIEWS,
        "viewed_at",
        "2099-01-01T00:00:00Z",
        "viewed_at: found 2099-01-01",
    ),
)

TEXTS: Final = (
    _spoiled("an empty key", "The row was made before its id.", _VIEWS, "view_id", "", "view_id: empty"),
    _spoiled("a key of spaces", "A column of fixed width without a value.", _VIEWS, "view_id", "   ", "view_id: empty"),
    _spoiled(
        "a key of 1 MB",
        "A field was overwritten by a neighbour in a program in C.",
        _VIEWS,
        "view_id",
        "k" * _LONG_KEY,
        expected=loaded(2),
    ),
    _spoiled("an unknown allowed value", "A new channel went live and nobody told.", _VIEWS, "source", "billboard"),
    _spoiled("an allowed value in another case", "Two systems, two spellings.", _VIEWS, "source", "Search"),
    _spoiled(
        "SQL in a value",
        "Somebody tries whether values are pasted into statements.",
        _VIEWS,
        "user_id",
        "'); drop table raw.course_views; --",
        expected=loaded(2),
    ),
    _spoiled(
        "a formula in a value",
        "Somebody tries whether a spreadsheet runs it; it is text here, and made harmless in what is exported.",
        "course_reviews",
        "review_text",
        "=cmd|' /C calc'!A0",
        expected=loaded(2),
    ),
)


def _big_integers(slot: Slot) -> dict[str, bytes]:
    row = {**good(_EVENTS, slot, "big-1"), "amount_fen": 9007199254740993}
    return {"big.jsonl": as_jsonl([row]).encode()}


def _many_spoiled(slot: Slot) -> dict[str, bytes]:
    rows = [good(_ORDERS, slot, f"many-{i}", paid_fen="free") for i in range(_TOO_MANY)]
    return {"many.csv": as_csv(rows).encode()}


VALUES: Final = (
    *NUMBERS,
    *TIMES,
    *TEXTS,
    BadInput(
        "a whole number that floating point cannot hold",
        "Amounts of a national bank in the smallest unit; no fault: it arrives to the last digit.",
        _big_integers,
        loaded(1),
        feed=_EVENTS,
    ),
    BadInput(
        "too many bad rows for one day",
        "A release broke the export: the day keeps what it had, and all that came waits in quarantine.",
        _many_spoiled,
        Expected("held back", quarantined=_TOO_MANY),
        ("held back", "rows (40.0%) were refused"),
        feed=_ORDERS,
        alone=True,
        keeps_sound_out=True,
    ),
)
