"""A catalogue's figures against slow obvious ones, and what is said of tables of any kind."""

import csv
import json
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hangtag.catalogue import open_catalogue
from hangtag.catalogue.columns import choose_roles, describe_columns
from hangtag.catalogue.description import MOST_SIZES, describe, describe_pictures
from hangtag.catalogue.facts import PictureFacts
from hangtag.catalogue.groups import NEAR
from hangtag.catalogue.products import OTHERS
from hangtag.catalogue.split import fold
from hangtag.catalogue.spread import cut, histogram, number, spread
from hangtag.errors import TableError

steady = settings(deadline=None, derandomize=True, max_examples=60)


def columns_of(**values):
    rows = [dict(zip(values, cells, strict=True)) for cells in zip(*values.values(), strict=True)]
    return {each.name: each for each in describe_columns(list(values), rows)}


def roles_of(**values):
    return choose_roles(list(columns_of(**values).values()))


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("weight", ["1", "2.5", "1e3", "", "7"], "number"),
        ("weight", [*map(str, range(99)), "heavy"], "number"),
        ("weight", ["1", "2", "heavy", "light"], "text"),
        ("product_code", [f"{26_000_000 + 7 * place}" for place in range(40)], "identifier"),
        ("product_code", ["1", "2"] * 20, "number"),
        ("sku", [f"MH{place:02}" for place in range(40)] * 2, "identifier"),
        ("brand", ["Daybird", "Raptor", "Zephyr"] * 6, "category"),
        ("title", ["Tote"] * 10 + ["Belt"] * 10, "text"),
        ("words", [f"A long sentence {place}" for place in range(20)], "text"),
        ("day", ["2023-11-17", "2023-11-18", "2023-11-19T10:00", ""], "date"),
        ("day", ["17.11.2023", "18.11.2023"], "date"),
        ("link", ["https://shop.example/1", "http://shop.example/2"], "URL"),
        ("image", ["images/a.jpg", "images/b.PNG"], "path"),
        ("flag", ["0"] * 9, "constant"),
        ("flag", ["N.A.", "", "-"], "empty"),
        ("only", ["12"], "number"),
    ],
)
def test_a_columns_kind_follows_from_its_values(name, values, kind):
    assert columns_of(**{name: values})[name].kind == kind


@steady
@given(st.lists(st.sampled_from(["", "N.A.", " n/a ", "-", "Tote", "tote", "Belt", "12", "1,5"]), min_size=1))
def test_missing_and_different_values_are_counted_by_fold(values):
    found = columns_of(cell=values)["cell"]
    assert found.missing == sum(fold(each) == "" for each in values)
    assert found.distinct == len({each for each in values if fold(each)})
    assert all(values.count(text) == count for text, count in found.frequent)


@steady
@given(st.lists(st.floats(-1e15, 1e15, allow_nan=False), min_size=1, max_size=40), st.booleans())
def test_spread_and_histogram_hold_every_number(values, whole):
    values = [float(round(each)) for each in values] if whole else values
    lies, bars = spread(values), histogram(values, whole=whole)
    assert (lies.low, lies.high, lies.count) == (min(values), max(values), len(values))
    assert lies.median == pytest.approx(statistics.median(values), rel=1e-9, abs=1e-9)
    assert sum(bars.counts) == len(values)
    assert len(bars.edges) == len(bars.counts) + 1 <= 26
    assert all(low < high for low, high in zip(bars.edges, bars.edges[1:], strict=False))


@pytest.mark.parametrize("text", ["1e300", "-1e16", "nan", "inf", "1,299.00", "", "12 USD"])
def test_what_is_no_plain_number_of_this_world_is_none(text):
    assert number(text) is None


def test_roles_are_found_by_name_and_kind():
    burberry = {
        "category1_code": ["MAN", "WOMAN"] * 10,
        "category2_code": ["BAGS", "TOPS", "SHOES", "BELTS"] * 5,
        "category3_code": [f"SORT {place % 8}" for place in range(20)],
        "currency_code": ["USD"] * 20,
        "title": [f"Bag {place}" for place in range(20)],
        "price": [f"{place}" for place in range(20)],
        "full_price": [f"{place}.50" for place in range(20)],
    }
    roles = roles_of(**burberry)
    assert (roles.title, roles.category, roles.price, roles.currency) == (
        "title",
        "category3_code",
        "full_price",
        "USD",
    )
    assert roles.levels == ["category1_code", "category2_code", "category3_code"]
    assert roles.separator is None
    paths = ["Men/Tops/Tees", "Men/Tops/Tanks", "Women/Tops/Tees"] * 8
    roles = roles_of(name=[f"Thing {place}" for place in range(24)], category=["Tees", "Tanks"] * 12, path=paths)
    assert (roles.title, roles.category, roles.levels, roles.separator) == ("name", "category", ["path"], "/")
    roles = roles_of(number=["1", "2"], other=["3", "4"])
    assert (roles.title, roles.category, roles.price, roles.levels) == (None, None, None, [])


def test_an_unknown_column_is_an_error_with_the_nearest_name():
    with pytest.raises(TableError, match="no column 'titel' .given as --title.; did you mean 'title'"):
        choose_roles(list(columns_of(title=["a", "b"]).values()), title="titel")


def test_very_many_picture_sizes_are_rounded_and_none_is_lost():
    facts = [PictureFacts(100 + place, 5000 - place, 1000 + place, "") for place in range(3000)]
    found = describe_pictures(facts)
    assert found.distinct_sizes == 3000
    assert len(found.sizes) <= MOST_SIZES
    assert sum(count for *_, count in found.sizes) == found.files == 3000
    assert found.rounded_to > 1
    assert describe_pictures(facts[:5]).sizes == [(100 + place, 5000 - place, 1) for place in range(5)]


def picture(path, seed):
    noise = np.random.default_rng(seed).integers(0, 255, (12, 9, 3), np.uint8)
    Image.fromarray(noise).resize((90, 120)).save(path, quality=90)


def make(folder, rows, columns=("title", "price", "split")):
    """An imagefolder with a picture for each row."""
    (folder / "images").mkdir(parents=True)
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", *columns])
        for place, row in enumerate(rows):
            picture(folder / f"images/{place}.jpg", place)
            writer.writerow([f"images/{place}.jpg", *row])
    return open_catalogue(folder)


def describe_folder(catalogue):
    refused = {}
    facts = catalogue.picture_facts(refused=refused)
    return describe(catalogue, facts, refused)


def test_a_split_made_at_random_leaks_and_a_copied_picture_is_seen(tmp_path):
    generator = np.random.default_rng(0)
    rows = [(f"Tee {place % 8}", place, generator.choice(["train", "test"])) for place in range(40)]
    catalogue = make(tmp_path / "random", rows)
    found = describe_folder(catalogue).groups
    both = [title for title in range(8) if len({split for _, place, split in rows if place % 8 == title}) == 2]
    assert found.crossing == len(found.leaks) == len(both) > 4
    rows = [(f"Tee {place}", place, "train" if place else "test") for place in range(12)]
    catalogue = make(tmp_path / "copied", rows)
    assert describe_folder(catalogue).groups.crossing == 0
    with Image.open(catalogue.path / "images/0.jpg") as original:
        original.resize((60, 80)).save(catalogue.path / "images/7.jpg", quality=60)
    found = describe_folder(open_catalogue(catalogue.path)).groups
    assert found.crossing == 1
    assert found.leaks[0].rows == [0, 7]
    assert [tie.kind for tie in found.leaks[0].ties] == [NEAR]


def test_an_unreadable_picture_is_named_and_the_rest_described(tmp_path):
    catalogue = make(tmp_path / "shop", [("Tee", 5, "train"), ("Cap", 6, "train"), ("Hat", 7, "test")])
    (catalogue.path / "images/1.jpg").write_bytes(b"<html>")
    found = describe_folder(catalogue)
    assert (found.pictures.files, found.refused_count) == (2, 1)
    assert "a web page" in found.refused["images/1.jpg"]
    assert found.epochs[0].pictures == 1
    for name in ("0", "2"):
        (catalogue.path / f"images/{name}.jpg").write_bytes(b"")
    assert describe_folder(catalogue).pictures is None


def test_facts_that_cannot_be_a_pictures_are_measured_anew(tmp_path):
    catalogue = make(tmp_path / "shop", [("Tee", 5, "train")])
    (catalogue.path / "images/0.jpg").rename(catalogue.path / f"images/{'0' * 32}.jpg")
    table = catalogue.path / "metadata.csv"
    table.write_text(table.read_text().replace("images/0.jpg", f"images/{'0' * 32}.jpg"))
    size = (catalogue.path / f"images/{'0' * 32}.jpg").stat().st_size
    sound = {"width": 640, "height": 480, "hash": "0" * 64}
    for change, width in (
        ({}, 640),
        ({"width": 0}, 90),
        ({"width": "640"}, 90),
        ({"height": 10**9}, 90),
        ({"hash": "zz"}, 90),
    ):
        line = {"place": "x", "file_name": f"images/{'0' * 32}.jpg", "bytes": size, **sound, **change}
        (catalogue.path / "fetched.jsonl").write_text(json.dumps(line) + "\n")
        assert describe_folder(open_catalogue(catalogue.path)).pictures.widths.median == width, change


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ([], [()]),
        ([], [()] * 5),
        (["split"], [("test",)] * 3),
        (["number"], [("7",)]),
        (["title", "price"], [("", "")] * 4),
        (["price"], [("0",), ("-1",)]),
        (["category"], [("A",)]),
    ],
)
def test_any_table_has_a_description(tmp_path, columns, rows):
    found = describe_folder(make(tmp_path / "shop", rows, columns))
    assert found.rows == len(rows) == found.pictures.files
    assert sum(found.splits.values()) == len(rows)
    assert found.epochs[0].pictures == (found.splits["train"] or len(rows))


def test_rejected_rows_are_counted_by_reason_and_a_damaged_list_is_said(tmp_path):
    catalogue = make(tmp_path / "shop", [("Tee", 5, "train")])
    path = catalogue.path / "rejected.csv"
    header = "row,url,reason,detail,attempts\n"
    path.write_text(header)
    assert (describe_folder(catalogue).rejected, describe_folder(catalogue).rejected_problem) == ([], "")
    path.write_text(
        header + "".join(f"{row},x,{'missing' if row % 3 else 'truncated'},{'d' * 999},1\n" for row in range(9))
    )
    found = describe_folder(catalogue).rejected
    assert [(each.reason, each.count) for each in found] == [("missing", 6), ("truncated", 3)]
    assert [row["row"] for row in found[0].examples] == ["1", "2", "4"]
    assert len(found[0].examples[0]["detail"]) == 200
    path.write_text(header + "".join(f"{row},x,reason {row},,1\n" for row in range(500)))
    found = describe_folder(catalogue).rejected
    assert (len(found), found[-1].reason, sum(each.count for each in found)) == (21, OTHERS, 500)
    path.write_bytes(header.encode() + b"1,\xff\xfe,c,d,1\n")
    assert "is not UTF-8" in describe_folder(catalogue).rejected_problem


def test_a_long_text_is_cut_to_one_line():
    assert cut("a \n b") == "a b"
    assert len(cut("word " * 100_000)) == 100
