"""Two models' answers held against each other, and what of it is rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hangtag.errors import ModelError
from hangtag.exporting.comparison import Comparison, Row
from hangtag.exporting.witness import Difference, Written, difference

SAME = Difference(10, 0.001, 0.0001, 2.0, ("a", "a"), None)


def written(ids, seed=0, noise=0.0, vocabulary=7):
    """Logits in which each id is preferred by 3, over noise."""
    generator = np.random.default_rng(seed)
    logits_NV = np.zeros((len(ids), vocabulary), np.float32)
    logits_NV[np.arange(len(ids)), ids] = 3
    return Written(ids, str(ids), logits_NV + generator.normal(0, noise, logits_NV.shape).astype(np.float32))


def compared(*rows, rounded=torch.bfloat16, **more):
    return Comparison([Row(5 + n, f"{n}.jpg", row) for n, row in enumerate(rows)], rounded, torch.float32, **more)


def test_equal_answers_are_compared_to_their_end():
    apart = difference(written([1, 2, 3]), written([1, 2, 3]))
    assert (apart.places, apart.largest, apart.mean, apart.margin) == (3, 0.0, 0.0, None)
    apart = difference(written([1, 2, 3]), written([1, 2, 3], noise=0.1))
    assert 0 < apart.mean < apart.largest < 1
    assert apart.spread == pytest.approx(np.std([3, 0, 0, 0, 0, 0, 0]))


def test_answers_that_part_are_compared_to_where_they_do():
    apart = difference(written([1, 2, 3, 4]), written([1, 5, 6, 6, 6]))
    assert (apart.places, apart.margin, apart.largest) == (2, 3.0, 3.0)


def test_tolerance_follows_the_formats():
    bfloat16, float16, float32 = (
        compared(SAME, rounded=each) for each in (torch.bfloat16, torch.float16, torch.float32)
    )
    assert bfloat16.mean_tolerance == pytest.approx(6 * 2**-8 * 2.0)
    assert float16.mean_tolerance == pytest.approx(bfloat16.mean_tolerance / 8)
    assert float32.mean_tolerance < float16.mean_tolerance / 100
    coarse = [replace(each, computed=torch.bfloat16).mean_tolerance for each in (bfloat16, float16, float32)]
    assert coarse == [pytest.approx(16 * 2**-8 * 2.0)] * 3
    assert replace(bfloat16, exact=True).mean_tolerance == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([SAME, replace(SAME, mean=0.2)], r"0.1 on average, 0\.0469 is allowed; most in row 6 \(1\.jpg\), by 0\.2"),
        ([SAME, replace(SAME, mean=float("nan"))], r"row 6 \(1\.jpg\), by nan"),
        ([SAME, replace(SAME, largest=0.7)], r"in row 6 \(1\.jpg\) logits differ by up to 0\.7, 0\.562 is allowed"),
        ([SAME, replace(SAME, largest=float("nan"))], r"in row 6 .* by up to nan"),
        ([SAME, replace(SAME, margin=1.5, texts=("a", "b"))], r"row 6 .*the run writes 'a', the export 'b'.* by 1\.5"),
        ([SAME, *[replace(SAME, margin=0.001)] * 2], r"2 of 3 answers differ, the first in row 6"),
    ],
)
def test_what_rounding_does_not_explain_is_an_error(rows, message):
    with pytest.raises(ModelError, match=message):
        compared(*rows).check()


def test_what_rounding_explains_passes_and_is_counted():
    near = compared(SAME, SAME, SAME, replace(SAME, margin=0.01, texts=("a", "b")))
    near.check()
    assert ("equal answers", "3 of 4", "all but near ties") in near.table()
    assert near.record()["answers"]["parted"] == [{"row": 8, "margin": 0.01, "run": "a", "export": "b"}]


def test_the_same_weights_must_give_the_same_bits():
    compared(replace(SAME, largest=0.0, mean=0.0), exact=True).check()
    with pytest.raises(ModelError, match="0 is allowed"):
        compared(replace(SAME, largest=1e-7, mean=1e-9), exact=True).check()
    with pytest.raises(ModelError, match="the run writes"):
        compared(replace(SAME, largest=0.0, mean=0.0, margin=0.0, texts=("a", "b")), exact=True).check()
