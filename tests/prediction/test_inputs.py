"""What predict is given, as rows in order."""

import pickle

import pyarrow
import pytest
from pyarrow import parquet

from hangtag.errors import DataError, TableError, UsageError
from hangtag.prediction.inputs import Choice, open_inputs


def places(inputs, start=0, stop=10_000):
    return [(each.where, *each.pictures, *filter(None, [each.refused])) for each in inputs.rows(start, stop)]


@pytest.fixture
def shop(tmp_path):
    for name in ("b/2.JPG", "b/1.png", "b/.hidden/3.png", "b/notes.txt", "a.webp", "odd.name", "out.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_files_folders_and_patterns_are_found_in_order_and_hidden_ones_left_out(shop):
    inputs = open_inputs([f"{shop}/odd.name", f"{shop}/b", f"{shop}/b/1.png", f"{shop}/*.webp"], Choice())
    names = [where["path"].removeprefix(f"{shop}/") for where, _ in places(inputs)]
    assert names == ["odd.name", "b/1.png", "b/2.JPG", "a.webp"]
    assert inputs.columns == ["path"]
    assert [name for name, _ in places(inputs, 1, 3)] == [{"path": f"{shop}/b/1.png"}, {"path": f"{shop}/b/2.JPG"}]


def test_what_is_not_there_is_named_all_at_once(shop):
    with pytest.raises(UsageError, match=r"x\.jpg, .*y/\*\.png"):
        open_inputs([f"{shop}/x.jpg", f"{shop}/a.webp", f"{shop}/y/*.png"], Choice())
    (shop / "empty").mkdir()
    with pytest.raises(DataError, match=r"no pictures found; files that end in .*\.webp"):
        open_inputs([f"{shop}/empty"], Choice())
    with pytest.raises(UsageError, match="did you mean 'train'"):
        open_inputs([f"{shop}/b"], Choice(split="trian"))


def test_a_table_keeps_its_rows_numbers_and_columns_and_a_bad_row_its_place(shop):
    table = shop / "b" / "shop.csv"
    table.write_text("sku,photo\nA,1.png\nB\nC,https://shop.example/c.jpg\nD,../out.jpg\nE,\nF,ftp://x/y\n")
    inputs = open_inputs([str(table)], Choice("photo", keep=["sku"]))
    found = places(inputs)
    assert inputs.columns == ["row", "path", "url"]
    assert found[0] == ({"row": 1, "path": "1.png", "columns": {"sku": "A"}}, shop / "b" / "1.png")
    assert found[1] == ({"row": 2}, "1 cells under 2 columns")
    assert found[2][0]["url"] == found[2][1] == "https://shop.example/c.jpg"
    assert "--allow-outside" in found[3][1]
    assert found[4][1:] == ("the row names no picture",)
    assert "ftp: is not read" in found[5][1]
    outside = open_inputs([str(table)], Choice("photo", allow_outside=True))
    assert places(outside, 3, 4) == [({"row": 4, "path": "../out.jpg"}, shop / "out.jpg")]
    with pytest.raises(TableError, match=r"no column 'imageurl' \(choose the pictures' column with --image-column\)"):
        open_inputs([str(table)], Choice())
    with pytest.raises(TableError, match=r"no column 'skew' \(--keep\); did you mean 'sku'"):
        open_inputs([str(table)], Choice("photo", keep=["skew"]))


def test_bytes_of_a_parquet_table_are_read_from_any_window_also_by_another_process(shop):
    table = shop / "shop.parquet"
    parquet.write_table(pyarrow.table({"photo": [b"one", None, b"three", b"four"]}), table, row_group_size=2)
    inputs = open_inputs([str(table)], Choice("photo"))
    assert [each[1] for each in places(inputs)] == [b"one", "the row names no picture", b"three", b"four"]
    assert places(inputs, 2, 4) == [({"row": 3}, b"three"), ({"row": 4}, b"four")]
    assert places(pickle.loads(pickle.dumps(inputs)), 2, 3) == [({"row": 3}, b"three")]


def test_a_catalogues_rows_follow_the_recipes_pictures_and_a_split_can_be_chosen(shop):
    (shop / "metadata.csv").write_text(
        "file_name,back,split\nb/1.png,b/2.JPG,test\nb/2.JPG,,train\n../x.png,,train\nb/gone.png,,validation\n"
    )
    inputs = open_inputs([str(shop)], Choice(pictures=["file_name", "back"]))
    found = places(inputs)
    assert found[0] == ({"row": 1, "path": "b/1.png"}, shop / "b/1.png", shop / "b/2.JPG")
    assert found[1] == ({"row": 2, "path": "b/2.JPG"}, shop / "b/2.JPG")
    assert "leads out" in found[2][1]
    assert found[3] == ({"row": 4, "path": "b/gone.png"}, shop / "b/gone.png")
    test = open_inputs([str(shop)], Choice(split="validation"))
    assert [where["row"] for where, *_ in places(test)] == [4]


def test_a_list_names_paths_and_urls_and_inputs_can_be_mixed(shop):
    for name, column in (("one.csv", "imageurl"), ("two.tsv", "imageurl")):
        (shop / name).write_text(f"{column}\nb/1.png\n")
    names = [f"{shop}/a.webp", "-", f"{shop}/one.csv", f"{shop}/two.tsv", "https://shop.example/d.jpg"]
    inputs = open_inputs(names, Choice(), [f"{shop}/gone.jpg\n", "\n", "http://shop.example/c.jpg\n"])
    assert len(inputs) == 6
    assert inputs.columns == ["table", "row", "path", "url"]
    where = [each for each, *_ in places(inputs)]
    assert where[:3] == [
        {"path": f"{shop}/a.webp"},
        {"path": f"{shop}/gone.jpg"},
        {"url": "http://shop.example/c.jpg"},
    ]
    assert [each["table"] for each in where[3:5]] == [f"{shop}/one.csv", f"{shop}/two.tsv"]
    assert where[5] == {"url": "https://shop.example/d.jpg"}
    assert [each for start in range(6) for each in places(inputs, start, start + 1)] == places(inputs)


def test_other_inputs_have_another_digest(shop):
    def digest(*names, choice=None):
        return open_inputs([f"{shop}/{name}" for name in names], choice or Choice()).digest()

    before = digest("a.webp", "odd.name")
    assert before == digest("a.webp", "odd.name") != digest("odd.name", "a.webp")
    (shop / "a.webp").write_text("changed")
    assert digest("a.webp", "odd.name") != before
    (shop / "shop.csv").write_text("imageurl,sku\nb/1.png,A\n")
    assert digest("shop.csv") != digest("shop.csv", choice=Choice(keep=["sku"]))
