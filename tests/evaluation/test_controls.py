from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hangtag.evaluation.controls import blank_picture, derangement


@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=40), st.integers(0, 5))
def test_no_row_keeps_its_file_and_every_row_gives_one(files, seed):
    source = derangement(files, seed)
    if 2 * max(Counter(files).values()) > len(files):
        assert source is None
    else:
        assert sorted(source) == list(range(len(files)))
        assert all(files[place] != file for place, file in zip(source, files, strict=True))


def test_the_seed_decides_the_derangement():
    files = [str(each) for each in range(100)]
    np.testing.assert_array_equal(derangement(files, 1), derangement(files, 1))
    assert (derangement(files, 1) != derangement(files, 2)).sum() > 80


def test_blank_pictures_are_grey():
    assert blank_picture((3, 2)).getcolors() == [(6, (128, 128, 128))]
