import numpy as np
import pytest
from scipy.stats import bootstrap

from hangtag.evaluation.bootstrap import percentiles, replicates, score
from hangtag.evaluation.metrics import macro_f1, mean, median, root_mean_square


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


def test_the_intervals_of_macro_f1_and_rmsle_hold_the_truth_too():
    """Four classes, the rarest a tenth; each right in 70 %, else one of the four."""
    shares, kept = np.array([0.4, 0.3, 0.2, 0.1]), 0.7
    right = kept + (1 - kept) * shares
    held = np.zeros(2)
    trials = 300
    for seed in range(trials):
        generator = np.random.default_rng(seed)
        truth, other = generator.choice(4, (2, 400), p=shares)
        answer = np.where(generator.random(400) < kept, truth, other)
        found = score(macro_f1, truth, answer, seed=seed, resamples=300)
        held[0] += found["low"] <= right.mean() <= found["high"]  # what is written has the shares of the truth
        found = score(root_mean_square, generator.normal(0, 0.3, 400), seed=seed, resamples=300)
        held[1] += found["low"] <= 0.3 <= found["high"]
    assert ((held / trials >= 0.9) & (held / trials <= 0.98)).all()


def test_paired_replicates_hold_the_true_difference_and_are_narrower():
    held = narrower = 0
    trials = 300
    for seed in range(trials):
        generator = np.random.default_rng(seed)
        shared = generator.normal(0, 1, 150)
        first, second = shared + generator.normal(0, 0.3, 150), shared + generator.normal(0.1, 0.3, 150)
        paired = replicates(mean, second, seed=seed, resamples=400) - replicates(mean, first, seed=seed, resamples=400)
        low, high = percentiles(paired)
        held += low <= 0.1 <= high
        lone = percentiles(replicates(mean, second, seed=seed, resamples=400))
        narrower += high - low < lone[1] - lone[0]
    assert 0.91 <= held / trials <= 0.98
    assert narrower == trials


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
