import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.report.plots import (
    MOST_LABELS,
    OTHERS,
    confusion_matrix,
    learning_curve,
    mix_ups,
    pooled,
    scatter,
)
from hangtag.report.svg import axis


def circles(drawing):
    return list(ElementTree.fromstring(str(drawing)).iter("circle"))


@settings(deadline=None)
@given(st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=5), st.booleans())
def test_an_axis_holds_its_values_and_a_few_ticks(values, log):
    scale = axis(np.array(values), 0, 100, log)
    for value in values:
        assert 0 <= scale(value) <= 100
    assert len(scale.ticks()) <= 20
    assert all(0 <= scale(tick) <= 100 for tick in scale.ticks())
    assert scale(scale.low) == 0
    assert scale(scale.high) == pytest.approx(100)


def test_a_log_axis_counts_in_ones_twos_and_fives():
    assert axis(np.array([40.0, 2000.0]), 0, 1, True).ticks() == [50, 100, 200, 500, 1000, 2000]
    assert axis(np.array([3e1, 6e4]), 0, 1, True).ticks() == [100, 1000, 10_000]
    assert axis(np.array([0.0, 10.0]), 0, 1, True).ticks() == [0, 2, 4, 6, 8, 10]


def test_right_prices_lie_on_the_diagonal_and_far_ones_are_marked():
    drawn = circles(scatter("price", [10.0, 100.0, 1000.0], [10.0, 119.0, 1300.0], ["a", "b", "<c>"]))
    assert [each.get("class") for each in drawn] == ["dot near", "dot near", "dot far"]
    assert drawn[2].find("title").text == "<c>: true 1,000, written 1,300"
    x, y = float(drawn[0].get("cx")), float(drawn[0].get("cy"))
    assert (x - 58) / (448 - 58) == pytest.approx((296 - y) / (296 - 14), abs=1e-3)


@pytest.mark.parametrize("truth", [[0.0, 5.0], [-3.0, -1.0], [7.0], [1e-9, 1e12], [1e308, 1.0]])
def test_strange_numbers_stay_in_the_frame(truth):
    for written in (truth, [-1e308] * len(truth), [1e308] * len(truth), [0.0] * len(truth)):
        for each in circles(scatter("x", truth, written, [""] * len(truth))):
            assert 58 <= float(each.get("cx")) <= 448
            assert 14 <= float(each.get("cy")) <= 296


def test_the_curve_shows_both_losses_and_bears_odd_logs():
    log = [{"step": step, "loss": 5 / step, "seconds": step} for step in range(1, 2000)]
    log += [{"step": 1000, "validation_loss": 0.4}, {"step": 1999, "validation_loss": 0.3}]
    log += [{"step": 1500, "loss": float("nan")}, {"note": "resumed"}]
    drawing = learning_curve(log)
    assert len(circles(drawing)) == 2
    assert "nan" not in str(drawing)
    lengths = [path.count("L") for path in re.findall(r' d="(M[^"]*)"', str(drawing))]
    assert lengths == [399, 1]
    assert learning_curve([]) is None
    assert learning_curve([{"step": 1, "loss": 2.0}]) is None


def test_the_rarest_of_many_categories_are_pooled():
    truths = [f"c{number:03}" for number in range(80) for _ in range(1 + (number < 50))]
    labels, pooled_truths, written = pooled(truths, [*truths[:-2], None, "unknown"])
    assert len(labels) == MOST_LABELS
    assert labels[-1] == OTHERS
    assert set(pooled_truths) == set(labels)
    assert written[-2:] == [None, "unknown"]
    assert {f"c{number:03}" for number in range(50)} < set(labels)


def test_a_matrix_counts_every_row():
    truths, written = ["a", "a", "b", "c"], ["a", "b", "b", None]
    drawing = str(confusion_matrix("kind", truths, written))
    counts = [int(each) for each in re.findall(r'class="count[^>]*>(\d+)<', drawing)]
    assert sum(counts) == 4
    assert "2 of 4 right" in drawing
    assert "(none of these)" in drawing
    assert mix_ups(truths, written) == [("a", "b", 1)]
