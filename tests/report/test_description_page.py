"""The page about a catalogue: it parses, holds every part, loads nothing, escapes everything, and stays small."""

import csv
import json
import re

import numpy as np
import pytest
from conftest import hangtag
from pages import Page
from PIL import Image

from hangtag.errors import TableError
from hangtag.report import describe as describing
from hangtag.report.describe import description_json, look_at, write_description
from hangtag.report.thumbnails import Album
from hangtag.report.words import duration, share, weight

HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'> {{ 7919 * 7907 }}"""
PARTS = "columns prices categories titles pictures cost splits duplicates rejected gallery"
SECTIONS = set(PARTS.split())


def page_of(folder, out=None, **roles):
    return write_description(*look_at(folder, **roles), out).read_text(encoding="utf-8")


def write_shop(folder, columns, rows, sides=(40, 30)):
    """An imagefolder with a noisy picture for each row; returns its folder."""
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", *columns])
        for place, row in enumerate(rows):
            noise = generator.integers(0, 255, (sides[1], sides[0], 3), np.uint8)
            Image.fromarray(noise).save(folder / f"images/{place}.jpg", quality=90)
            writer.writerow([f"images/{place}.jpg", *row])
    return folder


def words(html):
    """The page's text, which must parse and must load nothing from elsewhere."""
    page = Page(html)
    assert not page.tags["script"] + page.tags["link"] + page.tags["iframe"]
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name == "href":
            assert value.startswith("#")
        elif name in ("src", "srcset", "data", "action", "poster"):
            assert value.startswith("data:image/webp;base64,")
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for value in page.values("a", "href")} == SECTIONS == set(ids)
    assert set(page.values("section", "aria-labelledby")) == set(ids)
    assert not re.search(r"url\(|@import|https?:", re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1])
    assert len(page.values("img", "alt")) == page.tags["img"]
    assert all(page.values("img", "alt"))
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b(?!: no row)", page.text)
    return page


@pytest.fixture(scope="module")
def shop_page(shop, tmp_path_factory):
    return page_of(shop.path, tmp_path_factory.mktemp("page") / "shop.html")


def test_every_part_is_there(shop_page, shop):
    page = words(shop_page)
    for heading in ("Columns", "Prices", "Categories", "Titles", "Pictures", "Splits and leaks", "Gallery"):
        assert heading in page.words
    assert f"{len(shop.rows)} rows in 9 categories on 200 pictures" in page.text
    assert "All pictures are 200 × 240 pixels." in page.text
    labels = page.values("svg", "aria-label")
    for start in ("Prices of 200 rows in 9 categories", "Tree of categories", "words of 200 rows", "Width and height"):
        assert any(label.startswith(start) for label in labels), start
    assert page.tags["img"] > 40
    assert "prefers-color-scheme: dark" in shop_page
    assert {"train", "validation", "test"} <= set(page.words)


def test_a_shop_divided_by_row_leaks_and_is_told_so(shop_page):
    page = words(shop_page)
    counts = re.search(r"([\d,]+) groups, ([\d,]+) cross a split", page.text)
    assert int(counts[2]) > 10
    assert "the scores of this catalogue would flatter" in page.text
    assert shop_page.count('class="group leak"') == min(20, int(counts[2]))
    assert "✗" in page.text


def test_an_invented_catalogue_proves_that_no_group_crosses(small_catalogue, tmp_path):
    page = words(page_of(small_catalogue, tmp_path / "page.html"))
    assert re.search(r"\d+ groups, 0 cross a split", page.text)
    assert "would flatter" not in page.text
    assert "the same product_code" in page.text
    assert "✗" not in page.text


def test_tokens_and_cost_are_those_of_the_pictures(shop_page):
    text = words(shop_page).text
    assert re.search(r"\b1 313 20\b|\b1 313 [\d,]+", text)
    assert re.search(r"\b4 7\d\d [\d,]+ ", text)
    assert "no measurement" in text


def test_hostile_text_is_only_text(tmp_path):
    columns = ["title", "category", "price", HOSTILE, "split"]
    rows = [(HOSTILE, f"{HOSTILE}/{place % 3}", place, f"{HOSTILE}{place}", "train") for place in range(12)]
    folder = write_shop(tmp_path / "<b>shop", columns, rows)
    (folder / "rejected.csv").write_text(
        f'row,url,reason,detail\n1,<b>,<i>x</i>,"{HOSTILE.replace(chr(34), chr(34) * 2)}"\n'
    )
    (folder / "catalogue.json").write_text(json.dumps({"source": HOSTILE}))
    (folder / "images/3.jpg").write_text(HOSTILE)
    page = words(page_of(folder))
    assert "alert(1)" in page.text
    assert "{{ 7919 * 7907 }}" in page.text
    assert str(7919 * 7907) not in page.text
    assert page.tags["b"] == 1  # the sign beside the verdict
    assert "<i>x</i>" in page.text


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ([], [()]),
        (["split"], [("test",), ("test",)]),
        (["number"], [("7",)]),
        (["price"], [("0",), ("-1",)]),
        (["price"], [("1e-320",), ("1e300",), ("3",)]),
        (["title", "category", "price"], [("", "", "")] * 3),
        (["title", "category", "price"], [("A", "a > b", "5"), ("B", "a > c", "5"), ("C", "a > c", "5")]),
        ([f"column {place}" for place in range(130)], [tuple(range(130))] * 2),
        (["title " + "x" * 90_000, "category " + "y" * 90_000], [("a" * 200_000, "b"), ("c", "d / " * 50_000)] * 3),
    ],
)
def test_any_table_has_a_page(tmp_path, columns, rows):
    html = page_of(write_shop(tmp_path / "shop", columns, rows))
    assert f"{len(rows)} row" in words(html).text
    assert len(html) < 150_000


def test_a_shop_without_a_readable_picture_has_a_page(tmp_path):
    folder = write_shop(tmp_path / "shop", ["title"], [("Tee",), ("Cap",)])
    for place in range(2):
        (folder / f"images/{place}.jpg").write_bytes(b"")
    page = words(page_of(folder))
    assert "No picture can be read." in page.text
    assert "2 pictures cannot be read" in page.text
    assert not page.tags["img"]


def test_a_large_table_has_a_small_page(tmp_path, monkeypatch):
    monkeypatch.setattr("hangtag.report.description.PICTURE_BYTES", 300_000)
    rows = [
        (f"Thing {place % 90} {'x' * 300}", f"part {place % 7}/shelf {place % 400}", 1 + place) for place in range(900)
    ]
    folder = write_shop(tmp_path / "shop", ["title", "category", "price"], rows, sides=(64, 64))
    html = page_of(folder)
    page = words(html)
    assert len(html) < 1_400_000
    assert sum(map(len, page.values("img", "src"))) <= 300_000
    assert sum(page.tags.values()) < 9_000
    assert "left out" in page.text
    assert "870 smaller categories are pooled" in page.text


def test_an_album_counts_what_it_leaves_out(tmp_path):
    folder = write_shop(tmp_path / "shop", [], [()] * 3)
    album = Album(folder, 100_000)
    size = len(album.thumbnail("images/0.jpg"))
    assert album.room == 100_000 - size
    assert album.thumbnail("images/gone.jpg") is None
    album = Album(folder, size - 1)
    assert album.thumbnail("images/0.jpg") is None
    assert album.left_out == 1


def test_roles_can_be_named(tmp_path):
    rows = [(f"Tee {place}", place + 1, 100 + place, "red" if place % 2 else "blue") for place in range(20)]
    folder = write_shop(tmp_path / "shop", ["title", "price", "worth", "colour"], rows)
    assert "price by colour" in words(page_of(folder)).text
    assert "worth by title" in words(page_of(folder, price="worth", category="title")).text
    with pytest.raises(TableError, match="no column 'wroth'; did you mean 'worth'"):
        look_at(folder, price="wroth")


def test_the_facts_are_json(shop):
    facts = json.loads(description_json(look_at(shop.path)[0]))
    assert (facts["rows"], facts["pictures"]["files"]) == (200, 200)
    assert facts["roles"]["price"] == "full_price"
    assert [each["num_crops"] for each in facts["epochs"]] == [1, 4, 16]


def test_the_command_writes_one_page_and_nothing_else(small_catalogue, tmp_path):
    before = sorted(each.name for each in small_catalogue.iterdir())
    facts = json.loads(hangtag("describe", small_catalogue, "--json").stdout)
    assert facts["groups"]["crossing"] == 0
    assert sorted(each.name for each in small_catalogue.iterdir()) == before
    done = hangtag("describe", small_catalogue)
    assert describing.PAGE in done.stdout
    assert sorted(each.name for each in small_catalogue.iterdir()) == sorted([*before, describing.PAGE])
    (small_catalogue / describing.PAGE).unlink()
    assert "no column 'titel'" in hangtag("describe", small_catalogue, "--title-column", "titel", code=1).stderr
    assert "is no folder" in hangtag("describe", tmp_path / "gone", code=1).stderr


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (share(0, 9), "0\u00a0%"),
        (share(1, 100_000), "< 0.1\u00a0%"),
        (share(99_999, 100_000), "> 99.9\u00a0%"),
        (share(1, 3), "33.3\u00a0%"),
        (weight(999), "999\u00a0bytes"),
        (weight(2_420_000_000), "2.42\u00a0GB"),
        (duration(6.44), "6.4\u00a0s"),
        (duration(1254), "20.9\u00a0min"),
        (duration(400_000), "4.63\u00a0days"),
    ],
)
def test_figures_are_said_in_their_own_unit(made, said):
    assert made == said
