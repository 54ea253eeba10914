"""fetch: every row is kept or explained, nothing outside is read, the folder appears whole or not at all."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hangtag.catalogue import gather, open_catalogue
from hangtag.catalogue.fetch import fetch
from hangtag.catalogue.gather import Bounds
from hangtag.catalogue.pictures import read_picture
from hangtag.catalogue.store import own_names
from hangtag.errors import DataError, OutputNotEmpty, TableError

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_photos = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared product photos are not here")


def shop(folder, cells, column="photo", titles=None):
    """A table with a row for each picture cell, beside a folder of ten pictures 0.png ... 9.png."""
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for number in range(10):
        Image.new("RGB", (40, 30), (20 * number, 90, 60)).save(folder / "photos" / f"{number}.png")
    with open(folder / "shop.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column, "title", "price"])
        writer.writerows([cell, titles[i] if titles else f"Tote {i}", f"{i}"] for i, cell in enumerate(cells))
    return folder / "shop.csv"


def rejected(out):
    with open(out / "rejected.csv", newline="") as file:
        return list(csv.DictReader(file))


def watched():
    """What each stage was told, by its title, and the stages to pass on."""
    seen = defaultdict(list)

    @contextmanager
    def stages(title):
        yield lambda done, total, note="": seen[title].append((done, total))

    return seen, stages


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_table_becomes_a_catalogue(tmp_path):
    table = shop(tmp_path, [f"photos/{number}.png" for number in range(10)])
    seen, stages = watched()
    info = fetch(table, tmp_path / "out", "photo", stages=stages)
    catalogue = open_catalogue(tmp_path / "out")
    assert catalogue.columns == ["photo", "title", "price"]
    assert [row["title"] for row in catalogue.rows] == [f"Tote {number}" for number in range(10)]
    assert all(catalogue.split(name) for name in ("train", "validation", "test"))
    assert read_picture(catalogue.image_path(catalogue.rows[3])).getpixel((9, 9)) == pytest.approx((60, 90, 60), abs=2)
    assert seen["reading pictures"][-1] == (10, 10)
    assert seen["reading pictures"] == sorted(seen["reading pictures"])
    assert catalogue.info == info
    assert info["options"] == {
        "image_column": "photo",
        "keys": ["title"],
        "allow_outside": False,
        "max_side": 1024,
        "obey_robots": True,
    }


def test_bad_rows_are_explained_and_the_rest_goes_on(tmp_path):
    (tmp_path / "table").mkdir()
    Image.new("RGB", (30, 30), "red").save(tmp_path / "secret.png")
    cells = [
        "photos/0.png",
        "photos/absent.png",
        "N.A.",
        "",
        "http://[::1]/1.jpg",
        "http://me:secret@shop.example/1.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "../secret.png",
        "/etc/passwd",
        "photos/cut.png",
        "photos/page.jpg",
        "photos",
        "nul\0.png",
        str(tmp_path / "table/photos/1.png"),
    ]
    table = shop(tmp_path / "table", cells)
    whole = (tmp_path / "table/photos/2.png").read_bytes()
    (tmp_path / "table/photos/cut.png").write_bytes(whole[:70])
    (tmp_path / "table/photos/page.jpg").write_text("<html>404</html>")
    with open(table, "a") as file:
        file.write("photos/3.png,a title, with a comma,3\n")
    info = fetch(table, tmp_path / "out", "photo")
    assert [row["title"] for row in open_catalogue(tmp_path / "out").rows] == ["Tote 0", "Tote 14"]
    expected = [
        "missing",
        "empty",
        "empty",
        "private",
        "bad-url",
        "scheme",
        "scheme",
        "outside",
        "outside",
        "truncated",
    ]
    expected += ["not-a-picture", "not-a-picture", "unreadable", "ragged"]
    found = rejected(tmp_path / "out")
    assert [bad["reason"] for bad in found] == expected
    assert [bad["row"] for bad in found] == [str(n) for n in [*range(2, 15), 16]]
    assert [bad["url"] for bad in found[:12]] == cells[1:13]
    assert all(bad["detail"] for bad in found)
    assert [bad["attempts"] for bad in found] == ["0"] * 3 + ["1"] + ["0"] * 5 + ["1"] * 3 + ["0"] * 2
    assert info["reasons"] == dict(Counter(expected))


def test_outside_is_read_only_when_allowed(tmp_path):
    table = shop(tmp_path / "table", ["../outside.png", "photos/link.png", "photos/0.png"])
    Image.new("RGB", (30, 30), "red").save(tmp_path / "outside.png")
    (tmp_path / "table/photos/link.png").symlink_to(tmp_path / "outside.png")
    fetch(table, tmp_path / "out", "photo")
    assert [bad["reason"] for bad in rejected(tmp_path / "out")] == ["outside", "outside"]
    fetch(table, tmp_path / "all", "photo", bounds=Bounds(allow_outside=True))
    assert rejected(tmp_path / "all") == []
    assert len(open_catalogue(tmp_path / "all").rows) == 3


def test_equal_pictures_share_one_file_and_one_split(tmp_path):
    table = shop(tmp_path, [f"photos/{number % 10}.png" for number in range(40)])
    (tmp_path / "photos/1.png").write_bytes((tmp_path / "photos/0.png").read_bytes())
    fetch(table, tmp_path / "out", "photo")
    lines = (tmp_path / "out/fetched.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 10  # a file is read once
    rows = open_catalogue(tmp_path / "out").rows
    assert len(rows) == 40
    assert len(list((tmp_path / "out/images").iterdir())) == 9
    splits = defaultdict(set)
    for row in rows:
        splits[row["file_name"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_same_table_same_bytes_whatever_the_workers(tmp_path):
    table = shop(tmp_path, [f"photos/{number}.png" for number in range(10)])
    fetch(table, tmp_path / "one", "photo", bounds=Bounds(workers=1))
    fetch(table, tmp_path / "four", "photo", bounds=Bounds(workers=4))
    assert contents(tmp_path / "one") == contents(tmp_path / "four")
    fetch(table, tmp_path / "seed", "photo", seed=1)
    assert contents(tmp_path / "one") != contents(tmp_path / "seed")


def test_keys_are_kept_together(tmp_path):
    cells = [f"photos/{number % 10}.png" for number in range(10)]
    table = shop(tmp_path, cells, titles=[f"Tote {number // 2}" for number in range(10)])
    fetch(table, tmp_path / "out", "photo")
    splits = [row["split"] for row in open_catalogue(tmp_path / "out").rows]
    assert splits[::2] == splits[1::2]
    info = fetch(table, tmp_path / "none", "photo", keys=[])
    assert info["options"]["keys"] == []
    with pytest.raises(TableError, match=r"no column 'titel'.*did you mean 'title'"):
        fetch(table, tmp_path / "typo", "photo", keys=["titel"])


def test_columns_that_an_imagefolder_would_claim_are_renamed(tmp_path):
    table = shop(tmp_path, ["photos/0.png", "photos/1.png"], column="image")
    table.write_text(table.read_text().replace("title,price", "split,back_file_name"))
    info = fetch(table, tmp_path / "out", "image", keys=["split"])
    assert info["renamed"] == {
        "image": "image_source",
        "split": "split_source",
        "back_file_name": "back_file_name_source",
    }
    catalogue = open_catalogue(tmp_path / "out")
    assert catalogue.columns == ["image_source", "split_source", "back_file_name_source"]
    assert catalogue.rows[1]["split_source"] == "Tote 1"


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="datasets is not installed")
def test_datasets_opens_what_was_fetched(tmp_path):
    table = shop(tmp_path, [f"photos/{number % 10}.png" for number in range(20)], column="image")
    info = fetch(table, tmp_path / "out", "image")
    code = """
import collections, datasets, json
found = datasets.load_dataset("imagefolder", data_dir="out", split="train")
sizes = {image.size for image in found["image"]}
print(json.dumps([found.column_names, collections.Counter(found["split"]), list(found["title"]), list(sizes)]))
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    columns, splits, titles, sizes = json.loads(done.stdout)
    assert columns == ["image", "image_source", "title", "price", "split"]
    assert splits == {name: info["counts"][name] for name in ("train", "validation", "test")}
    assert titles == [f"Tote {number}" for number in range(20)]
    assert sizes == [[40, 30]]


def test_nothing_usable_is_an_error_and_nothing_is_written(tmp_path):
    table = shop(tmp_path, ["N.A.", "", "http://127.0.0.1:9/1.jpg", "absent.png"])
    before = contents(tmp_path)
    with pytest.raises(TableError) as error:
        fetch(table, tmp_path / "out", "photo")
    assert "none of its 4 rows has a picture that can be used" in str(error.value)
    assert "2 empty, first in row 1: the row names no picture" in str(error.value)
    assert "1 private, first in row 3: 127.0.0.1 is 127.0.0.1, on a private network" in str(error.value)
    assert contents(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_an_absent_column_is_named_with_the_nearest(tmp_path):
    table = shop(tmp_path, ["photos/0.png"], column="image")
    with pytest.raises(TableError) as error:
        fetch(table, tmp_path / "out")
    assert "no column 'imageurl'" in str(error.value)
    assert "--image-column" in str(error.value)
    assert "did you mean 'image'" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_output_must_be_new_and_writable(tmp_path):
    table = shop(tmp_path, ["photos/0.png"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(OutputNotEmpty):
        fetch(table, tmp_path / "full", "photo")
    with pytest.raises(DataError, match="cannot be written"):
        fetch(table, table / "out", "photo")
    assert os.listdir(tmp_path / "full") == ["file"]


def test_an_interruption_leaves_what_is_complete_and_the_next_run_goes_on(tmp_path, monkeypatch):
    table = shop(tmp_path, [f"photos/{number}.png" for number in range(10)])
    fetch(table, tmp_path / "unbroken", "photo", bounds=Bounds(workers=1))

    @contextmanager
    def interrupt(title):
        def progress(done, total, note=""):
            if done == 3:
                raise KeyboardInterrupt

        yield progress

    with pytest.raises(KeyboardInterrupt):
        fetch(table, tmp_path / "out", "photo", bounds=Bounds(workers=1), stages=interrupt)
    assert not (tmp_path / "out/metadata.csv").exists()
    with pytest.raises(TableError, match="is not finished; run the same `hangtag fetch` again"):
        open_catalogue(tmp_path / "out")
    (tmp_path / "out/images/.half.tmp").write_bytes(b"half")
    with open(tmp_path / "out/fetched.jsonl", "a") as file:
        file.write('{"place": "file:1", "file_na')
    read = []
    original = gather._Keeper.__call__
    monkeypatch.setattr(gather._Keeper, "__call__", lambda *its: read.append(its[1]) or original(*its))
    fetch(table, tmp_path / "out", "photo", bounds=Bounds(workers=1))
    assert 0 < len(read) < 10
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")


@needs_photos
@pytest.mark.parametrize(
    ("table", "rows", "pictures"), [("luma/table_color_variants.csv", 469, 461), ("eshop/table.csv", 101, 101)]
)
def test_real_photos(tmp_path, table, rows, pictures):
    info = fetch(SHARED / table, tmp_path / "out", "image")
    catalogue = open_catalogue(tmp_path / "out")
    assert (len(catalogue.rows), info["counts"]["rejected"]) == (rows, 0)
    assert len(list((tmp_path / "out/images").iterdir())) <= pictures
    titles = defaultdict(set)
    for row in catalogue.rows:
        titles[row["title"].casefold()].add(row["split"])
    assert all(len(found) == 1 for found in titles.values())
    assert json.loads((tmp_path / "out/catalogue.json").read_text())["counts"]["train"] == pytest.approx(
        0.8 * rows, abs=6
    )


def test_fetch_needs_no_torch(tmp_path):
    table = shop(tmp_path, ["photos/0.png", "http://127.0.0.1:9/x"])
    (tmp_path / "torch.py").write_text("raise ImportError('torch must not be needed')")
    (tmp_path / "transformers.py").write_text("raise ImportError('transformers must not be needed')")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from hangtag.catalogue.fetch import fetch
fetch({str(table)!r}, "out", "photo")
import datasets
datasets.Dataset.from_dict({{"photo": ["photos/1.png"]}}).save_to_disk("set")
from hangtag.catalogue.source import open_source
assert open_source("set").table.rows == [{{"photo": "photos/1.png"}}]
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@settings(deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["image", "split", "file_name", "image_source", "a_file_name", "x_file_names", "image_source_source"]
            ),
            st.text(min_size=1, max_size=8),
        ),
        unique=True,
        max_size=12,
    )
)
def test_names_of_columns_stay_apart_and_are_never_the_imagefolder_s_own(columns):
    names = own_names(columns)
    assert list(names) == columns
    assert len(set(names.values())) == len(columns)
    for name, own in names.items():
        assert own == name or own.startswith(f"{name}_source")
        assert own not in ("image", "split", "file_name", "file_names")
        assert not own.endswith(("_file_name", "_file_names"))
