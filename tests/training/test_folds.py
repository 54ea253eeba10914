"""Which model judges which row: groups are never divided, and nobody judges what he was trained on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hangtag.answer import Template
from hangtag.catalogue.store import Catalogue
from hangtag.errors import DataError
from hangtag.examples.rows import sort_rows
from hangtag.recipe import check_recipe
from hangtag.training.folds import OWN, Known, deal, fold_runs, group_numbers

TEMPLATE = Template("{title}: {price}", {"title": "text", "price": "number"})


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=60),
    folds=st.integers(2, 5),
)
def test_groups_are_never_divided_and_each_trained_row_has_one_fold(rows, folds):
    groups, trained = np.array([group for group, _ in rows]), np.array([learned for _, learned in rows])
    if len(set(groups[trained])) < folds:
        with pytest.raises(DataError, match=f"too few for {folds} folds"):
            deal(groups, trained, folds)
        return
    found = deal(groups, trained, folds)
    for group in set(groups.tolist()):
        mine = groups == group
        assert len(set(found[mine].tolist())) == 1
        assert (found[mine][0] == OWN) == (not trained[mine].any())
    assert set(found[trained].tolist()) == set(range(1, folds + 1))
    for fold in range(1, folds + 1):
        learned = trained & (found != fold)
        assert not set(groups[learned]) & set(groups[found == fold])
    loads = np.bincount(found[trained])[1:]
    assert loads.max() - loads.min() <= max(int((trained & (groups == group)).sum()) for group in groups)


def test_rows_without_any_training_row_are_the_runs_own():
    assert deal(np.array([0, 1, 2, 2, 3]), np.array([True, True, False, False, False]), 2).tolist() == [1, 2, 0, 0, 0]


def picture(seed):
    """A picture of a shape of its own."""
    noise = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), np.uint8)
    return Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC)


def catalogue(folder, rows, name="catalogue"):
    """A catalogue of (picture's file, title, product code, split); files of equal seeds hold equal bytes."""
    path = folder / name
    (path / "images").mkdir(parents=True)
    cells = []
    for file, seed, title, code, split in rows:
        picture(seed).save(path / "images" / file, quality=95)
        cells.append(
            {"file_name": f"images/{file}", "title": title, "product_code": code, "price": "5", "split": split}
        )
    return Catalogue(path, ["title", "product_code", "price"], cells, {})


def known(made, trained=True):
    usable = [row for split in ("train", "validation", "test") for row in sort_rows(made, split, TEMPLATE)[0]]
    return Known(made, usable, trained)


def test_titles_codes_equal_bytes_and_near_duplicates_join_rows_also_of_two_catalogues(tmp_path):
    own = catalogue(tmp_path, [
        ("a.png", 1, "One", "11", "train"),
        ("b.png", 2, "Two", "22", "train"),
        ("c.png", 3, "Three", "33", "train"),
        ("d.png", 4, "Four", "44", "train"),
    ])  # fmt: skip
    other = catalogue(tmp_path, [
        ("a.png", 9, "one ", "91", "test"),       # the first's title, and its file's name for another picture
        ("x.png", 8, "New", "22", "test"),        # the second's code
        ("y.png", 3, "Newer", "92", "test"),      # the third's picture under another name
        ("z.jpg", 4, "Newest", "93", "test"),     # the fourth's picture, saved as a JPEG
        ("b.png", 7, "Last", "94", "test"),       # the second's file name, and nothing else of it
    ], "other")  # fmt: skip
    mine, theirs = group_numbers([known(own), known(other, False)])
    assert len(set(mine.tolist())) == 4
    assert theirs[:4].tolist() == mine.tolist()
    assert theirs[4] not in mine


def test_a_picture_that_cannot_be_read_is_told_and_joins_only_its_own_bytes(tmp_path):
    made = catalogue(tmp_path, [(f"{n}.png", n, f"T{n}", str(n + 10), "train") for n in range(3)])
    for name in ("0.png", "1.png"):
        (made.path / "images" / name).write_bytes(b"no picture")
    refused = {}
    (groups,) = group_numbers([known(made)], refused)
    assert groups[0] == groups[1] != groups[2]
    assert {path.name for path in refused} == {"0.png", "1.png"}


def test_a_fold_is_trained_on_the_other_folds_rows_and_a_change_of_any_is_noticed(tmp_path):
    rows = [(f"{n}.png", n, f"T{n}", str(n + 10), "train" if n < 6 else "test") for n in range(8)]
    made = catalogue(tmp_path, rows)
    task = {"answer": TEMPLATE.text, "fields": dict(TEMPLATE.fields)}
    recipe = check_recipe({"model": {"base": "nano"}, "data": {"path": str(made.path)}, "task": task,
                           "train": {"method": "full"}})  # fmt: skip
    usable = sort_rows(made, "train", TEMPLATE)[0]
    folds = np.array([1, 2, 1, 2, 1, 2])
    found = fold_runs(tmp_path / "folds", recipe, made, folds, usable)
    assert [each.record["held_out"] for each in found] == [[1, 3, 5], [2, 4, 6]]
    assert [each.record["train"] for each in found] == [[2, 4, 6], [1, 3, 5]]
    assert [row["split"] for row in made.rows].count("train") == 6
    made.rows[1]["title"] = "Mended"
    again = fold_runs(tmp_path / "folds", recipe, made, folds, sort_rows(made, "train", TEMPLATE)[0])
    assert again[0].record != found[0].record
    assert again[1].record == found[1].record
