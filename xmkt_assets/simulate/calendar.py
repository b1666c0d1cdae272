"""Days and moments of the simulated period: whole days count from 0 at `start_on`, times are UTC."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance

NEVER: Final = 10**6  # a day after every horizon
DAY_SECONDS: Final = 86_400


@dataclass(frozen=True)
class Calendar:
    """First day and number of days."""

    start_on: date
    days: int

    def day_of(self, on: date) -> int:
        return (on - self.start_on).days

    def on(self, day: int) -> date:
        return self.start_on + timedelta(days=day)

    def at(self, day: chance.Ints, second: chance.Ints) -> pl.Series:
        """UTC timestamps."""
        epoch = int((datetime.combine(self.start_on, datetime.min.time()) - datetime(1970, 1, 1)).total_seconds())
        micros = (epoch + np.asarray(day, dtype=np.int64) * DAY_SECONDS + second) * 1_000_000
        return pl.Series("at", micros, dtype=pl.Int64).cast(pl.Datetime("us"))

    def dates(self, day: chance.Ints) -> pl.Series:
        epoch = (self.start_on - date(1970, 1, 1)).days
        return pl.Series("on", np.asarray(day, dtype=np.int64) + epoch, dtype=pl.Int64).cast(pl.Int32).cast(pl.Date)

    def is_weekend(self, day: chance.Ints | int) -> chance.Bools:
        return np.asarray((self.start_on.weekday() + np.asarray(day)) % 7 >= 5)

    def batch_day(self, day: chance.Ints) -> chance.Ints:
        """The Monday or Thursday at or after `day`: the firms exchange registrations and opt-outs twice a week."""
        weekday = (self.start_on.weekday() + day) % 7
        wait = np.array([0, 2, 1, 0, 3, 2, 1])  # from Monday to Sunday
        return np.asarray(day + wait[weekday], dtype=np.int64)


def moments(seed: int, stream: str, *keys: chance.Key) -> chance.Ints:
    """Second of the UTC day, most often around 12:00 (the evening in China)."""
    hours = 12.0 + 3.5 * chance.normal(seed, stream, *keys)
    return (np.floor(hours * 3600).astype(np.int64)) % DAY_SECONDS
