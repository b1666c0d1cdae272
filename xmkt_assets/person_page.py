"""``python -m xmkt_assets.person_page PERSON``: one person's profile in plain words, as of a day.

Here: reading the lake. The words are ``xmkt_assets.segments.person_page``'s.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import date

from xmkt_assets.segments.person_page import page
from xmkt_assets.warehouse import Lake

PROFILE = "segments.person_profile"


class NoProfileError(LookupError):
    """There is no profile to show; the message says why that may be."""


def page_of(lake: Lake, person_id: str, *, as_of: date | None = None) -> str:
    """The page of `person_id` as of the newest day kept, or the newest one not after `as_of`.

    Raises NoProfileError where the person has none.
    """
    if PROFILE not in lake.tables():
        raise NoProfileError(f"{PROFILE} was not made yet. Run the job retrain for a day first.")
    rows = lake.read(
        f"select * from {PROFILE} where person_id = $person and as_of_on <= $until order by as_of_on desc limit 2",
        person=person_id,
        until=as_of or date.max,
    ).to_dicts()
    if not rows:
        raise NoProfileError(
            f"{person_id} has no profile{f' up to {as_of}' if as_of else ''}: unknown, erased, or without a consent to "
            "profiling in force on the days that are kept. See staging.identities and staging.consent_decisions."
        )
    return page(rows[0], earlier=rows[1] if len(rows) > 1 else None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the page; exit code 1 where there is none."""
    from xmkt_assets.resources import settings, warehouse_of

    parser = argparse.ArgumentParser(
        prog="python -m xmkt_assets.person_page", description="One person's profile in plain words."
    )
    parser.add_argument("person", help="person_id, as in segments.person_profile")
    parser.add_argument("--as-of", type=date.fromisoformat, help="newest day to look at, such as 2026-10-28")
    options = parser.parse_args(arguments)
    try:
        told = page_of(warehouse_of(settings()).lake, options.person, as_of=options.as_of)
    except NoProfileError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
