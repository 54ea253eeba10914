"""Numbers and dates as they stand in a table: read as whole units of the last decimal, written in the same manner.

A number that few rows hold is moved among its neighbours, and keeps the ending that prices of its size have.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DATE_PATTERNS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M", "%Y/%m/%d",
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y%m%d",
)  # fmt: skip
_CURRENCY = r"(?:USD|EUR|GBP|CHF|CNY|RMB|JPY|KRW|INR|AUD|CAD|HKD|SGD|US|[^\w\s\-])\$? ?"
_NUMBER = rf"^(?P<prefix>(?:{_CURRENCY})?)(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)(?P<suffix>[^0-9]{{0,6}})$"
_EXPONENT = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
MOST = 4e15
"""Larger numbers, counted in units of the last decimal, are no longer whole in floating point."""
_MAX_DECIMALS = 9
COMMON_SHARE = 0.02
"""An ending belongs to the shop's manner where this share of its rows have it."""

BLUR = 0.06
"""How far, as a share of the rows in order of their numbers, a new number may lie from the one it is drawn after."""
FEW_VALUES = 12
"""So few distinct numbers are steps of a scale, such as sizes or stars, and are not blurred."""


@dataclass(frozen=True)
class Numbers:
    """The distinct values in units of 10**-decimals (dates: seconds, or days where there is no time of day)."""

    values: np.ndarray
    decimals: int = 0
    least_decimals: int = 0
    prefix: str = ""
    suffix: str = ""
    pattern: str = ""

    @property
    def unit(self) -> float:
        return 10.0**-self.decimals

    def write(self, values: np.ndarray) -> Any:
        """The values' texts, as pyarrow keeps them."""
        if self.pattern:
            seconds = values * (86_400 if "%H" not in self.pattern else 1)
            return pc.strftime(pa.array(seconds).cast(pa.timestamp("s")), self.pattern).cast(pa.large_string())
        sign = pc.if_else(pa.array(values < 0), "-", "")
        whole, part = (pa.array(each).cast(pa.string()) for each in divmod(np.abs(values), 10**self.decimals))
        parts = [self.prefix, sign, whole, self.suffix]
        if self.decimals:
            part = pc.utf8_rtrim(pc.utf8_lpad(part, self.decimals, "0"), "0")
            part = pc.utf8_rpad(part, self.least_decimals, "0")
            parts[3:3] = [pc.if_else(pc.equal(part, ""), "", "."), part]
        return pc.binary_join_element_wise(*parts, "").cast(pa.large_string())


def parse_numbers(values: Any) -> Numbers | None:
    """Numbers or dates, where every one of the distinct values is one in the same manner; otherwise None."""
    dates = _parse_dates(values)
    if dates is not None:
        return dates
    if not pc.all(pc.match_substring_regex(values, _NUMBER)).as_py():
        if not pc.all(pc.match_substring_regex(values, _EXPONENT)).as_py():
            return None
        values = pa.array([format(Decimal(text), "f") for text in values.to_pylist()], pa.string())
    parts = pc.extract_regex(values, _NUMBER)
    prefixes, suffixes = (pc.unique(pc.struct_field(parts, name)).to_pylist() for name in ("prefix", "suffix"))
    if len(prefixes) > 1 or len(suffixes) > 1:
        return None
    texts = pc.struct_field(parts, "number")
    points = pc.find_substring(texts, ".").to_numpy(zero_copy_only=False)
    lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    decimals = np.where(points < 0, 0, lengths - points - 1)
    most = int(decimals.max())
    if most > _MAX_DECIMALS:
        return None
    floats = texts.cast(pa.float64()).to_numpy(zero_copy_only=False) * 10.0**most
    if np.abs(floats).max() > MOST:
        return None
    return Numbers(np.rint(floats).astype(np.int64), most, int(decimals.min()), prefixes[0], suffixes[0])


def _parse_dates(values: Any) -> Numbers | None:
    first = values[0].as_py()
    if not 8 <= len(first) <= 20:
        return None
    for pattern in DATE_PATTERNS:
        read = pc.strptime(values, pattern, "s", error_is_null=True)
        if read.null_count == 0 and pc.all(pc.equal(pc.strftime(read, pattern), values)).as_py():
            seconds = read.cast(pa.int64()).to_numpy(zero_copy_only=False)
            if pattern == "%Y%m%d" and not (seconds.min() > -2_208_988_800 and seconds.max() < 4_102_444_800):
                continue
            return Numbers(seconds if "%H" in pattern else seconds // 86_400, pattern=pattern)
    return None


def _mirrored(rank: np.ndarray, size: int) -> np.ndarray:
    """Ranks that lead over an end come back from it."""
    rank = np.abs(rank) % (2 * size)
    return np.where(rank >= size, 2 * size - 1 - rank, rank)


class Spread:
    """Draws numbers near given ones of the source, so that none is there because one row alone holds it."""

    def __init__(self, values: np.ndarray, min_count: int, dates: bool) -> None:
        """`values`: one for every row that has one."""
        self.sorted = np.sort(values)
        self.min_count = min_count
        self.distinct, counts = np.unique(self.sorted, return_counts=True)
        self.ends = np.cumsum(counts)
        self.starts = self.ends - counts
        self.places = np.repeat(np.arange(len(counts)), counts)
        self.kept = counts >= min_count
        self.modulus, self.ending = self._endings(counts, dates)
        self.low, self.high = self.sorted[0], self.sorted[-1]

    def _endings(self, counts: np.ndarray, dates: bool) -> tuple[np.ndarray, np.ndarray]:
        """For each distinct value the largest power of ten, two digits short of it, whose remainder is common."""
        step = max(int(np.gcd.reduce(self.distinct)), 1) if len(self.distinct) > 2 else 1
        modulus = np.full(len(self.distinct), step, np.int64)
        if dates:
            return modulus * 0 + 1, modulus * 0
        common = max(self.min_count, COMMON_SHARE * counts.sum())
        size = np.abs(self.distinct)
        for power in range(1, 16):
            step = 10**power
            fits = size >= 10 * step
            if not fits.any():
                break
            _, place = np.unique(self.distinct % step, return_inverse=True)
            enough = np.bincount(place, counts * fits)[place] >= common
            modulus[fits & enough] = np.maximum(modulus[fits & enough], step)
        ending = self.distinct % modulus
        usual = np.flatnonzero(modulus > step)
        if counts[usual].sum() > 0.5 * counts.sum():  # an unusual ending becomes that of the next usual value
            next_ = usual[np.minimum(np.searchsorted(usual, np.arange(len(modulus))), len(usual) - 1)]
            modulus, ending = modulus[next_], ending[next_]
        return modulus, ending

    def near(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each value of the source one that lies a few rows from it in their order, or between two such rows.

        Only a value that `min_count` rows hold is ever taken as it stands; of few distinct values each stays.
        """
        place = np.searchsorted(self.distinct, values)
        if len(self.distinct) > FEW_VALUES:
            reach = max(self.min_count, round(BLUR * len(self.sorted)))
            held = self.ends[place] - self.starts[place]
            rank = self.starts[place] + np.floor(rng.random(len(values)) * held).astype(np.int64)
            rank = rank + rng.integers(-reach, reach + 1, len(values))
            place = self.places[_mirrored(rank, len(self.sorted))]
        low = self.sorted[np.maximum(self.starts - self.min_count, 0)].astype(float)
        high = self.sorted[np.minimum(self.ends - 1 + self.min_count, len(self.sorted) - 1)].astype(float)
        moved = low[place] + rng.random(len(values)) * (high - low)[place]
        return np.where(self.kept[place], self.distinct[place], self._snapped(moved, place))

    def step(self, values: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Values that lie so many steps of the source's manner higher; those that would leave its range come back."""
        place = np.minimum(np.searchsorted(self.distinct, values), len(self.distinct) - 1)
        moved = values + steps * self.modulus[place]
        outside = (moved < self.low) | (moved > self.high)
        return np.clip(np.where(outside, values - steps * self.modulus[place], moved), self.low, self.high)

    def snap(self, moved: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Whole numbers nearest to `moved`, within the source's range, that end as those of the source `like` do."""
        return self._snapped(moved, np.searchsorted(self.distinct, like))

    def _snapped(self, moved: np.ndarray, place: np.ndarray) -> np.ndarray:
        modulus, ending = self.modulus[place], self.ending[place]
        snapped = np.rint((moved - ending) / modulus).astype(np.int64) * modulus + ending
        snapped = np.where(snapped > self.high, snapped - modulus, snapped)
        snapped = np.where(snapped < self.low, snapped + modulus, snapped)
        return np.clip(snapped, self.low, self.high)
