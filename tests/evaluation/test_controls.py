from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hangtag.errors import ImageError
from hangtag.evaluation.controls import blank_picture, derangement, picture_sizes


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


def test_sizes_are_as_shown_and_blank_pictures_are_grey(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "b.jpg", exif=turned)
    assert picture_sizes([tmp_path / "a.png", tmp_path / "b.jpg"]) == [(30, 20), (20, 30)]
    assert blank_picture((3, 2)).getcolors() == [(6, (128, 128, 128))]


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "x.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"x\.jpg"):
        picture_sizes([tmp_path / "x.jpg"])
