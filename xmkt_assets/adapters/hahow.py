"""A real course platform's published purchases, catalogue and profiles as drops of the partner `course_platform`.

Source: the course competition of NTU's ADL 2022 (Kaggle), via ianyang66/ADLFinal and
vppyw/ADL2022_Final_Recommendation_System; do not redistribute. Which courses a person bought, lecture titles and
lengths, tags and profiles are observed. Order dates are NOT: the data have no times at all, so a seed assigns them, and
every order_id begins with "dateassigned-". Course titles, prices, views and reviews were not published.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from gzip import open as open_gzip
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from xmkt_assets.adapters import drops
from xmkt_assets.adapters.people import (
    LINK_SEED,
    LINK_SHARE,
    PURPOSES,
    describe_link,
    draw,
    draw_identifiers,
    grant_consents,
)
from xmkt_assets.adapters.sources import find_file, read_csv, read_hahow_purchases

DATASET: Final = "hahow"
FIRST_ON: Final = date(2018, 10, 1)
LAST_ON: Final = date(2020, 9, 30)
DATE_SEED: Final = 7

_BANDS: Final = 6
_DESCRIPTION_CHARACTERS: Final = 2_000
_TITLE_HEADINGS: Final = 2
_NO_TOPIC: Final = "未分類"
# "This course has no chapters", "preface", "about this course" and the like say nothing of a course.
_SAYING_NOTHING: Final = frozenset(
    ["本課程不分章節", "本課程無分章節", "此課程無章節", "課程內容", "前言", "課程前言", "課程介紹", "課程簡介"]
)
_LABELS: Final[Mapping[str, str]] = {
    "性別": "gender",
    "職業": "occupations",
    "興趣": "interests",
    "喜好": "hobbies",
}


class Profile(NamedTuple):
    """What one user states, in the data's own words; empty where not stated."""

    gender: str | None
    occupations: tuple[str, ...]
    interests: tuple[str, ...]
    hobbies: tuple[str, ...]


def write_drops(
    data: Path,
    landing: Path,
    *,
    first_on: date = FIRST_ON,
    last_on: date = LAST_ON,
    date_seed: int = DATE_SEED,
    link_share: float = LINK_SHARE,
    link_seed: int = LINK_SEED,
) -> drops.AdapterSummary:
    """Write users, courses, course_orders and consents of the course platform.

    Orders are spread by `date_seed` from `first_on` to `last_on` (by default the days of the Bruun purchases); all
    else is delivered on `first_on`. `link_share` and `link_seed` as in the Bruun adapter: give both the same values.
    Raises FileNotFoundError where a published file is missing, ValueError where the days are in the wrong order.
    """
    people = draw_identifiers(data, side="users", share=link_share, seed=link_seed)
    catalogue = courses(data, listed_on=first_on)
    feeds = {
        "course_platform/users": users(data, people, registered_on=first_on),
        "course_platform/courses": catalogue,
        "course_platform/course_orders": course_orders(
            read_hahow_purchases(data), catalogue, first_on=first_on, last_on=last_on, seed=date_seed
        ),
        "course_platform/consents": grant_consents(people, purposes=PURPOSES, decided_on=first_on),
    }
    notes = (*_notes(first_on, last_on, date_seed), describe_link(people, seed=link_seed))
    return drops.write_drops(landing, dataset=DATASET, feeds=feeds, notes=notes)


def course_orders(
    purchases: pl.DataFrame, catalogue: pl.DataFrame, *, first_on: date, last_on: date, seed: int
) -> pl.DataFrame:
    """One row per user and course. A user's courses are one order on one drawn date: the data give a set, no sequence.

    `paid_fen` is the course's price band, as in the catalogue: a rank, not money.
    """
    days = (last_on - first_on).days + 1
    if days < 1:
        raise ValueError(f"Orders need days from first_on to last_on, got {first_on} to {last_on}. Swap them.")
    start = datetime.combine(first_on, time.min)
    buyers = purchases["user_id"].unique().sort()
    drawn = [start + timedelta(seconds=draw(f"order|{user}", seed=seed) % (days * 86_400)) for user in buyers]
    dates = pl.DataFrame({"user_id": buyers, "ordered_at": pl.Series(drawn, dtype=pl.Datetime("us"))})
    return (
        purchases.join(dates, on="user_id", validate="m:1")
        .join(catalogue.select("course_id", pl.col("price_fen").alias("paid_fen")), on="course_id", how="left")
        .with_columns(
            pl.format("dateassigned-{}-{}", "user_id", "course_id").alias("order_line_id"),
            pl.format("dateassigned-{}", "user_id").alias("order_id"),
            status=pl.lit("paid"),
        )
    )


def users(data: Path, people: pl.DataFrame, *, registered_on: date) -> pl.DataFrame:
    """One row per user of the seen and the unseen group; the unseen group states nothing and has no topic history.

    `interests` = stated interests, then topics of courses bought before (without their groups); which of the two a
    topic comes from is lost. Several occupations are separated by |.
    """
    stated = read_csv(data, "hahow/processed_val_group_2.csv.gz").select("user_id", "interests")
    profiles = {user: read_profile(text) for user, text in stated.iter_rows()}
    history = _topic_history(data)
    nothing = Profile(None, (), (), ())
    found = [(profiles.get(user, nothing), history.get(user, ())) for user in people["subject_id"]]
    registered_at = datetime.combine(registered_on, time.min)
    return people.rename({"subject_id": "user_id"}).with_columns(
        pl.Series("gender", [profile.gender for profile, _ in found], dtype=pl.String),
        pl.Series("occupation", [_joined(profile.occupations) for profile, _ in found], dtype=pl.String),
        pl.Series(
            "interests",
            [_joined((*profile.interests, *bought)) for profile, bought in found],
            dtype=pl.String,
        ),
        registered_at=pl.lit(registered_at),
        updated_at=pl.lit(registered_at),
    )


def courses(data: Path, *, listed_on: date) -> pl.DataFrame:
    """One row per course. Title and description are made of lecture headings; price_fen is the price band, 1 to 6."""
    tag_numbers: dict[str, int] = json.loads(find_file(data, "hahow/course_feature_map.json").read_text("utf-8"))
    with open_gzip(find_file(data, "hahow/courses_with_feature_price_teacher.json.gz"), "rt", encoding="utf-8") as file:
        published: list[dict[str, Any]] = json.load(file)
    lectures = _lectures(data)
    carried_by = Counter(number for course in published for number in course["feature"][: len(tag_numbers)])
    names = {number: _topic(tag) for tag, number in tag_numbers.items()}
    rows = [
        _course(course, names=names, carried_by=carried_by, lectures=lectures.get(course["course_id"], []))
        for course in published
    ]
    schema = {"course_id": pl.String, "title": pl.String, "topics": pl.String, "teacher_id": pl.String}
    return pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None).with_columns(
        updated_at=pl.lit(datetime.combine(listed_on, time.min))
    )


def read_profile(text: str) -> Profile:
    """A profile from text such as "性別:female,職業:金融業,服務業,興趣:投資理財_理財,喜好:閱讀".

    Interests lose the group before "_", so that they are spelled as topics of courses.
    """
    found: dict[str, list[str]] = {field: [] for field in Profile._fields}
    field = None
    for part in text.split(","):
        label, colon, value = part.partition(":")
        field, word = (_LABELS[label], value) if colon and label in _LABELS else (field, part)
        if field is None:
            raise ValueError(f"A profile begins with {part!r}; wanted one of the labels {list(_LABELS)} and a colon.")
        found[field].append(word)
    interests = tuple(_topic(word.partition("_")[2] or word) for word in found["interests"])
    gender = found["gender"][0] if found["gender"] else None
    return Profile(gender, tuple(found["occupations"]), interests, tuple(found["hobbies"]))


class _Lecture(NamedTuple):
    chapter: str
    name: str
    seconds: int


def _course(
    course: Mapping[str, Any],
    *,
    names: Mapping[int, str],
    carried_by: Mapping[int, int],
    lectures: Sequence[_Lecture],
) -> dict[str, object]:
    feature = course["feature"]
    tags = sorted((number for number in feature[: len(names)] if number), key=lambda n: (carried_by[n], n))
    topics = [names[number] for number in tags] or [_NO_TOPIC]
    # The two places after the tags hold price band and teacher, numbered on from the tags; 0 = no teacher given.
    band, teacher = feature[len(names)] - len(names), feature[len(names) + 1]
    return {
        "course_id": course["course_id"],
        "title": _title(topics, lectures),
        "topics": "|".join(topics),
        "teacher_id": f"teacher_{teacher}" if teacher else None,
        "price_fen": band,
        "duration_seconds": sum(lecture.seconds for lecture in lectures) if lectures else None,
        "description": _description(lectures, band=band),
    }


def _title(topics: Sequence[str], lectures: Sequence[_Lecture]) -> str:
    chapters = [name for name in dict.fromkeys(lecture.chapter for lecture in lectures) if _says_something(name)]
    names = [lecture.name for lecture in lectures if _says_something(lecture.name)]
    headings = (chapters or names)[:_TITLE_HEADINGS]
    return f"{topics[0]}：{'、'.join(headings)}" if headings else topics[0]


def _description(lectures: Sequence[_Lecture], *, band: int) -> str:
    made = (
        f"[Title made of topic and headings, the real one is not published. Price band {band} of {_BANDS}: amounts are "
        f"not published, price_fen holds the band number and is not money.]"
    )
    text = " / ".join(lecture.name for lecture in lectures if lecture.name)
    return f"{text[: _DESCRIPTION_CHARACTERS - len(made) - 1]} {made}".strip()


def _says_something(heading: str) -> bool:
    return bool(heading) and heading not in _SAYING_NOTHING


def _lectures(data: Path) -> dict[str, list[_Lecture]]:
    items = read_csv(data, "hahow/course_chapter_items.csv.gz").sort(
        "course_id",
        pl.col("chapter_no").cast(pl.Int64),
        pl.col("chapter_item_no").cast(pl.Int64),
        maintain_order=True,
    )
    of_course: dict[str, list[_Lecture]] = {}
    columns = items.filter(pl.col("chapter_item_type") == "LECTURE").select(
        "course_id",
        pl.col("chapter_name", "chapter_item_name").str.strip_chars().fill_null(""),
        pl.col("video_length_in_seconds").cast(pl.Int64).fill_null(0),
    )
    for course_id, *lecture in columns.iter_rows():
        of_course.setdefault(course_id, []).append(_Lecture(*lecture))
    return of_course


def _topic_history(data: Path) -> dict[str, tuple[str, ...]]:
    """user_id → names of the topics of earlier purchases; which courses they were was not published."""
    names = {
        number: _topic(name)
        for number, name in read_csv(data, "hahow/subgroups.csv").select("subgroup_id", "subgroup_name").iter_rows()
    }
    bought = read_csv(data, "hahow/train_group.csv.gz").select("user_id", pl.col("subgroup").fill_null(""))
    return {user: tuple(names[number] for number in numbers.split()) for user, numbers in bought.iter_rows()}


def _topic(name: str) -> str:
    # The files write "AI 人工智慧" and "AI人工智慧" for one topic.
    return name.replace(" ", "")


def _joined(words: Iterable[str]) -> str | None:
    return "|".join(dict.fromkeys(words)) or None


def _notes(first_on: date, last_on: date, seed: int) -> tuple[str, ...]:
    return (
        f"Order dates are assigned, not observed: the data have no times. Each user's courses are ONE order on a date "
        f"drawn by seed {seed} from {first_on} to {last_on}; every order_id begins with dateassigned-.",
        f"Registration, catalogue and consents are dated {first_on}, also assigned.",
        "price_fen and paid_fen hold the number of the price band, 1 to 6 (longer courses lie in higher bands): the "
        "amounts were not published, so they are no money.",
        "Course titles were not published: they are made of the rarest topic and the first headings.",
        "Interests are stated interests and the topics of courses bought before, together; the unseen group has none. "
        "Hobbies are left out: they are not topics of courses.",
        "Views and reviews were not published.",
        "The data carry no consents: every purpose is granted on the first day with source research_data.",
    )
