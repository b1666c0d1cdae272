"""Chance by key: every random number is a function of (seed, stream name, keys), never of a generator's state.

So a day comes out the same whichever days were written before it, and a person draws the same number with and
without a campaign. Belongs here: hashing keys to numbers and drawing from distributions. Does not belong here:
anything that knows what a person or a course is.
"""

from hashlib import sha256
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Bits: TypeAlias = npt.NDArray[np.uint64]
Key: TypeAlias = Ints | Bits | int

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def bits(seed: int, stream: str, *keys: Key) -> Bits:
    """64 random bits per key combination; keys broadcast. SplitMix64 (Steele, Lea & Flood 2014) over the keys."""
    name = int.from_bytes(sha256(f"{seed}/{stream}".encode()).digest()[:8])
    state = _split_mix(np.array([name], dtype=np.uint64))
    for key in keys:
        state = _split_mix(state ^ _split_mix(np.atleast_1d(np.asarray(key)).astype(np.uint64)))
    return state


def uniform(seed: int, stream: str, *keys: Key) -> Floats:
    """Uniform in the open interval (0, 1), one per key combination."""
    return ((bits(seed, stream, *keys) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(seed: int, stream: str, *keys: Key) -> Floats:
    """Standard normal, one per key combination (Box and Muller 1958)."""
    radius = np.sqrt(-2.0 * np.log(uniform(seed, f"{stream}/radius", *keys)))
    return radius * np.cos(2.0 * np.pi * uniform(seed, f"{stream}/angle", *keys))


def happens(share: Floats | float, seed: int, stream: str, *keys: Key) -> Bools:
    """True with probability `share`, per key combination."""
    return np.asarray(uniform(seed, stream, *keys) < share)


def whole(low: int, high: int, seed: int, stream: str, *keys: Key) -> Ints:
    """Whole numbers from `low` to `high`, both included, equally likely."""
    return low + np.asarray(uniform(seed, stream, *keys) * (high - low + 1), dtype=np.int64)


def poisson(rate: Floats, seed: int, stream: str, *keys: Key, at_most: int = 12) -> Ints:
    """Poisson counts by inversion, cut at `at_most`; meant for rates well below it."""
    chance = uniform(seed, stream, *keys)
    term = np.exp(-rate)
    below = term.copy()
    count = np.zeros(np.broadcast(chance, rate).shape, dtype=np.int64)
    for k in range(1, at_most + 1):
        count += chance > below
        term = term * rate / k
        below = below + term
    return count


def among(weights: Floats, seed: int, stream: str, *keys: Key) -> Ints:
    """Positions drawn in proportion to one list of `weights`."""
    reached = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(reached, uniform(seed, stream, *keys)), len(weights) - 1)


def cumulated(weights: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Rows of weights (people, items) → rows of cumulated shares that end at 1, for `pick`."""
    reached = np.cumsum(weights, axis=1, dtype=np.float64)
    return (reached / reached[:, -1:]).astype(np.float32)


def pick(reached: npt.NDArray[np.float32], rows: Ints, chance: Floats) -> Ints:
    """Item drawn from row `rows[j]` of cumulated shares with the uniform number `chance[j]`."""
    picked = (reached[rows] < chance[:, None].astype(np.float32)).sum(axis=1)
    return np.asarray(np.minimum(picked, reached.shape[1] - 1), dtype=np.int64)


def tokens(prefix: str, random_bits: Bits) -> list[str]:
    """Ids such as ``cv_0123456789abcdef``; unique for all practical purposes below ten million."""
    digits = random_bits.astype(">u8").tobytes().hex()
    return [prefix + digits[at : at + 16] for at in range(0, len(digits), 16)]


def _split_mix(state: Bits) -> Bits:
    mixed = state + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    return mixed ^ (mixed >> np.uint64(31))
