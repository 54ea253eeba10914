"""Estimates from a distribution against plain search, and readings there and back."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.reading import ERRORS, Distribution, Reading, from_signed_log, signed_log

NUMBERS = st.lists(st.integers(-300, 100_000), min_size=1, max_size=12, unique=True)


@st.composite
def distributions(draw):
    values = sorted(draw(NUMBERS))
    weights = np.array(draw(st.lists(st.integers(1, 1000), min_size=len(values), max_size=len(values))), float)
    return Distribution(np.array(values, float), weights / weights.sum())


def expected(found, error, number):
    """A number's expected error, as slowly as it is defined."""
    total = 0.0
    for value, weight in zip(found.values, found.weights, strict=True):
        off = abs(number - value)
        total += (
            weight
            * {
                "mae": off,
                "mape": off / max(abs(value), 0.01),
                "rmsle": float(signed_log(number) - signed_log(value)) ** 2,
                "smape": 2 * off / (abs(number) + abs(value)) if off else 0.0,
                "within_20": float(off > 0.2 * abs(value) * (1 + 1e-9)),
            }[error]
        )
    return total


@settings(max_examples=150, deadline=None)
@given(distributions(), st.lists(st.floats(-400, 110_000), min_size=20, max_size=20))
def test_no_other_number_has_a_smaller_expected_error(found, others):
    for error in ERRORS:
        best = found.best(error)
        candidates = found.values if error == "smape" else [*found.values, *others]
        least = min(expected(found, error, number) for number in candidates)
        rounding = 0.005 if error in ("mae", "mape") else 1e-3 if error == "rmsle" else 1e-9
        if error == "within_20":  # an end of the window may be rounded out of it
            best = min(found.values, key=lambda value: abs(value - best)) if abs(best) < 1 else best
            rounding = found.weights.max() if round(best, 2) != best else 1e-9
        assert expected(found, error, best) <= least * (1 + 1e-9) + rounding, error


@given(distributions())
def test_quantiles_rise_and_stay_inside(found):
    shares = np.linspace(0, 1, 11)
    ends = [found.quantile(share) for share in shares]
    assert ends == sorted(ends)
    assert found.values[0] <= ends[0] <= ends[-1] <= found.values[-1]


@given(st.floats(-1e100, 1e100))
def test_the_signed_logarithm_can_be_undone(value):
    assert from_signed_log(signed_log(value)) == pytest.approx(value, rel=1e-9, abs=1e-12)


@given(distributions(), st.floats(0, 1), st.text())
def test_a_reading_comes_back_to_the_last_bit(found, share, text):
    reading = Reading(text, {"title": share}, {"price": found}, {"title": -share})
    back = Reading.parse(json.loads(json.dumps(reading.dump())))
    assert (back.text, back.confidence, back.truth) == (reading.text, reading.confidence, reading.truth)
    one, other = reading.numbers["price"], back.numbers["price"]
    assert one.values.tobytes() == other.values.tobytes()
    assert one.weights.tobytes() == other.weights.tobytes()
