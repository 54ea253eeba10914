"""What a model says of its own certainty, held against what happened: price intervals, and confidences.

Intervals are widened or narrowed by split conformal prediction: conformalised quantile regression (Romano, Patterson
and Candès, 2019) on a signed logarithm, so that a correction is a share of the price. Confidences are put right by
Platt's logistic (1999). Both are fitted on rows that the model was not trained on, here the validation split.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hangtag.calibration import Calibrator, logit, sigmoid, widened
from hangtag.evaluation.bootstrap import score
from hangtag.evaluation.metrics import Floats, mean
from hangtag.reading import signed_log

Bools = NDArray[np.bool_]

BINS = 10
SHARES = tuple(share / 10 for share in range(1, 11))
FEWEST_ROWS = 10
_STEPS = 100


def conformal_quantile(scores: Floats, level: float) -> float:
    """The correction that covers at least `level` of new rows exchangeable with those of `scores`, on average.

    Args:
        scores: [n] of `interval_scores`.
        level: the share to cover, in 0..1.

    Returns:
        The ceil((n + 1) level)-th smallest score; infinity where that is beyond n, since no finite correction is safe.
    """
    rank = _rank(len(scores), level)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def _rank(rows: int, level: float) -> int:
    return max(1, math.ceil(round((rows + 1) * level, 9)))  # 0.9 x 10 is 9, whatever binary fractions say


def interval_scores(low: Floats, high: Floats, truth: Floats) -> Floats:
    """How far each truth lies outside its interval, in signed logarithm, [n]; below 0 inside.

    A row is covered by `widened(low, high, correction)` where its score is at most `correction`: count coverage so,
    since the interval's own ends are rounded.
    """
    inside = signed_log(truth)
    return np.maximum(signed_log(low) - inside, inside - signed_log(high))


def divisions(
    low: Floats,
    high: Floats,
    truth: Floats,
    level: float,
    count: int = 100,
    seed: int = 0,
    calibration_share: float = 0.5,
) -> dict[str, Any] | None:
    """How well calibrated intervals cover, over random divisions of rows into calibration and test.

    Args:
        low, high: the model's own intervals [n], before any correction.
        truth: [n].
        calibration_share: of the rows, those that each division calibrates on; at least one row on either side.

    Returns:
        count; rows; coverage, the mean, standard deviation, least and most over the divisions; median_width, the
        median over divisions of the median width of a test row, None where a division calibrates on too few rows for
        a finite one. None with fewer than two rows, which cannot be divided.
    """
    rows = len(truth)
    if rows < 2:
        return None
    calibrating = min(max(round(rows * calibration_share), 1), rows - 1)
    scores = interval_scores(low, high, truth)
    order_DN = np.random.default_rng(seed).random((count, rows)).argsort(1)
    test_DN = order_DN[:, calibrating:]
    rank = _rank(calibrating, level)
    width: float | None = None
    covered_D = np.ones(count)
    if rank <= calibrating:
        correction_D1 = np.sort(scores[order_DN[:, :calibrating]], 1)[:, rank - 1, None]
        covered_D = (scores[test_DN] <= correction_D1).mean(1)
        ends = widened(low[test_DN], high[test_DN], correction_D1)
        width = float(np.median(np.median(ends[1] - ends[0], 1)))
    coverage = {
        "mean": float(covered_D.mean()),
        "sd": float(covered_D.std()),
        "least": float(covered_D.min()),
        "most": float(covered_D.max()),
    }
    return {"count": count, "rows": rows, "coverage": coverage, "median_width": width}


def fit_calibrator(confidence: Floats, right: Bools) -> Calibrator:
    """The logistic with the least log loss against Platt's smoothed outcomes.

    The smoothed outcomes ((n+ + 1) / (n+ + 2) and 1 / (n- + 2)) keep the slope finite where confidence parts
    right from wrong perfectly. A slope below zero would turn the order round: it is then 0, and every confidence
    the share of right rows. The identity where there are fewer than FEWEST_ROWS rows or one outcome only.

    Args:
        confidence: [n] in 0..1.
        right: [n].
    """
    rows, hits = len(right), int(right.sum())
    if rows < FEWEST_ROWS or hits in (0, rows):
        return Calibrator()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (rows - hits + 2))
    slope, intercept = _logistic(logit(confidence), target)
    if slope < 0:
        slope, intercept = 0.0, float(logit(target.mean(keepdims=True))[0])
    return Calibrator(slope, intercept, rows)


def _logistic(feature: Floats, target: Floats) -> tuple[float, float]:
    """Slope and intercept of a logistic fitted to targets in 0..1 by Newton's method with halved steps."""
    centre, scale = float(feature.mean()), float(feature.std()) or 1.0
    design = np.stack([(feature - centre) / scale, np.ones_like(feature)], 1)

    def loss(weights: Floats) -> float:
        drive = design @ weights
        return float((np.logaddexp(0, drive) - target * drive).sum())

    weights = np.zeros(2)
    for _ in range(_STEPS):
        share = sigmoid(design @ weights)
        gradient = design.T @ (share - target)
        curvature = (design.T * (share * (1 - share))) @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-10 and loss(weights - size * step) > loss(weights):
            size /= 2
        weights = weights - size * step
        if np.abs(size * step).max() < 1e-10:
            break
    return float(weights[0] / scale), float(weights[1] - weights[0] * centre / scale)


def reliability(confidence: Floats, right: Bools, seed: int = 0) -> dict[str, Any]:
    """The share of right rows beside the stated confidence, in BINS bins of equal width.

    Args:
        confidence: [n] in 0..1, n at least 1; a bin holds its lower bound, the last one 1 too.
        right: [n].

    Returns:
        ece, the expected calibration error (Guo et al., 2017): the mean over rows of a bin's distance between its mean
        confidence and its share of right rows; bins, those with rows, from the lowest.
    """
    bin_of_row = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins, error = [], 0.0
    for place in np.unique(bin_of_row):
        held = bin_of_row == place
        stated, hits = float(confidence[held].mean()), right[held]
        error += held.mean() * abs(stated - hits.mean())
        bins.append(
            {
                "low": place / BINS,
                "high": (place + 1) / BINS,
                "rows": int(held.sum()),
                "confidence": stated,
                "right": score(mean, hits, seed=seed),
            }
        )
    return {"ece": float(error), "bins": bins}


def kept(confidence: Floats, right: Bools, seed: int = 0) -> list[dict[str, Any]]:
    """The share of right rows among the most confident ones, for each of SHARES: "answer only when sure".

    Args:
        confidence: [n] in 0..1, n at least 1.
        right: [n].

    Returns:
        For each share: least_confidence, the bound that keeps at least that share; rows, all those at or above it, so
        that rows which tie are kept or left together whatever their order; right, the score of these.
    """
    falling = -np.sort(-confidence)
    found = []
    for share in SHARES:
        least = falling[max(math.ceil(round(share * len(falling), 9)), 1) - 1]
        sure = confidence >= least
        found.append(
            {
                "share": share,
                "rows": int(sure.sum()),
                "least_confidence": float(least),
                "right": score(mean, right[sure], seed=seed),
            }
        )
    return found
