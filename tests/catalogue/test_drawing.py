"""Drawn pictures: taken as they are needed, and near duplicates in one split as long as splits keep their shares."""

import hashlib
from itertools import count, islice

import numpy as np
import pytest

from hangtag.catalogue import drawing, open_catalogue
from hangtag.catalogue.drawing import divide_drawn, draw_in_order
from hangtag.catalogue.pictures import sketch_picture
from hangtag.catalogue.split import Coded, assign_splits_by_column
from hangtag.catalogue.synth import synthesise


@pytest.mark.parametrize("workers", [1, 2])
def test_products_are_taken_as_they_are_needed(workers):
    taken = []
    endless = (taken.append(number) or number for number in count())
    drawn = draw_in_order(str, endless, 1_000_000, workers)
    assert list(islice(drawn, 20)) == [str(number) for number in range(20)]
    drawn.close()
    assert len(taken) < 500


def test_near_duplicates_stay_in_one_split(monkeypatch, tmp_path):
    def alike(greys):
        return hashlib.sha256(bytes([int(np.asarray(greys).mean()) // 8])).hexdigest()

    monkeypatch.setattr(drawing, "picture_hash", alike)
    monkeypatch.setattr(drawing, "UNEVEN", 1)
    info = synthesise(tmp_path / "out", rows=60, size=64, workers=1)
    found = {}
    for row in open_catalogue(tmp_path / "out").rows:
        greys = sketch_picture(tmp_path / "out" / row["file_name"]).greys
        found.setdefault(alike(greys), []).append(row["split"])
    several = [splits for splits in found.values() if len(splits) > 1]
    assert info["near_duplicates"]["pictures"] == sum(map(len, several)) > 10
    assert all(len(set(splits)) == 1 for splits in several)
    monkeypatch.setattr(drawing, "MOST_COMPARED", 59)
    info = synthesise(tmp_path / "more", rows=60, size=64, workers=1)
    assert info["near_duplicates"] == {"distance": 24, "pictures": None, "compared": False}


def split_of(files):
    columns = {"file_name": Coded(np.arange(len(files)), files)}
    return lambda alike: assign_splits_by_column(columns, (), alike=alike)


def test_where_all_pictures_hang_together_only_the_nearest_stay_in_one_split():
    rng = np.random.default_rng(0)
    far = [int.from_bytes(rng.bytes(32), "big") for _ in range(40)]
    numbers = far + [number ^ 255 for number in far]
    files = [f"images/{number}.jpg" for number in range(600)]

    def divide(numbers):
        hashes = {file: f"{number:064x}" for file, number in zip(files, numbers, strict=False)}
        return divide_drawn(hashes, split_of(list(hashes)))

    splits, told = divide(numbers)
    assert told == {"distance": 24, "pictures": 80}
    assert (splits[:40] == splits[40:]).all()
    while len(numbers) < 600:  # a chain, each 20 bits from the one before
        numbers.append(numbers[-1] ^ sum(1 << int(bit) for bit in rng.choice(256, 20, replace=False)))
    splits, told = divide(numbers)
    assert told == {"distance": 16, "pictures": 80}
    assert (splits[:40] == splits[40:80]).all()
    assert np.abs(np.bincount(splits) / 600 - [0.8, 0.1, 0.1]).max() <= 0.03


def test_too_many_pictures_are_not_compared():
    files = [f"images/{number}.jpg" for number in range(600)]
    splits, told = divide_drawn(None, split_of(files))
    assert told == {"distance": 24, "pictures": None, "compared": False}
    assert splits.tolist() == split_of(files)([]).tolist()
