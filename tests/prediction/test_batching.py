"""Windows, batches, and what is worked on ahead."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hangtag.phi3v import Phi3VImageProcessor
from hangtag.prediction.batching import ahead, cut, in_batches, windows


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 8), st.none() | st.integers(1, 200))
def test_batches_hold_every_place_once_within_rows_and_budget_longest_first(tokens, rows, budget):
    batches = cut(tokens, rows, budget)
    assert sorted(place for batch in batches for place in batch) == list(range(len(tokens)))
    for batch in batches:
        assert len(batch) <= rows
        assert len(batch) == 1 or budget is None or len(batch) * max(tokens[place] for place in batch) <= budget
    lengths = [tokens[place] for batch in batches for place in batch]
    assert lengths == sorted(tokens, reverse=True)
    assert in_batches(tokens, tokens, lambda batch: [-each for each in batch], rows, budget) == [-n for n in tokens]


def test_windows_go_on_where_they_are_told_to():
    assert list(windows(10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(windows(10, 4, 8)) == [(8, 10)]
    assert list(windows(10, 4, 10)) == []


def test_the_next_is_worked_on_meanwhile_and_no_more_than_that():
    begun, main = [], threading.get_ident()

    def work(item):
        begun.append(item)
        return item, threading.get_ident() != main

    found = ahead(work, range(5))
    assert next(found) == (0, True)
    assert set(begun) <= {0, 1}
    assert [item for item, _ in found] == [1, 2, 3, 4]


def test_what_fails_ahead_is_raised_and_who_works_is_told_to_stop():
    stopped = []
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda item: 1 / item, [1, 0, 1], lambda: stopped.append(True)))
    assert stopped == [True]


@pytest.mark.parametrize(("crops", "side"), [(1, 56), (4, 56), (4, 336), (16, 336)])
def test_a_picture_made_small_gives_the_pixels_of_the_whole_one(crops, side):
    """So that a window of any photos, however large, takes little memory."""
    processor = Phi3VImageProcessor(num_crops=crops, crop_size=side)
    random = np.random.default_rng(0)
    shapes = [(97, 31), (31, 97), (336, 336), (500, 499), (1000, 90), (90, 1000), (337, 112), (640, 480), (123, 371)]
    for width, height in shapes if side == 56 else shapes[::2]:
        noise = random.integers(0, 256, (height, width, 3), np.uint8)
        whole = Image.fromarray(noise)
        small = processor.reduced(whole)
        assert small.size[0] * small.size[1] <= crops * side**2
        one, other = processor([whole]), processor([small])
        assert one["image_sizes"].tolist() == other["image_sizes"].tolist()
        assert (one["pixel_values"] == other["pixel_values"]).all()


def test_what_is_kept_of_a_picture_has_its_own_canvas():
    """Of every shape of canvas: its side ratio gives the same crops again, or the picture itself is kept."""
    kept_whole = 0
    for crops in (1, 2, 4, 9, 16, 25, 64):
        for side in (28, 56, 336):
            processor = Phi3VImageProcessor(num_crops=crops, crop_size=side)
            for height, width in {processor.size_after(width, 1000) for width in range(40, 1000, 7)}:
                longer, shorter = max(height, width), min(height, width)
                if processor._resized(longer, shorter) != (longer, shorter):
                    assert crops > 16
                    whole = Image.new("RGB", (width, height))
                    assert side > 28 or processor.reduced(whole) is whole
                    kept_whole += 1
    assert kept_whole
