"""A catalogue in the image of a table: whole, the same from any number of processes, and none of the source in it."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import hangtag
from PIL import Image

from hangtag.catalogue import open_catalogue
from hangtag.catalogue.duplicates import picture_hash
from hangtag.catalogue.fetch import fetch
from hangtag.catalogue.like.synth_like import synthesise_like
from hangtag.catalogue.pictures import sketch_picture
from hangtag.catalogue.split import fold
from hangtag.catalogue.store import csv_text
from hangtag.errors import OutputNotEmpty, TableError, UsageError

COLOURS = ["Red", "Blue", "Green", "Black"]
KINDS = {"Boots": 120, "Shirts": 40, "Bags": 300, "Zorblats": 80}


def write_table(path, rows=120, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for number in range(rows // 2):
        kind = str(rng.choice(list(KINDS)))
        price = f"{KINDS[kind] * rng.lognormal(0, 0.3):.0f}.99"
        for colour in rng.permutation(COLOURS)[:2]:
            title = f"{rng.choice(['Trail', 'Summit', 'City'])} Name{number} {kind}"
            made.append(
                {
                    "image": f"images/{number}-{colour}.jpg",
                    "sku": f"QX{number:03d}",
                    "title": title,
                    "category": kind,
                    "color": str(colour),
                    "price": price,
                    "split": "b",
                }
            )
    path.write_text(csv_text(list(made[0]), made), encoding="utf-8")
    return made


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("like")
    source = write_table(folder / "shop.csv")
    seen = []
    info = synthesise_like(
        folder / "shop.csv", folder / "out", size=64, workers=1, progress=lambda *each: seen.append(each)
    )
    assert seen == [(done, 120) for done in range(1, 121)]
    return folder, source, info


def test_the_catalogue_opens_and_holds_a_picture_for_every_row(made):
    folder, _, info = made
    catalogue = open_catalogue(folder / "out")
    assert catalogue.columns == ["image_source", "sku", "title", "category", "color", "price", "split_source"]
    assert catalogue.info == info == json.loads((folder / "out" / "catalogue.json").read_text())
    assert info["source"] == "hangtag synth --like"
    assert info["table"] == "shop.csv"
    assert info["counts"]["rows"] == len(catalogue.rows) == 120
    assert info["pictured"] == {"title": "title", "category": "category", "price": "price"}
    assert (folder / "out" / "rejected.csv").read_text().splitlines() == ["row,url,reason,detail,attempts"]
    for row in catalogue.rows:
        assert row["image_source"] == row["file_name"]
        with Image.open(folder / "out" / row["file_name"]) as picture:
            assert (picture.format, picture.size, picture.mode) == ("JPEG", (64, 64), "RGB")
    assert str(folder) not in "".join(path.read_text() for path in (folder / "out").glob("*.*"))


def test_nothing_of_the_source_is_in_it(made):
    folder, source, _ = made
    text = (folder / "out" / "metadata.csv").read_text()
    rows = open_catalogue(folder / "out").rows
    assert not any(f"Name{number} " in text for number in range(60))
    for name in ("image", "sku", "title"):
        now = {fold(row[name if name != "image" else "image_source"]) for row in rows}
        assert not now & {fold(row[name]) for row in source}
    assert {row["category"] for row in rows} == set(KINDS)


def test_rows_of_one_product_stay_in_one_split(made):
    folder, _, info = made
    splits = {}
    for row in open_catalogue(folder / "out").rows:
        splits.setdefault(row["sku"], set()).add(row["split"])
    assert len(splits) == 60
    assert all(len(each) == 1 for each in splits.values())
    assert min(info["counts"][name] for name in ("train", "validation", "test")) > 0


def test_near_duplicates_stay_in_one_split(made):
    folder, _, info = made
    rows = open_catalogue(folder / "out").rows
    hashes = [int(picture_hash(sketch_picture(folder / "out" / row["file_name"]).greys), 16) for row in rows]
    alike = [
        (one, other)
        for other in range(len(rows)) for one in range(other)
        if (hashes[one] ^ hashes[other]).bit_count() <= 24
    ]  # fmt: skip
    assert all(rows[one]["split"] == rows[other]["split"] for one, other in alike)
    names = {rows[place]["file_name"] for pair in alike for place in pair}
    assert info["near_duplicates"] == {"distance": 24, "pictures": len(names)}
    assert len(names) > 1


def test_a_large_catalogue_says_that_near_duplicates_were_not_compared(made, monkeypatch):
    folder, _, _ = made
    monkeypatch.setattr("hangtag.catalogue.drawing.MOST_COMPARED", 5)
    info = synthesise_like(folder / "shop.csv", folder / "many", rows=6, size=64, workers=1)
    assert info["near_duplicates"] == {"distance": 24, "pictures": None, "compared": False}


def test_tables_of_several_files_are_learned_from_as_one(made, tmp_path):
    folder, source, _ = made
    for number in range(2):
        text = csv_text(list(source[0]), source[60 * number : 60 * number + 60])
        (tmp_path / f"part{number}.csv").write_text(text, encoding="utf-8")
    info = synthesise_like(f"{tmp_path}/part*.csv", folder / "pattern", rows=40, size=64, workers=1)
    assert info["table"] == "part*.csv"
    assert str(tmp_path) not in (folder / "pattern" / "catalogue.json").read_text()
    synthesise_like(folder / "shop.csv", folder / "one", rows=40, size=64, workers=1)
    synthesise_like(tmp_path, folder / "parts", rows=40, size=64, workers=1)
    written = {name: (folder / name / "metadata.csv").read_bytes() for name in ("pattern", "one", "parts")}
    assert written["pattern"] == written["one"] == written["parts"]


def test_a_data_set_is_learned_from(made, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder, source, _ = made
    datasets.Dataset.from_list(source).save_to_disk(tmp_path / "saved")
    synthesise_like(tmp_path / "saved", folder / "set", rows=8, size=64, workers=1)
    synthesise_like(folder / "shop.csv", folder / "eight", rows=8, size=64, workers=1)
    assert (folder / "set" / "metadata.csv").read_bytes() == (folder / "eight" / "metadata.csv").read_bytes()


def test_the_same_bytes_from_any_number_of_processes(made):
    folder, _, _ = made
    synthesise_like(folder / "shop.csv", folder / "again", size=64, workers=2)
    assert tree(folder / "again") == tree(folder / "out")


def test_pictures_show_the_colour_that_the_row_names(made):
    folder, _, _ = made
    means = {}
    for row in open_catalogue(folder / "out").rows:
        with Image.open(folder / "out" / row["file_name"]) as picture:
            middle = np.asarray(picture, float)[20:44, 20:44].reshape(-1, 3).mean(0)
        means.setdefault(row["color"], []).append(middle)
    red, green, blue, black = (np.mean(means[name], 0) for name in ("Red", "Green", "Blue", "Black"))
    assert (red - blue)[0] > 25
    assert (blue - red)[2] > 25
    assert (green - red)[1] > 10
    assert black.sum() < min(red.sum(), green.sum(), blue.sum())


def test_what_is_made_can_be_fetched_again(made, tmp_path):
    folder, _, _ = made
    info = fetch(folder / "out" / "metadata.csv", tmp_path / "fetched", image_column="file_name")
    assert info["counts"]["rows"] == 120


def test_other_columns_can_be_named(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n" + "".join(f"Thing {n} X,k{n % 3},{n + 9}\n" for n in range(40)))
    named = {"title_column": "a", "category_column": "b", "price_column": "c"}
    info = synthesise_like(tmp_path / "t.csv", tmp_path / "out", rows=3, size=64, workers=1, **named)
    assert info["pictured"] == {"title": "a", "category": "b", "price": "c"}
    with pytest.raises(TableError, match="no column 'd' for the price"):
        synthesise_like(tmp_path / "t.csv", tmp_path / "other", price_column="d")


def test_bad_input_is_refused_and_leaves_nothing(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("title,price\nOne,1\n")
    with pytest.raises(TableError, match="1 readable rows; at least 2"):
        synthesise_like(table, tmp_path / "out")
    table.write_text("title,price\n")
    with pytest.raises(TableError, match="header and no rows"):
        synthesise_like(table, tmp_path / "out")
    with pytest.raises(TableError, match="name ends in"):
        synthesise_like(tmp_path / "t.xls", tmp_path / "out")
    with pytest.raises(UsageError, match="rows is 0.*\n.*min_count is 0"):
        synthesise_like(table, tmp_path / "out", rows=0, min_count=0)
    with pytest.raises(OutputNotEmpty):
        synthesise_like(table, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["t.csv"]


def test_the_command(tmp_path):
    write_table(tmp_path / "shop.csv", rows=20)
    done = hangtag("synth", tmp_path / "out", "--like", tmp_path / "shop.csv", "--rows", "6", "--size", "64")
    assert "6 products in" in done.stdout
    assert len(open_catalogue(tmp_path / "out").rows) == 6
    done = hangtag("synth", tmp_path / "none", "--like", Path("absent.csv"), code=1)
    assert "absent.csv is missing" in done.stderr
