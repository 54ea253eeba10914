"""What a model knows about a picture beyond the text it wrote: how sure it is, and a number's whole distribution."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hangtag.answer import Value

Error = Literal["mae", "mape", "rmsle", "smape", "within_20"]
ERRORS: tuple[Error, ...] = get_args(Error)
Floats = NDArray[np.float64]

LARGEST = 1e100
WINDOW = 0.2
SMALLEST = 0.01
"""The smallest number above zero that an answer can hold; relative errors divide by at least that."""
_DECIMALS = 2
_ROUNDING = 1e-9


def signed_log(values: Floats | float) -> Floats:
    """log(1 + x), with the sign kept below zero: -log(1 + |x|). Numbers beyond 1e100 count as 1e100."""
    held = np.clip(values, -LARGEST, LARGEST)
    return np.asarray(np.sign(held) * np.log1p(np.abs(held)), np.float64)


def from_signed_log(values: Floats | float) -> Floats:
    """The inverse of `signed_log`."""
    return np.asarray(np.sign(values) * np.expm1(np.abs(values)), np.float64)


@dataclass(frozen=True)
class Distribution:
    """A number's probabilities.

    Args:
        values: ascending, each once [k].
        weights: above 0, adding up to 1 [k].
        covered: the share of the model's probability that these values held before they were made to add up to 1.
    """

    values: Floats
    weights: Floats
    covered: float = 1.0

    @cached_property
    def _below(self) -> Floats:
        """The probability below each value, half of its own included."""
        return np.asarray(np.cumsum(self.weights) - self.weights / 2, np.float64)

    def quantile(self, share: float) -> float:
        """The number below which `share` of the probability lies, interpolated between two values."""
        return float(np.interp(share, self._below, self.values))

    def best(self, error: Error) -> float:
        """The number whose expected error is least, rounded to the two decimals that an answer holds.

        mae         the median
        mape        the median, each value weighing by 1 / |value|, at least 0.01
        rmsle       the mean of the signed logarithm
        smape       of the values themselves the one with the least expected 2 |x - v| / (|x| + |v|)
        within_20   the number within 20 % of which most probability lies, the nearest to the median of several
        """
        found = {
            "mae": lambda: self._median(self.weights),
            "mape": lambda: self._median(self.weights / np.maximum(np.abs(self.values), SMALLEST)),
            "rmsle": lambda: float(from_signed_log(self.weights @ signed_log(self.values))),
            "smape": lambda: float(self.values[np.argmin(self.expected_smape(self.values))]),
            "within_20": self._fullest_window,
        }[error]()
        return round(found, _DECIMALS)

    def _median(self, weights: Floats) -> float:
        total = np.cumsum(weights)
        return float(self.values[np.searchsorted(total, total[-1] / 2 * (1 - _ROUNDING))])

    def expected_smape(self, numbers: Floats) -> Floats:
        """The expected symmetric error of each of some numbers [n]."""
        total = np.abs(numbers)[:, None] + np.abs(self.values)
        off = np.abs(numbers[:, None] - self.values)
        return np.asarray((2 * off / np.where(total > 0, total, 1)) @ self.weights, np.float64)

    def near(self, number: float) -> float:
        """The probability that `number` lies within 20 % of the true one, 0..1."""
        inside = np.abs(number - self.values) <= WINDOW * np.abs(self.values) * (1 + _ROUNDING)
        return min(float(inside @ self.weights), 1.0)

    def _fullest_window(self) -> float:
        centres = np.concatenate([self.values, self.values * (1 - WINDOW), self.values * (1 + WINDOW)])
        room = WINDOW * np.abs(self.values)
        inside = np.abs(centres[:, None] - self.values) <= room * (1 + _ROUNDING)
        held = inside @ self.weights
        fullest = centres[held >= held.max() - _ROUNDING]
        return float(fullest[np.argmin(np.abs(fullest - self._median(self.weights)))])


@dataclass(frozen=True)
class Reading:
    """One row as the model reads it.

    Args:
        text: what it wrote; None where that never ended.
        confidence: of each text and category field of a readable answer, the probability 0..1 of just these words,
            given the picture and what was written before them.
        numbers: of each number field of a readable answer, the distribution given what was written before it.
        truth: of each field, the log probability of its true value in that place; empty where no truth was given.
    """

    text: str | None
    confidence: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, Distribution] = field(default_factory=dict)
    truth: dict[str, float] = field(default_factory=dict)

    def confidence_in(self, name: str, value: Value) -> float | None:
        """The probability, 0..1, that a field's written value is right: just these words, or a number within 20 %.

        None where the model tells none.
        """
        if isinstance(value, str):
            return self.confidence.get(name)
        return self.numbers[name].near(value) if name in self.numbers else None

    def dump(self) -> list[Any]:
        """As JSON; `parse` is the way back, to the last bit."""
        numbers = {
            name: [each.values.tolist(), each.weights.tolist(), each.covered] for name, each in self.numbers.items()
        }
        return [self.text, self.confidence, numbers, self.truth]

    @classmethod
    def parse(cls, dumped: list[Any]) -> Reading:
        """A reading from what `dump` gave."""
        text, confidence, numbers, truth = dumped
        found = {
            name: Distribution(np.array(values, float), np.array(weights, float), covered)
            for name, (values, weights, covered) in numbers.items()
        }
        return cls(text, confidence, found, truth)
