import time

import numpy as np
import pytest
from scipy.stats import bootstrap

from hangtag.evaluation.bootstrap import replicates, score
from hangtag.evaluation.metrics import mean, median, number_rows, score_field


@pytest.mark.parametrize("statistic", [mean, median])
def test_the_interval_is_scipys(statistic):
    values = np.random.default_rng(0).lognormal(size=304)
    ours = score(statistic, values, seed=0, resamples=4000)
    theirs = bootstrap(
        (values,), lambda x, axis: statistic(np.moveaxis(x, axis, -1)), method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours["value"] == statistic(values)
    assert ours["low"] == pytest.approx(theirs.low, abs=0.06 * width)
    assert ours["high"] == pytest.approx(theirs.high, abs=0.06 * width)


@pytest.mark.parametrize(("statistic", "true"), [(mean, np.exp(0.5 * 0.4**2)), (median, 1.0)])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(statistic, true):
    generator = np.random.default_rng(0)
    held, trials = 0, 1000
    for seed in range(trials):
        found = score(statistic, generator.lognormal(0, 0.4, 100), seed=seed, resamples=400)
        held += found["low"] <= true <= found["high"]
    assert 0.92 <= held / trials <= 0.97


def test_the_share_of_rows_that_are_all_right_keeps_a_doubt():
    found = score(mean, np.ones(304, bool), seed=0)
    assert found["value"] == found["high"] == 1.0
    assert found["low"] == pytest.approx(0.025 ** (1 / 304))
    found = score(mean, np.zeros(1, bool), seed=0)
    assert (found["low"], found["value"], found["high"]) == (0.0, 0.0, pytest.approx(0.975))


def test_equal_seeds_draw_equal_rows_in_blocks_of_any_number():
    rows = 3000
    places = np.arange(rows, dtype=float)
    first, second = (replicates(mean, places + shift, seed=3) for shift in (0.0, 1.0))
    np.testing.assert_allclose(second - first, 1.0)
    assert len(first) == 2000
    assert len(np.unique(first)) > 1900
    assert not np.array_equal(first, replicates(mean, places, seed=4))


def test_all_scores_of_304_numbers_take_less_than_a_second():
    generator = np.random.default_rng(0)
    rows = number_rows(*generator.lognormal(7, 1, (2, 304)))
    started = time.perf_counter()
    score_field("number", rows, seed=0)
    assert time.perf_counter() - started < 1
