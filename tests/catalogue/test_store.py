"""Catalogues on disk: what is written is opened again, also by `datasets`; a damaged one is refused in one message."""

import csv

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hangtag.catalogue import open_catalogue
from hangtag.catalogue.pictures import encode_picture
from hangtag.catalogue.split import SPLITS, assign_splits
from hangtag.catalogue.store import image_name, write_catalogue
from hangtag.errors import DataError, TableError

COLUMNS = ["title", "price"]


def make(folder, count=10):
    """A catalogue of `count` rows with a picture each, but for the last two rows, which share one."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(count):
        data = encode_picture(Image.new("RGB", (8, 6), (min(number, count - 2) * 9, 50, 90)))
        (folder / image_name(data)).write_bytes(data)
        row = {"title": f"Tote {number}", "price": f"{number * 10}", "file_name": image_name(data)}
        rows.append({**row, "split": SPLITS[max(0, number - count + 3)]})
    bad = {"row": "3", "url": "x.jpg", "reason": "missing", "detail": "x.jpg is missing", "attempts": "1"}
    info = write_catalogue(folder, COLUMNS, rows, [bad], {"source": "test", "seed": 0})
    return rows, info


def test_what_is_written_is_opened_again(tmp_path):
    rows, info = make(tmp_path)
    found = open_catalogue(tmp_path)
    assert found.columns == COLUMNS
    assert found.rows == rows
    assert found.info == info
    assert info["counts"] == {"rows": 10, "train": 8, "validation": 1, "test": 1, "rejected": 1}
    assert [row["title"] for row in found.split("test")] == ["Tote 9"]
    assert found.image_path(found.rows[0]).is_file()
    with open(tmp_path / "metadata.csv", newline="") as file:
        assert next(csv.reader(file)) == ["file_name", "title", "price", "split"]
    assert (
        tmp_path / "rejected.csv"
    ).read_text() == "row,url,reason,detail,attempts\n3,x.jpg,missing,x.jpg is missing,1\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), min_size=1))
def test_any_text_survives(tmp_path, cells):
    (tmp_path / "images").mkdir(exist_ok=True)
    (tmp_path / "images/a.jpg").touch()
    rows = [dict(zip(COLUMNS, row, strict=True)) | {"file_name": "images/a.jpg", "split": "train"} for row in cells]
    write_catalogue(tmp_path, COLUMNS, rows, [], {})
    assert open_catalogue(tmp_path).rows == rows


def test_names_follow_from_content():
    assert (
        image_name(b"abc") == "images/ba7816bf8f01cfea414140de5dae2223.jpg"
    )  # the SHA-256 of FIPS 180-2, appendix B.1
    assert image_name(b"abc", ".png") == "images/ba7816bf8f01cfea414140de5dae2223.png"


def test_absent_columns_are_named_with_the_nearest(tmp_path):
    make(tmp_path)
    catalogue = open_catalogue(tmp_path)
    catalogue.require_columns(["price", "title"])
    with pytest.raises(TableError) as error:
        catalogue.require_columns(["titel", "price", "weight"])
    assert "no column 'titel'; did you mean 'title'?" in str(error.value)
    assert "no column 'weight'" in str(error.value)


def test_a_plain_imagefolder_opens_with_splits_of_our_own(tmp_path):
    rows, _ = make(tmp_path)
    (tmp_path / "catalogue.json").unlink()
    lines = [f"{row['file_name']},{row['title']}" for row in rows]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,title", *lines]))
    found = open_catalogue(tmp_path)
    assert (found.columns, found.info) == (["title"], {})
    assert [row["split"] for row in found.rows] == assign_splits([{**row, "price": ""} for row in rows])
    assert found.rows[-1]["split"] == found.rows[-2]["split"]  # one picture


def test_all_problems_come_in_one_message(tmp_path):
    rows, _ = make(tmp_path)
    (tmp_path / rows[0]["file_name"]).unlink()
    names = ["../out.jpg", "/etc/passwd", "a/../../b.jpg", "C:\\x.jpg", "", "\\\\host\\x.jpg", "file:///etc/passwd"]
    with open(tmp_path / "metadata.csv", "a", newline="") as file:
        csv.writer(file).writerows([[name, "t", "1", "train"] for name in names])
        csv.writer(file).writerows([[rows[1]["file_name"], "t", "1", "dev"], ["too", "short"]])
    with pytest.raises(TableError) as error:
        open_catalogue(tmp_path)
    message = str(error.value)
    assert "make it again or mend metadata.csv" in message
    assert "1 rows that cannot be read: 'row 19: 2 cells under 4 columns'" in message
    assert "7 file names that lead outside: '../out.jpg'" in message
    assert "\\\\host" not in message  # five examples are enough
    assert f"1 pictures that are missing: '{rows[0]['file_name']}'" in message
    assert "1 splits other than train, validation, test: 'dev'" in message


def test_what_is_no_catalogue_is_refused(tmp_path):
    with pytest.raises(TableError, match="is no folder; make a catalogue with `hangtag synth`"):
        open_catalogue(tmp_path / "absent")
    with pytest.raises(TableError, match=r"has no metadata\.csv"):
        open_catalogue(tmp_path)
    (tmp_path / "metadata.csv").write_text("filename,title\na.jpg,Tote\n")
    with pytest.raises(TableError, match="no column 'file_name'; did you mean 'filename'"):
        open_catalogue(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "cannot be read as JSON"), ("[]", "no JSON object"), ('{"version": 2}', "of version 2")],
)
def test_a_damaged_catalogue_json_is_refused(tmp_path, content, words):
    make(tmp_path)
    (tmp_path / "catalogue.json").write_text(content)
    with pytest.raises(DataError, match=words):
        open_catalogue(tmp_path)
