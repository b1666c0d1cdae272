"""What was known of each person before assignment, as numbers a model can read.

Two sources: the JSON object of an imported assignment, and the numeric columns of ``segments.person_features`` as of
the day a platform list was made. Not here: any model (`t_learner`).
"""

import json

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs


def from_json(people: pl.DataFrame) -> pl.DataFrame:
    """Columns of the JSON objects in `people` (person_id, covariates), beside person_id; one row per row given.

    Raises:
        ValueError: an entry is no JSON object; the message names the person.
    """
    objects = [_object(person, text) for person, text in people.select("person_id", "covariates").iter_rows()]
    names = sorted({name for found in objects for name in found})
    columns = {name: pl.Series(name, [found.get(name) for found in objects], strict=False) for name in names}
    return people.select("person_id").with_columns(**columns)


def _object(person: str, text: str | None) -> dict[str, object]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Covariates of person {person} are no JSON ({error}); an object such as {{}} was wanted."
        ) from None
    if not isinstance(found, dict):
        raise ValueError(f"Covariates of person {person} are a JSON {type(found).__name__}; an object was wanted.")
    return found


def matrix(covariates: pl.DataFrame) -> npt.NDArray[np.float64]:
    """(people, columns) in the order of the rows: numbers and yes/no as they are, words as codes in sorted order.

    Columns that say the same of everybody are left out, person_id always; NaN = unknown.
    """
    columns = covariates.select(
        ~cs.by_name("person_id", require_all=False) & (cs.numeric() | cs.boolean() | cs.string())
    )
    varying = [column for column in columns if column.drop_nulls().n_unique() > 1]
    if not varying:
        return np.empty((covariates.height, 0))
    return np.column_stack([_numbers(column) for column in varying])


def _numbers(column: pl.Series) -> npt.NDArray[np.float64]:
    if column.dtype == pl.String:
        words = column.drop_nulls().unique().sort()
        codes = {word: float(code) for code, word in enumerate(words)}
        column = column.replace_strict(codes, default=None, return_dtype=pl.Float64)
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
