"""Heat lies where the deciding thing is: a shop whose pictures are plain but for a striped mark somewhere."""

import copy
import csv
import shutil

import numpy as np
import pytest
import torch
from conftest import hangtag, settings
from PIL import Image

from hangtag.phi3v import Phi3VForCausalLM
from hangtag.phi3v.adapters_phi3_v import add_lora
from hangtag.prediction.loading import load
from hangtag.prediction.tag import Tag
from hangtag.prediction.tagger import Tagger
from hangtag.serving.heat import ALL, Heat, grid, heat, hidden

SIDE, MARK = 96, 24
RECIPE = """
[model]
base = "nano"
num_crops = 1
[data]
path = "{}"
[task]
answer = "{{title}}, {{kind}}, {{price}}"
fields = {{title = "text", kind = "category", price = "number"}}
[train]
epochs = 12
batch_size = 16
learning_rate = 4e-3
optimizer = "muon"
validation_answers = 0
checkpoint_epochs = 12
workers = 0
"""
SIZES = ["vision_hidden=64", "vision_layers=2", "hidden=64", "layers=2"]


def marked(upright, row, column, size=(SIDE, SIDE)):
    """A grey picture with a mark of stripes; in the mean it is as grey as the rest."""
    width, height = size
    pixels = np.full((height, width), 128, np.uint8)
    stripes = np.broadcast_to(np.where(np.arange(MARK) // 6 % 2, 250, 6).astype(np.uint8), (MARK, MARK))
    pixels[row : row + MARK, column : column + MARK] = stripes if upright else stripes.T
    return Image.fromarray(pixels).convert("RGB")


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    """A tagger that was trained on 135 marked pictures."""
    folder = tmp_path_factory.mktemp("marks")
    (folder / "shop" / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    with open(folder / "shop" / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "title", "kind", "price", "split"])
        for number in range(144):
            upright, row, column = generator.integers(0, [2, 4, 4])
            marked(upright, MARK * row, MARK * column).save(folder / f"shop/images/{number}.png")
            product = ["Upright mark", "UP", 100] if upright else ["Level mark", "LEVEL", 200]
            writer.writerow([f"images/{number}.png", *product, "train" if number % 16 else "validation"])
    (folder / "marks.toml").write_text(RECIPE.format(folder / "shop"))
    sizes = settings(*(f"model.nano.{each}" for each in SIZES))
    hangtag("train", folder / "marks.toml", "--out", folder / "run", *sizes)
    yield load(folder / "run")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shown(marks):
    """Pictures with the place of their mark and the tag that was written for them."""
    places = [
        (upright, 24 * row, 24 * column) for upright, (row, column) in enumerate([(0, 3), (2, 1), (3, 0), (1, 2)])
    ]
    pictures = [marked(upright % 2, row, column) for upright, row, column in places]
    return [(each, place[1:], tag) for each, place, tag in zip(pictures, places, marks.tags(pictures), strict=True)]


def hottest(found, name, picture):
    """The middle of the hottest cell, in pixels: row, column."""
    row, column = np.unravel_index(found.fields[name].argmax(), found.fields[name].shape)
    return (row + 0.5) * picture.height / found.rows, (column + 0.5) * picture.width / found.columns


def on_mark(place, mark):
    return all(0 <= each - first < MARK for each, first in zip(place, mark, strict=True))


def test_the_hottest_cell_lies_on_what_decides(marks, shown):
    # Without its mark a picture of the kind that is written where there is none keeps its tag.
    usual = marks.tags([Image.new("RGB", (SIDE, SIDE), (128, 128, 128))])[0].fields["kind"]
    for number, (picture, mark, tag) in enumerate(shown):
        assert tag.fields["kind"] == ("UP" if number % 2 else "LEVEL")
        found = heat(marks, picture, tag)
        assert set(found.fields) == {"title", "kind", "price", ALL}
        for name, cells in found.fields.items():
            assert cells.shape == (found.rows, found.columns) == (8, 8)
            assert on_mark(hottest(found, name, picture), mark)
            assert cells.min() == 0
            assert cells.max() == 1 or tag.fields["kind"] == usual
            far = [
                cells[row, column] for row in range(8) for column in range(8)
                if max(abs(12 * row + 6 - mark[0] - 12), abs(12 * column + 6 - mark[1] - 12)) > 36
            ]  # fmt: skip
            assert max(far) < 0.1


def test_a_wide_picture_is_mapped_whole(marks):
    for upright in (True, False):
        picture = marked(upright, 12, 72, size=(96, 48)).resize((192, 96), Image.Resampling.NEAREST)
        found = heat(marks, picture, marks.tags([picture])[0])
        assert (found.rows, found.columns) == (6, 11)
        row, column = hottest(found, ALL, picture)
        assert on_mark((row / 2, column / 2), (12, 72))


def test_it_leaves_nothing_behind(marks, shown):
    picture, _, tag = shown[0]
    before = [(each.requires_grad, each.clone()) for each in marks.model.parameters()]
    heat(marks, picture, tag)
    for each, (wanted, value) in zip(marks.model.parameters(), before, strict=True):
        assert each.grad is None
        assert each.requires_grad == wanted
        assert torch.equal(each, value)
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in marks.model.modules())
    assert marks.tags([picture])[0].raw == tag.raw


@pytest.mark.parametrize("kind", ["bfloat16", "adapters", "small batches"])
def test_other_models_and_batches(marks, shown, kind):
    picture, mark, tag = shown[1]
    model: Phi3VForCausalLM = copy.deepcopy(marks.model)
    if kind == "adapters":
        model = add_lora(model, rank=2)
    model = model.to(torch.bfloat16) if kind == "bfloat16" else model
    other = Tagger(model, marks.processor, marks.recipe, 20 if kind == "small batches" else 64, marks.known)
    found, plain = heat(other, picture, tag), heat(marks, picture, tag)
    assert on_mark(hottest(found, ALL, picture), mark)
    if kind != "bfloat16":
        for name, cells in plain.fields.items():
            assert np.allclose(found.fields[name], cells, atol=1e-3)


def test_where_nothing_decides_no_cell_is_hot(marks, shown):
    """The tag of another picture is as unlikely, whatever is hidden of a plain one."""
    found = heat(marks, Image.new("RGB", (SIDE, SIDE), (128, 128, 128)), shown[0][2])
    assert max(float(each.max()) for each in found.fields.values()) < 0.1


def test_a_tag_without_fields_has_no_heat(marks, shown):
    assert heat(marks, shown[0][0], Tag(None, None, "the answer was cut before its end")) is None


def test_what_is_hidden_is_the_cell_and_half_its_neighbours():
    picture = Image.effect_noise((80, 40), 90).convert("RGB")
    whole, *patched = hidden(picture, 4, 8)
    assert whole is picture
    assert len(patched) == 32
    pixels, mean = np.asarray(picture), np.asarray(picture).reshape(-1, 3).mean(0).round()
    for number, each in enumerate(patched):
        row, column = divmod(number, 8)
        inside = np.zeros((40, 80), bool)
        inside[max(10 * row - 5, 0) : 10 * row + 15, max(10 * column - 5, 0) : 10 * column + 15] = True
        assert (np.asarray(each)[inside] == mean).all()
        assert (np.asarray(each)[~inside] == pixels[~inside]).all()


def test_cells_are_nearly_square_and_about_64():
    for width, height in ((336, 336), (1024, 768), (768, 1024), (1000, 10), (10, 1000), (3000, 1000)):
        rows, columns = grid(width, height)
        assert min(rows, columns) >= 2
        assert max(rows, columns) <= 16
        if max(width, height) < 4 * min(width, height):
            assert 50 <= rows * columns <= 80
            assert 0.7 < (width / columns) / (height / rows) < 1.4


def test_the_record_is_json():
    record = Heat(1, 2, {"price": np.array([[0.123456, 1]])}).record()
    assert record == {"rows": 1, "columns": 2, "fields": {"price": [[0.1235, 1.0]]}}
