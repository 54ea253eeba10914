"""The training products most like a picture: as the baseline finds them, kept, noticed when stale, never in the way."""

import csv
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from hangtag.catalogue import open_catalogue
from hangtag.evaluation.baselines import nearest_rows
from hangtag.serving import neighbours
from hangtag.serving.neighbours import NAME, SIDE, Neighbours


@pytest.fixture
def run(small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", NAME))
    return tmp_path / "run"


@pytest.fixture
def found(run, tagger):
    made = Neighbours.open(run, tagger)
    assert made.wait(60)
    return made


@pytest.fixture(scope="module")
def shown(small_catalogue):
    catalogue = open_catalogue(small_catalogue)
    return [catalogue.image_path(row) for row in catalogue.split("test")]


def test_they_are_those_of_the_baseline(found, tagger, shown):
    asked = tagger.features(shown)
    known = tagger.features([row.pictures[0] for row in found.rows])
    places = nearest_rows(asked, known)
    for mine, wanted in zip(found.nearest(asked, 3), places, strict=True):
        values = [found.rows[place].values for place in wanted]
        distinct = [each for number, each in enumerate(values) if each not in values[:number]]
        assert [each.fields for each in mine] == distinct[:3]
        cosines = [each.similarity for each in mine]
        assert cosines == sorted(cosines, reverse=True)
        assert all(-1 <= each <= 1 for each in cosines)


def test_as_many_come_as_are_asked_for(found, tagger, shown):
    products = {tuple(row.values.values()) for row in found.rows}
    for k in (0, 1, 12, 20, 10_000):
        (near,) = found.nearest(tagger.features(shown[:1]), k)
        assert len(near) == min(k, len(products))
        assert len({tuple(each.fields.values()) for each in near}) == len(near)


def test_a_training_picture_is_most_like_itself(found, tagger):
    for place in (0, len(found.rows) // 2, len(found.rows) - 1):
        features = tagger.features([found.rows[place].pictures[0]])
        first = found.nearest(features, 1)[0][0]
        assert first.fields == found.rows[place].values
        assert first.similarity == pytest.approx(1, abs=2e-3)


def test_the_second_start_makes_nothing(found, run, tagger, monkeypatch):
    assert (run / NAME).is_file()
    monkeypatch.setattr(tagger, "features", None)
    again = Neighbours.open(run, tagger)
    assert again.ready
    assert np.array_equal(again._unit_ND, found._unit_ND)


@pytest.mark.parametrize("change", ["model", "damaged", "cut"])
def test_stale_and_damaged_files_are_made_anew(found, run, tagger, change):
    before = (run / NAME).read_bytes()
    if change == "model":
        weights = run / "model" / "model.safetensors"
        weights.write_bytes(weights.read_bytes())
    else:
        (run / NAME).write_bytes(before[:50] if change == "cut" else b"\xff" * len(before))
    again = Neighbours.open(run, tagger)
    assert not again.ready
    assert again.nearest(np.ones((2, 64), np.float32), 3) == [[], []]
    assert again.wait(60)
    after = (run / NAME).read_bytes()
    assert (after == before) == (change != "model")


def test_thumbnails_are_small_jpegs(found):
    picture = Image.open(io.BytesIO(found.thumbnail("0")))
    assert picture.format == "JPEG"
    assert max(picture.size) <= SIDE
    assert found.thumbnail("0") is found.thumbnail("0")
    for wrong in ("", "-1", "1.0", "x", "../0", "²", "999999", "9" * 5000):
        assert found.thumbnail(wrong) is None


def test_without_its_catalogue_there_are_none(small_run, tagger, monkeypatch, tmp_path):
    told = []
    moved = tagger.recipe.data.model_copy(update={"path": str(tmp_path / "moved")})
    monkeypatch.setattr(tagger, "recipe", tagger.recipe.model_copy(update={"data": moved}))
    assert Neighbours.open(small_run, tagger, told.append) is None
    assert "is no folder" in told[0]


def test_where_it_would_take_too_long_none_are_made(run, tagger, monkeypatch):
    told = []
    monkeypatch.setattr(neighbours, "MOST_SECONDS", 0.0)
    slow = Neighbours.open(run, tagger, told.append)
    assert not slow.wait(60)
    assert "would take" in told[0]
    assert not (run / NAME).exists()


def test_a_picture_that_is_gone_is_told(run, tagger, small_catalogue, monkeypatch, tmp_path):
    shutil.copytree(small_catalogue, tmp_path / "shop")
    data = tagger.recipe.data.model_copy(update={"path": str(tmp_path / "shop")})
    monkeypatch.setattr(tagger, "recipe", tagger.recipe.model_copy(update={"data": data}))
    rows = open_catalogue(tmp_path / "shop").split("train")
    (tmp_path / "shop" / rows[0]["file_name"]).write_bytes(b"no picture")
    told = []
    assert not Neighbours.open(run, tagger, told.append).wait(60)
    assert "holds no picture" in told[0]


def test_a_product_is_there_once(run, tagger, small_catalogue, monkeypatch, tmp_path):
    """Rows that are equal, and other pictures of the same product."""
    (tmp_path / "shop" / "images").mkdir(parents=True)
    with open(tmp_path / "shop" / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "title", "category3_code", "full_price", "split"])
        for row in range(12):
            Image.new("RGB", (50, 50), (200, 20 * (row // 3), row)).save(tmp_path / f"shop/images/{row}.png")
            product = [f"Bag {row // 3}", "BAGS", 100 + row // 3, "train"]
            writer.writerows([[f"images/{row}.png", *product]] * 2)
    data = tagger.recipe.data.model_copy(update={"path": str(tmp_path / "shop")})
    monkeypatch.setattr(tagger, "recipe", tagger.recipe.model_copy(update={"data": data}))
    found = Neighbours.open(run, tagger)
    assert found.wait(60)
    assert len(found.rows) == 12
    (near,) = found.nearest(tagger.features([tmp_path / "shop/images/0.png"]), 3)
    assert len({each.fields["title"] for each in near}) == len(near)
    assert near[0].fields["title"] == "Bag 0"
    (every,) = found.nearest(tagger.features([tmp_path / "shop/images/0.png"]), 20)
    assert sorted(each.fields["title"] for each in every) == ["Bag 0", "Bag 1", "Bag 2", "Bag 3"]
    assert every[: len(near)] == near


def test_closing_stops_the_making(run, tagger, monkeypatch):
    monkeypatch.setattr(neighbours, "_AT_ONCE", 1)
    made = Neighbours.open(run, tagger)
    made.close()
    assert not made.ready
    assert not (run / NAME).exists()
