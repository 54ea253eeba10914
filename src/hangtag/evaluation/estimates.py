"""What a model's own probabilities are worth: estimates, intervals, confidence, calibrated on the validation split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hangtag.answer import Kind, Template, Value
from hangtag.calibration import LEVEL, Calibration, Calibrator, own_interval, widened
from hangtag.evaluation.bootstrap import Column, score
from hangtag.evaluation.calibration import (
    conformal_quantile,
    divisions,
    fit_calibrator,
    interval_scores,
    kept,
    reliability,
)
from hangtag.evaluation.metrics import Floats, field_rows, is_right, mean, median, score_field
from hangtag.reading import ERRORS, SMALLEST, Distribution, Error, Reading

LEVELS = (0.5, 0.8, 0.9, 0.95)

Values = dict[str, Value]


@dataclass(frozen=True)
class Read:
    """Some rows as a model read them: readings, what they say in fields (None where unreadable), and the truth."""

    readings: Sequence[Reading]
    answers: Sequence[Values | None]
    truths: Sequence[Values]

    def numbers(self, name: str) -> list[Distribution | None]:
        return [each.numbers.get(name) for each in self.readings]

    def true(self, name: str) -> Floats:
        return np.array([each[name] for each in self.truths], float)


@dataclass(frozen=True)
class Found:
    """One field's part of metrics.json by section, its value for each row of predictions.jsonl, and what is kept."""

    sections: dict[str, Any]
    rows: list[Any]
    kept: Any = None


def number_found(name: str, tested: Read, validated: Read | None, constant: Value, minimise: Error, seed: int) -> Found:
    """A number field's "estimates" and "intervals"; a row's value is its estimate, low and high.

    Args:
        validated: rows for the calibration, neither trained on nor tested; without them there are no intervals.
        constant: counts as the estimate of a row without a distribution.
        minimise: the error for whose sake a row's estimate is chosen.
    """
    found = tested.numbers(name)
    there = [each for each in found if each is not None]
    if not there:
        return Found({}, [None] * len(found))
    estimates = {error: [None if each is None else each.best(error) for each in found] for error in ERRORS}
    greedy = [None if each is None else each[name] for each in tested.answers]

    def errors(values: Sequence[Value | None]) -> dict[str, Any]:
        return score_field("number", field_rows("number", list(tested.true(name)), values, constant), seed)

    told = {
        "minimises": minimise,
        "covered": float(np.mean([each.covered for each in there])),
        "errors": {"greedy": errors(greedy)} | {error: errors(values) for error, values in estimates.items()},
    }
    correction, sections = math.inf, {"estimates": told}
    low: list[float | None] = [None] * len(found)
    high = list(low)
    if validated and (intervals := _Intervals(name, tested, validated)).rows:
        low, high = intervals.of_rows(LEVEL)
        sections["intervals"] = intervals.told(estimates[minimise], seed)
        correction = intervals.correction(LEVEL)
    rows = [
        None if estimate is None else {"estimate": estimate, "low": first, "high": last}
        for estimate, first, last in zip(estimates[minimise], low, high, strict=True)
    ]
    return Found(sections, rows, correction if math.isfinite(correction) else None)


class _Intervals:
    """A number field's intervals by level: the model's own quantiles, corrected on the validation rows."""

    def __init__(self, name: str, tested: Read, validated: Read) -> None:
        self.there = np.array([each is not None for each in tested.numbers(name)])
        self.tested = [each for each in tested.numbers(name) if each]
        self.truth = tested.true(name)[self.there]
        self.validated = [each for each in validated.numbers(name) if each]
        known = np.array([each is not None for each in validated.numbers(name)], bool)
        self.known_truth = validated.true(name)[known]
        self.rows = len(self.validated)

    def correction(self, level: float) -> float:
        """In signed logarithm; infinite where there are too few validation rows for the level."""
        return conformal_quantile(interval_scores(*own_interval(self.validated, level), self.known_truth), level)

    def of_rows(self, level: float) -> tuple[list[float | None], list[float | None]]:
        """Lowest and highest value of each tested row, to an answer's two decimals; None where there is no interval."""
        low: list[float | None] = [None] * len(self.there)
        high = list(low)
        correction = self.correction(level)
        if math.isfinite(correction):
            ends = widened(*own_interval(self.tested, level), correction)
            for place, first, last in zip(np.flatnonzero(self.there), *ends, strict=True):
                low[place], high[place] = round(float(first), 2), round(float(last), 2)
        return low, high

    def covered(self, level: float) -> Column | None:
        """Whether each tested row's truth lies in its interval; one without a distribution is not covered."""
        correction = self.correction(level)
        if not math.isfinite(correction):
            return None
        covered = np.zeros(len(self.there), bool)
        covered[self.there] = interval_scores(*own_interval(self.tested, level), self.truth) <= correction
        return covered

    def told(self, estimates: Sequence[float | None], seed: int) -> dict[str, Any]:
        """The field's "intervals" of metrics.json; without coverage where the validation rows are too few."""
        told: dict[str, Any] = {"level": LEVEL, "calibration_rows": self.rows, "by_level": []}
        if (covered := self.covered(LEVEL)) is not None:
            low, high = widened(*own_interval(self.tested, LEVEL), self.correction(LEVEL))
            size = np.maximum(np.abs(np.array([each for each in estimates if each is not None])), SMALLEST)
            told["coverage"] = score(mean, covered, seed=seed)
            told["median_width"] = score(median, high - low, seed=seed)
            told["median_relative_width"] = score(median, (high - low) / size, seed=seed)
        for level in LEVELS:
            if (covered := self.covered(level)) is not None:
                told["by_level"].append({"level": level, "coverage": score(mean, covered, seed=seed)})
        together = own_interval([*self.validated, *self.tested], LEVEL)
        divided = divisions(*together, np.concatenate([self.known_truth, self.truth]), LEVEL, seed=seed)
        return told | ({"divisions": divided} if divided else {})


def confidence_found(name: str, kind: Kind, tested: Read, validated: Read | None, seed: int) -> Found:
    """A field's "confidence"; a row's value is its calibrated confidence, None where the row has none.

    A text or category is right where it is the true one, a number where it lies within 20 % of the true one.
    """
    if validated is None:
        calibrator = Calibrator()
    else:
        raw, right = _confidence(name, kind, validated)
        calibrator = fit_calibrator(raw[raw >= 0], right[raw >= 0])
    raw, right = _confidence(name, kind, tested)
    if not (raw >= 0).any():
        return Found({}, [None] * len(tested.truths), calibrator)
    stated = np.where(raw >= 0, calibrator(np.maximum(raw, 0)), 0.0)
    told = {
        "calibration_rows": calibrator.rows,
        **reliability(stated, right, seed),
        "kept": kept(stated, right, seed),
    }
    rows = [float(each) if there else None for each, there in zip(stated, raw >= 0, strict=True)]
    return Found({"confidence": told}, rows, calibrator)


def _confidence(name: str, kind: Kind, read: Read) -> tuple[Floats, Column]:
    """The raw confidence of each row, -1 where it has none, and whether it is right."""
    told = [
        None if answer is None else reading.confidence_in(name, answer[name])
        for answer, reading in zip(read.answers, read.readings, strict=True)
    ]
    raw = np.array([-1.0 if each is None else each for each in told])
    right = [
        answer is not None and is_right(kind, answer[name], truth[name])
        for answer, truth in zip(read.answers, read.truths, strict=True)
    ]
    return raw, np.array(right, bool)


def found_fields(
    template: Template,
    tested: Read,
    validated: Read | None,
    constant: Values,
    minimise: Error,
    seed: int,
) -> tuple[dict[str, Any], list[dict[str, Any]], Calibration | None]:
    """What the model's own probabilities are worth.

    Returns:
        the sections "estimates", "intervals" and "confidence" of metrics.json; what each prediction gets of them; and
        what the validation rows taught, None without them.
    """
    sections: dict[str, Any] = {}
    rows: list[dict[str, Any]] = [{"confidence": None, "numbers": None} for _ in tested.truths]
    corrections, calibrators = {}, {}
    for name, kind in template.fields.items():
        parts = {"confidence": confidence_found(name, kind, tested, validated, seed)}
        calibrators[name] = parts["confidence"].kept
        if kind == "number":
            parts["numbers"] = number_found(name, tested, validated, constant[name], minimise, seed)
            corrections[name] = parts["numbers"].kept
        for part, found in parts.items():
            for section, told in found.sections.items():
                sections.setdefault(section, {})[name] = told
            for row, value in zip(rows, found.rows, strict=True):
                if value is not None:
                    row[part] = {**(row[part] or {}), name: value}
    learned = Calibration(len(validated.truths), minimise, corrections, calibrators) if validated else None
    return sections, rows, learned
