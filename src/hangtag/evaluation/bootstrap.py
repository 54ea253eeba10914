"""95 % intervals by the percentile bootstrap (Efron, 1979): rows are drawn with replacement, the score is taken again.

A statistic reduces the last axis of its columns, so one call scores many resamples at once. Equal seeds and row
counts draw the same rows: replicates of two answerers on the same rows can be subtracted for a paired interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]
Statistic = Callable[..., Any]

RESAMPLES = 2000
LEVEL = 0.95
_CELLS_AT_ONCE = 1 << 20


class Score(TypedDict):
    """A score and its 95 % interval, as metrics.json holds it."""

    value: float
    low: float
    high: float


def replicates(statistic: Statistic, *columns: Column, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """The statistic on `resamples` resamples of the rows.

    Args:
        statistic: takes arrays [..., n], one per column, and gives the scores [...].
        columns: arrays [n]; a row is the same place in each.

    Returns:
        scores [resamples], the same for the same seed whatever the statistic.
    """
    rows = len(columns[0])
    at_once = max(1, _CELLS_AT_ONCE // rows)
    scores = []
    for block, start in enumerate(range(0, resamples, at_once)):
        drawn = _drawn_rows(seed, block, min(at_once, resamples - start), rows)
        scores.append(statistic(*(column[drawn] for column in columns)))
    return np.concatenate(scores).astype(np.float64)


@lru_cache(maxsize=8)
def _drawn_rows(seed: int, block: int, resamples: int, rows: int) -> NDArray[np.int32]:
    """Row numbers [resamples, rows]; every score of an evaluation asks for the same ones."""
    return np.random.default_rng([seed, block]).integers(0, rows, (resamples, rows), dtype=np.int32)


def percentiles(values: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of some replicates."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def score(statistic: Statistic, *columns: Column, seed: int, resamples: int = RESAMPLES) -> Score:
    """A statistic of some rows with its percentile interval; see `replicates` for the arguments.

    Where all rows are right, or all wrong, every resample is the same and would claim no doubt at all. A single
    column of only ones or only zeros therefore takes the exact binomial bound (Clopper and Pearson, 1934).
    """
    value = float(statistic(*columns))
    low, high = percentiles(replicates(statistic, *columns, seed=seed, resamples=resamples))
    if _is_share(columns) and value in (0.0, 1.0):
        low, high = (1 - _doubt(columns), 1.0) if value else (0.0, _doubt(columns))
    return {"value": value, "low": low, "high": high}


def difference(
    statistic: Statistic,
    columns: Sequence[Column],
    first: Sequence[Column],
    seed: int,
    resamples: int = RESAMPLES,
) -> Score:
    """A statistic of `columns` minus that of `first`, the same rows in both, with the paired percentile interval.

    Where a share differs by the same in all rows (as a rule by nothing), every resample is the same: the interval
    then takes `score`'s exact bound to either side, within -1..1.
    """
    value = float(statistic(*columns)) - float(statistic(*first))
    sides = [replicates(statistic, *each, seed=seed, resamples=resamples) for each in (columns, first)]
    low, high = percentiles(sides[0] - sides[1])
    if _is_share(columns) and _is_share(first):
        apart = columns[0].astype(int) - first[0]
        if apart.min() == apart.max():
            low, high = max(-1.0, value - _doubt(columns)), min(1.0, value + _doubt(columns))
    return {"value": value, "low": low, "high": high}


def _is_share(columns: Sequence[Column]) -> bool:
    return len(columns) == 1 and columns[0].dtype == np.bool_


def _doubt(columns: Sequence[Column]) -> float:
    """What share of rows may be other than all of these are."""
    return float(1 - ((1 - LEVEL) / 2) ** (1 / len(columns[0])))
