"""Numbers in brief: where they lie, how often they occur, and texts short enough to show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hangtag.answer import parse_number
from hangtag.errors import ValueUnreadable

BINS = 24
SHOWN_LETTERS = 100
LARGEST = 1e15


@dataclass(frozen=True)
class Histogram:
    """Counts between neighbouring `edges`, which grow by a factor where `log`."""

    edges: list[float]
    counts: list[int]
    log: bool = False


@dataclass(frozen=True)
class Spread:
    """Where values lie: the extremes and five quantiles of `count` numbers."""

    count: int
    low: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one finite number; quantiles are interpolated linearly."""
    array = np.asarray(values, float)
    p5, p25, p50, p75, p95 = np.quantile(array, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
    return Spread(len(array), float(array.min()), p5, p25, p50, p75, p95, float(array.max()))


def histogram(values: Sequence[float], bins: int = BINS, whole: bool = False) -> Histogram:
    """Counts of numbers in equal bins, or in equal factors where all are above zero and differ a hundredfold.

    Args:
        whole: the values are whole numbers, so a bin holds equally many of them.
    """
    array = np.asarray(values, float)
    low, high = float(array.min()), float(array.max())
    log = low > 0 and high / low > 100 and not whole
    if whole:
        step = max(1, math.ceil((high - low + 1) / bins))
        edges = np.arange(low, high + step + 1, step) - 0.5
    elif log:
        edges = np.geomspace(low, high, bins + 1)
    else:
        top = high if high - low > 1e-9 * abs(high) else high + max(1.0, abs(high) / 1000)  # bins need some width
        edges = np.linspace(low, top, bins + 1)
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)  # rounding must not lose the extremes
    return Histogram(edges.tolist(), np.histogram(array, edges)[0].tolist(), log)


def cut(text: str, letters: int = SHOWN_LETTERS) -> str:
    """A text on one line, at most so long."""
    text = " ".join(text[: 8 * letters].split())
    return text if len(text) <= letters else text[: letters - 1] + "…"


def number(text: str) -> float | None:
    """A plain decimal number of at most LARGEST, to nine decimals; None for anything else."""
    try:
        value = parse_number(text)
    except ValueUnreadable:
        return None
    return round(value, 9) if abs(value) <= LARGEST else None
