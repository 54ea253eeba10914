"""How a model's own doubt is put right: corrections of its intervals and confidences, and the file that keeps them.

They are fitted on rows that the model was not trained on (evaluation/calibration.py); here they are applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hangtag.errors import DataError
from hangtag.reading import ERRORS, Distribution, Error, Floats, from_signed_log, signed_log

LEVEL = 0.9
"""The share of true numbers that an interval is to hold."""
_LEAST = 1e-9


@dataclass(frozen=True)
class Calibrator:
    """Raw confidence to calibrated: sigmoid(slope logit(raw) + intercept). As it stands, the identity.

    `rows` is how many rows it was fitted on.
    """

    slope: float = 1.0
    intercept: float = 0.0
    rows: int = 0

    def __call__(self, confidence: Floats) -> Floats:
        """Calibrated confidences [n] in 0..1, in the order of the raw ones."""
        if not self.rows:
            return np.asarray(confidence, float)
        return sigmoid(self.slope * logit(confidence) + self.intercept)


def logit(share: Floats) -> Floats:
    """Log odds [n]; shares are kept 1e-9 away from 0 and 1."""
    inside = np.clip(np.asarray(share, float), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def sigmoid(values: Floats) -> Floats:
    """The inverse of `logit`."""
    return np.asarray((1 + np.tanh(values / 2)) / 2)


def own_interval(found: Sequence[Distribution], level: float = LEVEL) -> tuple[Floats, Floats]:
    """The middle `level` of each distribution, before any correction: [n], [n]."""
    ends = [[each.quantile((1 - level) / 2), each.quantile((1 + level) / 2)] for each in found]
    low, high = np.array(ends, float).reshape(-1, 2).T
    return low, high


def widened(low: Floats, high: Floats, correction: float | Floats) -> tuple[Floats, Floats]:
    """The intervals moved outwards by `correction` in signed logarithm (inwards where it is negative).

    Ends that would pass each other meet in the middle. An infinite correction gives infinite ends.
    """
    first, last = signed_log(low) - correction, signed_log(high) + correction
    middle = (signed_log(low) + signed_log(high)) / 2
    return from_signed_log(np.minimum(first, middle)), from_signed_log(np.maximum(last, middle))


@dataclass(frozen=True)
class Calibration:
    """What an evaluation found out on the validation rows; as it stands, nothing: the model is taken at its word.

    Args:
        rows: how many there were.
        minimises: the error for whose sake a number is estimated.
        corrections: of each number field's interval at LEVEL, in signed logarithm; None where the rows were too few.
        confidence: each field's calibrator.
    """

    rows: int = 0
    minimises: Error = "mae"
    corrections: Mapping[str, float | None] = field(default_factory=dict)
    confidence: Mapping[str, Calibrator] = field(default_factory=dict)

    def number(self, name: str, found: Distribution) -> dict[str, float | None]:
        """A number's `estimate`, and `low` and `high` of its interval, to an answer's two decimals.

        Without a correction the ends are the model's own; they are None where the rows were too few for one.
        """
        correction = self.corrections.get(name, 0.0)
        ends: dict[str, float | None] = {"low": None, "high": None}
        if correction is not None:
            low, high = widened(*own_interval([found]), correction)
            ends = {"low": round(float(low[0]), 2), "high": round(float(high[0]), 2)}
        return {"estimate": found.best(self.minimises), **ends}

    def confident(self, name: str, raw: float) -> float:
        """A field's calibrated confidence, 0..1."""
        return float(self.confidence.get(name, Calibrator())(np.array([raw]))[0])

    def dump(self) -> dict[str, Any]:
        """As JSON; `parse` is the way back."""
        return {"rows": self.rows, "level": LEVEL, "minimises": self.minimises, "corrections": dict(self.corrections),
                "confidence": {name: asdict(each) for name, each in self.confidence.items()}}  # fmt: skip

    @classmethod
    def parse(cls, dumped: Any) -> Calibration:
        """A calibration from what `dump` gave.

        Raises:
            DataError: it is none.
        """
        try:
            corrections = {
                name: None if each is None else _finite(each) for name, each in dumped["corrections"].items()
            }
            confidence = {
                name: Calibrator(_finite(each["slope"]), _finite(each["intercept"]), int(each["rows"]))
                for name, each in dumped["confidence"].items()
            }
            rows, minimises = int(dumped["rows"]), ERRORS[ERRORS.index(dumped["minimises"])]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"it is no calibration: {type(error).__name__}: {error}") from None
        return cls(rows, minimises, corrections, confidence)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not np.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)
