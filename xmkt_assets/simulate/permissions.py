"""Consents and do-not-contact decisions of the simulated people, per firm.

A person mostly answers both firms alike. Does not belong here: what the platform makes of the answers.
"""

from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance
from xmkt_assets.simulate.calendar import NEVER, Calendar, moments

PURPOSES: Final = ("profiling", "joint_marketing", "measurement", "sensitive_profiling")
GRANT_SHARES: Final = (0.82, 0.76, 0.79, 0.86)
SENSITIVE_NOTICE: Final = "2026-1-sensitive"  # claims and income are asked about apart, with a notice of their own
ANSWER_SOURCES: Final = ("app", "web", "branch", "phone")
CHANNELS: Final = ("all", "sms", "email", "phone", "app_push")
GRANTED, WITHDRAWN = range(2)


def consents_drop(
    members: chance.Ints,
    joined: chance.Ints,
    names: tuple[str, ...],
    *,
    partner: str,
    seed: int,
    calendar: Calendar,
    all_granted: bool = False,
) -> pl.DataFrame:
    """One row per decision of `members` (person numbers; `joined` = day they joined the firm, negative = before).

    First answers come on the first day (most) or within two weeks; some are withdrawn later, some expire, some are
    given again. People who join by buying (`all_granted`) agree to everything that day.
    """
    answers = [
        _decisions(members, joined, purpose, partner=partner, seed=seed, calendar=calendar, all_granted=all_granted)
        for purpose in range(len(PURPOSES))
    ]
    decided = pl.concat(answers).filter(pl.col("day") < calendar.days)
    return _consent_rows(decided, names, partner=partner, seed=seed, calendar=calendar)


def optouts_drop(
    members: chance.Ints, joined: chance.Ints, names: tuple[str, ...], *, partner: str, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """One row per do-not-contact decision: some at the start, some later, a few taken back."""
    first = np.maximum(joined, 0)
    later = calendar.batch_day(first + 1 + chance.whole(0, calendar.days, seed, f"{partner}/opt-out day", members))
    at_start = chance.happens(0.025, seed, f"{partner}/opts out at start", members)
    afterwards = chance.happens(0.04, seed, f"{partner}/opts out later", members) & ~at_start
    leaves = at_start | afterwards
    out_day = np.where(at_start, first, later)
    back = leaves & chance.happens(0.08, seed, f"{partner}/opts in again", members)
    back_day = calendar.batch_day(out_day + chance.whole(10, 60, seed, f"{partner}/opt-in after", members))
    channel = chance.among(np.array([0.3, 0.3, 0.2, 0.15, 0.05]), seed, f"{partner}/opt-out channel", members)
    person = np.concatenate([members[leaves], members[back]])
    day = np.concatenate([out_day[leaves], back_day[back]])
    return optout_rows(
        person,
        day,
        np.concatenate([channel[leaves], channel[back]]),
        ["opted_out"] * int(leaves.sum()) + ["opted_in"] * int(back.sum()),
        names,
        ids=chance.bits(seed, f"{partner}/opt-out id", person, day),
        partner=partner,
        seed=seed,
        calendar=calendar,
    )


def optout_rows(
    person: chance.Ints,
    day: chance.Ints,
    channel: chance.Ints,
    decision: list[str],
    names: tuple[str, ...],
    *,
    ids: chance.Bits,
    partner: str,
    seed: int,
    calendar: Calendar,
) -> pl.DataFrame:
    """Decisions in contract columns, with `day` and `person` for internal use; days after the world are left out."""
    rows = pl.DataFrame(
        {
            "day": day,
            "person": person,
            "optout_id": chance.tokens("oo_", ids),
            "subject_id": pl.Series(names).gather(person),
            "channel": pl.Series(CHANNELS).gather(channel),
            "decision": pl.Series(decision, dtype=pl.String),
            "decided_at": calendar.at(day, moments(seed, f"{partner}/opt-out second", person, day)),
        }
    )
    return rows.filter(pl.col("day") < calendar.days).sort("decided_at", "optout_id")


def _consent_rows(
    decided: pl.DataFrame, names: tuple[str, ...], *, partner: str, seed: int, calendar: Calendar
) -> pl.DataFrame:
    """Rows of `_decisions` in contract columns, with `day` and `person` for internal use."""
    person, purpose, day, decision = (decided[c].to_numpy() for c in ("person", "purpose", "day", "decision"))
    keys = (person, purpose, day, decision)
    source = chance.among(np.array([0.6, 0.2, 0.12, 0.08]), seed, f"{partner}/consent source", *keys)
    second = np.maximum(moments(seed, f"{partner}/consent second", person, day), 1800)  # after the joining moment
    rows = {
        "day": decided["day"],
        "person": decided["person"],
        "consent_id": chance.tokens("cs_", chance.bits(seed, f"{partner}/consent id", *keys)),
        "subject_id": pl.Series(names).gather(person),
        "purpose": pl.Series(PURPOSES).gather(purpose),
        "decision": pl.Series(("granted", "withdrawn")).gather(decision),
        # The first forms of the firms named no recipient: there the notice decides.
        "recipient": pl.select(pl.when(pl.Series(day) >= 60).then(pl.lit("both"))).to_series(),
        "notice_version": np.where(
            pl.Series(PURPOSES).gather(purpose) == "sensitive_profiling",
            SENSITIVE_NOTICE,
            np.where(day < 60, "2026-1", "2026-2"),
        ),
        "source": pl.Series(ANSWER_SOURCES).gather(source),
        "decided_at": calendar.at(day, second),
        "expires_on": calendar.dates(decided["expires"].fill_null(0).to_numpy()),
    }
    expires = pl.when(decided["expires"].is_not_null()).then("expires_on")
    return pl.DataFrame(rows).with_columns(expires.alias("expires_on")).sort("decided_at", "consent_id")


def _decisions(
    members: chance.Ints,
    joined: chance.Ints,
    purpose: int,
    *,
    partner: str,
    seed: int,
    calendar: Calendar,
    all_granted: bool,
) -> pl.DataFrame:
    """Rows person, purpose, day, decision, expires (a day, or null) of one purpose."""
    grants, answers = _first_answers(members, purpose, partner=partner, seed=seed, all_granted=all_granted)
    day = _answer_days(members, joined, partner=partner, seed=seed, calendar=calendar)
    keys = (members, purpose)
    expires = chance.happens(0.06, seed, f"{partner}/consent expires", *keys) & grants & (not all_granted)
    last = day + chance.whole(30, 400, seed, f"{partner}/consent lasts", *keys)
    leaves = chance.happens(0.06, seed, f"{partner}/withdraws", *keys) & grants & ~expires & (not all_granted)
    leaving = calendar.batch_day(day + 1 + chance.whole(0, calendar.days, seed, f"{partner}/withdrawal day", *keys))
    again = expires & chance.happens(0.4, seed, f"{partner}/grants again", *keys)
    again_day = calendar.batch_day(last + chance.whole(1, 20, seed, f"{partner}/grants again after", *keys))
    first = _rows(members[answers], purpose, day[answers], np.where(grants, GRANTED, WITHDRAWN)[answers])
    ends = pl.Series(np.where(expires, last, NEVER)[answers])
    first = first.with_columns(pl.when(ends < NEVER).then(ends).alias("expires"))
    return pl.concat(
        [
            first,
            _rows(members[leaves], purpose, leaving[leaves], np.full(int(leaves.sum()), WITHDRAWN)),
            _rows(members[again], purpose, again_day[again], np.full(int(again.sum()), GRANTED)),
        ]
    )


def _first_answers(
    members: chance.Ints, purpose: int, *, partner: str, seed: int, all_granted: bool
) -> tuple[chance.Bools, chance.Bools]:
    """(grants, answers): most people who do not grant say so, the others never answer."""
    alike = chance.happens(0.7, seed, "consent/alike", members, purpose)
    same_here = chance.happens(0.85, seed, "consent/same at both firms", members, purpose)
    person = chance.uniform(seed, "consent/person", members)
    of_purpose = chance.uniform(seed, "consent/purpose", members, purpose)
    at_firm = chance.uniform(seed, f"{partner}/consent", members, purpose)
    mood = np.where(same_here, np.where(alike, person, of_purpose), at_firm)
    grants = (mood < GRANT_SHARES[purpose]) | all_granted
    return grants, grants | chance.happens(0.6, seed, f"{partner}/declines", members, purpose)


def _answer_days(
    members: chance.Ints, joined: chance.Ints, *, partner: str, seed: int, calendar: Calendar
) -> chance.Ints:
    late = chance.happens(0.12, seed, f"{partner}/answers late", members) & (joined < 0)
    wait = calendar.batch_day(chance.whole(1, 14, seed, f"{partner}/answers after", members))
    return np.where(late, wait, np.maximum(joined, 0))


def _rows(person: chance.Ints, purpose: int, day: chance.Ints, decision: chance.Ints) -> pl.DataFrame:
    rows = {"person": person, "purpose": np.full(len(person), purpose), "day": day, "decision": decision}
    return pl.DataFrame(rows).with_columns(pl.lit(None, dtype=pl.Int64).alias("expires"))
