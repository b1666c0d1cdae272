"""What the soak writes and what must always hold of it: two tables that agree, every day made by one batch. Pure.

Every writer owns some days. A batch replaces one day in both tables in one commit: ``soak.lines`` holds its rows,
``soak.totals`` one row that says how many they are and what they add up to. How large a batch is follows from its
writer and number alone, so whoever reads can tell a whole batch from a half one without asking the writer.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from xmkt_assets.warehouse import Days, Equal, Replace, Session

FIRST: Final = date(2026, 7, 1)
DAYS_PER_WRITER: Final = 3
# Few rows lie in the catalogue itself, many in a file: both are written.
SIZES: Final = (3, 60, 2_000, 12_000)
# One line per day of both tables, in one query and so in one snapshot.
STATE_SQL: Final = """
    select held_on, l.batches, l.writer, l.number, l.line_count, l.distinct_lines, l.amount_fen,
        t.totals, t.writer, t.number, t.line_count, t.amount_fen
    from (
        select held_on, count(distinct (writer, number)) as batches, max(writer) as writer, max(number) as number,
            count(*) as line_count, count(distinct line) as distinct_lines,
            cast(sum(amount_fen) as bigint) as amount_fen
        from soak.lines {at} group by held_on
    ) as l
    full join (
        select held_on, count(*) as totals, max(writer) as writer, max(number) as number,
            cast(sum(line_count) as bigint) as line_count, cast(sum(amount_fen) as bigint) as amount_fen
        from soak.totals {at} group by held_on
    ) as t using (held_on)
    order by held_on
"""


class Batch(NamedTuple):
    """One commit of one writer."""

    writer: int
    number: int

    @property
    def held_on(self) -> date:
        """The day it replaces, one of its writer's own."""
        turn = random.Random(f"day {self.writer} {self.number}").randrange(DAYS_PER_WRITER)
        place = self.number if self.number < DAYS_PER_WRITER else turn  # the first ones make every day once
        return FIRST + timedelta(days=self.writer * DAYS_PER_WRITER + place)

    @property
    def line_count(self) -> int:
        return random.Random(f"size {self.writer} {self.number}").choice(SIZES)

    @property
    def amount_fen(self) -> int:
        """Sum over the lines 0, 1, … of ``line + number``."""
        return self.line_count * self.number + self.line_count * (self.line_count - 1) // 2


State = Mapping[date, Batch]


def days_of(writers: int) -> list[date]:
    return [FIRST + timedelta(days=i) for i in range(writers * DAYS_PER_WRITER)]


def write_batch(session: Session, batch: Batch) -> int:
    """Replace the batch's day in both tables in one commit. Returns its snapshot id."""
    day = f"date '{batch.held_on}'"
    who = f"{day} as held_on, {batch.writer} as writer, {batch.number} as number"
    session.stage(
        "new_lines", f"select {who}, i as line, i + {batch.number} as amount_fen from range({batch.line_count}) as r(i)"
    )
    totals = f"{batch.line_count} as line_count, cast({batch.amount_fen} as bigint) as amount_fen"
    session.stage("new_totals", f"select {who}, {totals}")
    day_after = batch.held_on + timedelta(days=1)
    written = session.commit(
        [
            Replace("soak.lines", "new_lines", Days("held_on", batch.held_on, day_after)),
            Replace("soak.totals", "new_totals", Equal((("held_on", batch.held_on),))),
        ]
    )
    return written[0].snapshot_id


def judge(rows: Iterable[Sequence[Any]], *, days: Iterable[date]) -> tuple[State, list[str]]:
    """What rows of `STATE_SQL` show: the batch of each day, and complaints about days that hold no one whole batch."""
    state, complaints = dict[date, Batch](), list[str]()
    for held_on, batches, writer, number, *said in rows:
        if batches != 1:
            complaints.append(f"{held_on}: lines of {batches or 0} batches, wanted one")
            continue
        batch = Batch(writer, number)
        state[held_on] = batch
        wanted = [batch.line_count, batch.line_count, batch.amount_fen, 1, *batch, batch.line_count, batch.amount_fen]
        if batch.held_on != held_on:
            complaints.append(f"{held_on}: holds {batch}, which belongs to {batch.held_on}")
        if said != wanted:
            complaints.append(f"{held_on}: {batch} shows {said}, wanted {wanted}")
    complaints += [f"{day}: no line of it is there" for day in days if day not in state and not complaints]
    return state, complaints


def went_back(before: State, after: State) -> list[str]:
    """Days of which a later look shows an earlier batch."""
    return [
        f"{day}: {batch} after {before[day]} was seen"
        for day, batch in after.items()
        if day in before and batch.number < before[day].number
    ]
