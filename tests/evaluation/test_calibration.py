"""Intervals cover what they say on random data; confidences against scikit-learn and slow, obvious versions."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from hangtag.calibration import Calibrator, widened
from hangtag.evaluation.calibration import (
    conformal_quantile,
    divisions,
    fit_calibrator,
    interval_scores,
    kept,
    reliability,
)

numbers = st.floats(-1e6, 1e6, allow_subnormal=False) | st.sampled_from([0.0, 1.0, 20.0])
intervals = st.tuples(numbers, numbers, numbers).map(lambda each: (min(each[:2]), max(each[:2]), each[2]))
answered = st.lists(
    st.tuples(st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), min_size=1, max_size=40
)


def shop(seed, rows=608, noise=0.3):
    """Prices, and intervals of a model that is too sure of itself."""
    generator = np.random.default_rng(seed)
    centre = generator.lognormal(6, 1, rows)
    truth = centre * generator.lognormal(0, noise, rows)
    return centre * 0.9, centre * 1.1, truth


def test_the_quantile_by_hand():
    scores = np.array([3.0, 1.0, 2.0, 5.0, 4.0, 9.0, 8.0, 7.0, 6.0])
    assert conformal_quantile(scores, 0.9) == 9.0
    assert conformal_quantile(scores, 0.5) == 5.0
    assert conformal_quantile(scores, 0.91) == math.inf
    assert conformal_quantile(scores[:1], 0.5) == 3.0
    assert conformal_quantile(scores[:0], 0.5) == math.inf


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_new_rows_are_covered_as_often_as_the_level_says(level):
    """Over many draws of 99 calibration rows coverage is level .. level + 1 / 100 (Vovk's bounds)."""
    found = []
    for seed in range(300):
        low, high, truth = shop(seed, rows=499)
        scores = interval_scores(low, high, truth)
        found.append((scores[99:] <= conformal_quantile(scores[:99], level)).mean())
    spread = np.std(found) / math.sqrt(len(found))
    assert level - 3 * spread <= np.mean(found) <= level + 0.01 + 3 * spread


@pytest.mark.parametrize("noise", [0.01, 0.3, 2.0])
def test_over_a_hundred_divisions_the_interval_covers_what_it_says(noise):
    for seed in range(5):
        found = divisions(*shop(seed, noise=noise), 0.9)
        assert (found["count"], found["rows"]) == (100, 608)
        assert 0.90 <= round(found["coverage"]["mean"], 2) <= 0.92
        assert found["coverage"]["least"] <= found["coverage"]["mean"] <= found["coverage"]["most"]
        assert found["coverage"]["sd"] < 0.03
        json.dumps(found, allow_nan=False)


def test_divisions_are_those_of_the_slow_way():
    low, high, truth = shop(1, rows=41)
    orders = np.random.default_rng(7).random((20, 41)).argsort(1)
    coverage, widths = [], []
    for order in orders:
        calibrating, tested = order[:27], order[27:]
        correction = conformal_quantile(interval_scores(low, high, truth)[calibrating], 0.8)
        inside, width = 0, []
        for row in tested:
            first, last = widened(low[row], high[row], correction)
            inside += first * (1 - 1e-9) <= truth[row] <= last * (1 + 1e-9)
            width.append(last - first)
        coverage.append(inside / len(tested))
        widths.append(np.median(width))
    found = divisions(low, high, truth, 0.8, count=20, seed=7, calibration_share=27 / 41)
    assert found["median_width"] == pytest.approx(np.median(widths))
    expected = {
        "mean": np.mean(coverage),
        "sd": np.std(coverage),
        "least": min(coverage),
        "most": max(coverage),
    }
    assert found["coverage"] == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(intervals, min_size=1, max_size=30), st.sampled_from([0.5, 0.9]))
def test_any_intervals_give_finite_figures(rows, level):
    low, high, truth = np.array(rows).T
    found = divisions(low, high, truth, level, count=8)
    assert (found is None) == (len(rows) == 1)
    json.dumps(found, allow_nan=False)
    if found and found["median_width"] is not None:
        assert found["median_width"] >= 0
    calibrating = round(len(rows) / 2)
    if found and math.ceil(level * (calibrating + 1)) > calibrating:
        assert found["median_width"] is None
        assert found["coverage"]["least"] == 1


@settings(deadline=None)
@given(intervals, st.floats(-5, 5))
def test_a_row_is_inside_where_its_score_is_at_most_the_correction(interval, correction):
    low, high, truth = (np.array([each]) for each in interval)
    first, last = widened(low, high, correction)
    margin = 1e-6 * (1 + abs(truth))
    assert first <= last
    if interval_scores(low, high, truth) <= correction:
        assert first - margin <= truth <= last + margin
    elif last - first > 4 * margin:
        assert not first + margin < truth < last - margin


def test_equal_values_zeros_and_endless_corrections():
    same = np.full(30, 40.0)
    found = divisions(same, same, same, 0.9)
    assert found["coverage"] == {"mean": 1.0, "sd": 0.0, "least": 1.0, "most": 1.0}
    assert found["median_width"] == pytest.approx(0)
    nothing = np.zeros(30)
    assert divisions(nothing, nothing, nothing, 0.9)["median_width"] == 0
    assert [float(each[0]) for each in widened(same, same, math.inf)] == [-math.inf, math.inf]
    wide = widened(np.array([-1e308]), np.array([1e308]), 400.0)
    assert np.isfinite(wide).all()


def told(seed, rows=2000, slope=0.5, intercept=-0.4):
    """Confidences that overstate, and outcomes whose log odds are slope x logit + intercept."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(1, 2, rows)
    right = generator.random(rows) < 1 / (1 + np.exp(-(slope * logit + intercept)))
    return 1 / (1 + np.exp(-logit)), right


def test_a_calibrator_finds_the_logistic_and_lowers_the_error():
    confidence, right = told(0, 20_000)
    fitted = fit_calibrator(confidence, right)
    assert fitted.slope == pytest.approx(0.5, abs=0.05)
    assert fitted.intercept == pytest.approx(-0.4, abs=0.05)
    fresh, fresh_right = told(1, 20_000)
    assert reliability(fresh, fresh_right)["ece"] > 0.1
    assert reliability(fitted(fresh), fresh_right)["ece"] < 0.015
    assert Calibrator(**json.loads(json.dumps(asdict(fitted)))) == fitted


@pytest.mark.parametrize(("rows", "seed"), [(10, 3), (40, 0), (300, 1)])
def test_a_calibrator_is_scikit_learns_logistic_on_platts_targets(rows, seed):
    confidence, right = told(seed, rows)
    hits = right.sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (rows - hits + 2))
    logit = np.log(confidence / (1 - confidence))
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.concatenate([logit, logit])[:, None],
        np.repeat([1, 0], rows),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    fitted = fit_calibrator(confidence, right)
    assert (fitted.slope, fitted.intercept) == pytest.approx(
        (theirs.coef_[0, 0], theirs.intercept_[0]), rel=1e-3, abs=1e-3
    )


def test_where_nothing_can_be_fitted_confidence_stays_as_it_is():
    confidence = np.linspace(0, 1, 30)
    for right in (np.ones(30, bool), np.zeros(30, bool)):
        assert fit_calibrator(confidence, right) == Calibrator()
    assert fit_calibrator(confidence[:9], np.arange(9) > 4) == Calibrator()
    np.testing.assert_array_equal(Calibrator()(confidence), confidence)


@settings(deadline=None)
@given(answered)
def test_calibrated_confidence_keeps_the_order_and_the_range(rows):
    confidence, right = np.array([each for each, _ in rows]), np.array([each for _, each in rows])
    calibrated = fit_calibrator(confidence, right)(confidence)
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    assert (np.diff(calibrated[np.argsort(confidence, kind="stable")]) >= 0).all()


def test_perfectly_parted_and_reversed_confidences():
    confidence = np.linspace(0.02, 0.98, 40)
    parted = fit_calibrator(confidence, confidence > 0.5)
    assert np.isfinite([parted.slope, parted.intercept]).all()
    assert parted(np.array([0.02]))[0] < 0.1 < 0.9 < parted(np.array([0.98]))[0]
    turned = fit_calibrator(confidence, confidence < 0.5)
    assert turned.slope == 0
    np.testing.assert_allclose(turned(confidence), 0.5)
    flat = fit_calibrator(np.full(40, 0.9), np.arange(40) < 10)
    assert flat(np.array([0.9]))[0] == pytest.approx(0.25, abs=0.03)


@settings(deadline=None, max_examples=50)
@given(answered)
def test_reliability_is_the_slow_way(rows):
    confidence, right = np.array([each for each, _ in rows]), np.array([each for _, each in rows])
    found = reliability(confidence, right)
    error = 0.0
    for place in range(10):
        held = [(c, r) for c, r in rows if int(c * 10) == place or (place == 9 and c == 1)]
        shown = [each for each in found["bins"] if each["low"] == place / 10]
        assert bool(held) == bool(shown)
        if held:
            assert shown[0]["rows"] == len(held)
            assert shown[0]["confidence"] == pytest.approx(np.mean([c for c, _ in held]))
            assert shown[0]["right"]["value"] == pytest.approx(np.mean([r for _, r in held]))
            error += len(held) / len(rows) * abs(np.mean([c for c, _ in held]) - np.mean([r for _, r in held]))
    assert found["ece"] == pytest.approx(error)
    json.dumps(found, allow_nan=False)


def test_reliability_is_scikit_learns_curve():
    confidence, right = told(2)
    shares, stated = calibration_curve(right, confidence, n_bins=10)
    bins = reliability(confidence, right)["bins"]
    np.testing.assert_allclose([each["right"]["value"] for each in bins], shares)
    np.testing.assert_allclose([each["confidence"] for each in bins], stated)


@settings(deadline=None, max_examples=50)
@given(answered, st.randoms())
def test_the_surest_are_kept_whatever_their_order(rows, random):
    def found(rows):
        return kept(np.array([each for each, _ in rows]), np.array([each for _, each in rows]))

    shares = found(rows)
    assert [each["share"] for each in shares] == [n / 10 for n in range(1, 11)]
    assert shares[-1]["rows"] == len(rows)
    for each in shares:
        sure = [right for confidence, right in rows if confidence >= each["least_confidence"]]
        assert each["rows"] == len(sure) >= round(each["share"] * len(rows), 9)
        fewer = [1 for confidence, _ in rows if confidence > each["least_confidence"]]
        assert len(fewer) < each["share"] * len(rows)
        assert each["right"]["value"] == pytest.approx(np.mean(sure))
    mixed = rows[:]
    random.shuffle(mixed)
    for before, after in zip(shares, found(mixed), strict=True):
        assert (before["rows"], before["right"]["value"]) == (after["rows"], pytest.approx(after["right"]["value"]))
    json.dumps(shares, allow_nan=False)
