"""Tables: text comes back untouched from every format; a bad row is one rejected row, a bad table one clear error."""

import csv
import io
import json

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from hangtag.catalogue.table import MAX_CELL, join_tables, read_table
from hangtag.errors import TableError

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.lists(st.text("abcXYZ äß漢_1", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=4, unique=True)
in_files = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None, derandomize=True
)


@st.composite
def tables(draw):
    columns = draw(names)
    return columns, draw(st.lists(st.lists(text, min_size=len(columns), max_size=len(columns)), min_size=1, max_size=5))


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@in_files
@given(table=tables(), bom=st.booleans(), suffix=st.sampled_from([".csv", ".tsv"]))
def test_delimited_text_comes_back_untouched(tmp_path, table, bom, suffix):
    columns, rows = table
    file = io.StringIO(newline="")
    csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\r\n").writerows([columns, *rows])
    path = write(tmp_path / f"table{suffix}", b"\xef\xbb\xbf" * bom + file.getvalue().encode())
    found = read_table(path)
    assert found.columns == columns
    assert [list(row.values()) for row in found.rows] == rows
    assert (found.numbers, found.rejected) == (list(range(1, len(rows) + 1)), [])


@in_files
@given(table=tables())
def test_json_lines_come_back_untouched(tmp_path, table):
    columns, rows = table
    lines = [json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) for row in rows]
    found = read_table(write(tmp_path / "table.jsonl", "\n".join(lines)))
    assert found.columns == columns
    assert [list(row.values()) for row in found.rows] == rows


@in_files
@given(table=tables())
def test_parquet_comes_back_untouched(tmp_path, table):
    columns, rows = table
    parquet.write_table(pyarrow.table(list(zip(*rows, strict=True)), names=columns), tmp_path / "table.parquet")
    found = read_table(tmp_path / "table.parquet")
    assert found.columns == columns
    assert [list(row.values()) for row in found.rows] == rows


@in_files
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]))
def test_any_bytes_are_a_table_or_a_clear_error(tmp_path, content, suffix):
    path = write(tmp_path / f"any{suffix}", content)
    try:
        found = read_table(path)
    except TableError:
        return
    assert found.rows or found.rejected
    assert all(list(row) == found.columns for row in found.rows)


def test_json_numbers_keep_their_spelling_and_missing_keys_are_empty(tmp_path):
    lines = '{"title": "Tote", "price": 1490.00}\n\n{"title": null, "sizes": ["S", "M"], "new": true}\n'
    found = read_table(write(tmp_path / "t.jsonl", lines))
    assert found.columns == ["title", "price", "sizes", "new"]
    assert [list(row.values()) for row in found.rows] == [["Tote", "1490.00", "", ""], ["", "", '["S", "M"]', "true"]]


def test_parquet_values_as_text(tmp_path):
    columns = {
        "code": pyarrow.array([80595081, None]),
        "price": pyarrow.array([2490.0, float("nan")]),
        "narrow": pyarrow.array([2297.04, 0.1], pyarrow.float32()),
        "kind": pyarrow.array(["BAGS", None]).dictionary_encode(),
        "sizes": pyarrow.array([["S"], None]),
        "sold": pyarrow.array([True, False]),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    first, second = read_table(tmp_path / "t.parquet").rows
    assert list(first.values()) == ["80595081", "2490", "2297.04", "BAGS", '["S"]', "true"]
    assert list(second.values()) == ["", "", "0.1", "", "", "false"]


def test_a_parquet_text_that_looks_like_no_number_stays(tmp_path):
    parquet.write_table(pyarrow.table({"title": ["nan", None]}), tmp_path / "t.parquet")
    assert [row["title"] for row in read_table(tmp_path / "t.parquet").rows] == ["nan", ""]


def test_numbers_that_are_none_stay_text(tmp_path):
    found = read_table(write(tmp_path / "t.csv", 'price\nN.A.\n"1.299,00"\n'))
    assert [row["price"] for row in found.rows] == ["N.A.", "1.299,00"]


def test_a_bad_row_is_rejected_and_the_rest_goes_on(tmp_path):
    long = "x" * (MAX_CELL + 1)
    content = f'title,price\nTote,1\nBelt\n\nCap,2,3\n{long},4\n"Hat"s,5\nShoe,6\n'
    found = read_table(write(tmp_path / "t.csv", content))
    assert [row["title"] for row in found.rows] == ["Tote", "Shoe"]
    assert found.numbers == [1, 6]
    assert [(bad["row"], bad["reason"]) for bad in found.rejected] == [
        ("2", "ragged"),
        ("3", "ragged"),
        ("4", "cell-too-long"),
        ("5", "bad-quotes"),
    ]
    assert found.rejected[0]["detail"] == "1 cells under 2 columns"
    assert "line 7" in found.rejected[3]["detail"]


def test_a_cell_at_the_bound_is_read_and_the_csv_module_left_as_it_was(tmp_path):
    bound = csv.field_size_limit()
    found = read_table(write(tmp_path / "t.csv", f"a,b\n{'x' * MAX_CELL},1\n"))
    assert len(found.rows[0]["a"]) == MAX_CELL
    assert csv.field_size_limit() == bound


def test_bad_json_lines_are_rejected(tmp_path):
    lines = ['{"a": "1"}', "[1]", "{", '{"a": "\\ud800"}', '{"a": ' + "[" * 100_000, '{"a": "2"}']
    found = read_table(write(tmp_path / "t.jsonl", "\n".join(lines)))
    assert found.numbers == [1, 6]
    assert [bad["reason"] for bad in found.rejected] == ["not-json", "not-json", "not-text", "not-json"]


def test_a_nameless_column_gets_a_name(tmp_path):
    assert read_table(write(tmp_path / "t.csv", ", title\n0,Tote\n")).columns == ["column_1", "title"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\xef\xbb\xbf \n\n", "is empty"),
        ("t.csv", b"title,price\n", "a header and no rows"),
        ("t.csv", b"title,price,title\n1,2,3\n", "more than one column called 'title'"),
        ("t.csv", b"title\nCaf\xe9\n", "line 2: byte 0xe9 is not UTF-8"),
        ("t.csv", "title\nTote\n".encode("utf-16"), "byte 0xff is not UTF-8"),
        ("t.csv", b'title,price\nTote,1\n"Belt,2\nCap,3\n', "line 3: a quote is opened and never closed"),
        ("t.jsonl", b"[]\n1\n", "no JSON object in any line"),
        ("t.parquet", b"PAR1 cut", "no whole Parquet file"),
        ("t.xlsx", b"PK", ".csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_an_unusable_table_is_one_clear_error(tmp_path, name, content, words):
    with pytest.raises(TableError) as error:
        read_table(write(tmp_path / name, content))
    assert words in str(error.value)


def test_a_parquet_file_cut_in_half(tmp_path):
    parquet.write_table(pyarrow.table({"a": list(range(1000))}), tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    with pytest.raises(TableError, match="no whole Parquet file"):
        read_table(write(tmp_path / "t.parquet", whole[: len(whole) // 2]))


def test_bytes_are_apart_from_the_text_and_read_when_asked_for(tmp_path):
    columns = {
        "photo": [b"one", None, b"three"],
        "title": ["Tote", "Belt", "Cap"],
        "image": [{"bytes": b"1", "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None],
        "more": [[b"x"], [], None],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet")
    assert found.columns == ["title", "image"]
    assert [list(row.values()) for row in found.rows] == [["Tote", "a.jpg"], ["Belt", "b.jpg"], ["Cap", ""]]
    assert {name: list(blobs()) for name, blobs in found.blobs.items()} == {
        "photo": [b"one", None, b"three"],
        "image": [b"1", None, None],
    }
    assert list(found.blobs["photo"]()) == [b"one", None, b"three"]  # a second time
    assert found.left_out == ["more"]


def test_nothing_but_bytes_is_a_table_too(tmp_path):
    parquet.write_table(pyarrow.table({"photo": [b"one", b"two"]}), tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet")
    assert (found.columns, found.rows, found.numbers) == ([], [{}, {}], [1, 2])


def test_tables_are_joined_below_each_other(tmp_path):
    parquet.write_table(pyarrow.table({"photo": [b"one", b"two"], "title": ["Tote", "Belt"]}), tmp_path / "a.parquet")
    write(tmp_path / "b.csv", "title,price\nCap,1\nragged\nHat,2\n")
    parquet.write_table(pyarrow.table({"photo": [b"six"], "more": [[b"x"]]}), tmp_path / "c.parquet")
    tables = [read_table(tmp_path / name) for name in ("a.parquet", "b.csv", "c.parquet")]
    found = join_tables(tables)
    assert found.columns == ["title", "price"]
    assert [list(row.values()) for row in found.rows] == [
        ["Tote", ""],
        ["Belt", ""],
        ["Cap", "1"],
        ["Hat", "2"],
        ["", ""],
    ]
    assert found.numbers == [1, 2, 3, 5, 6]
    assert [(bad["row"], bad["reason"]) for bad in found.rejected] == [("4", "ragged")]
    assert list(found.blobs["photo"]()) == [b"one", b"two", None, None, None, b"six"]
    assert found.left_out == ["more"]


def test_no_table_at_all(tmp_path):
    with pytest.raises(TableError, match="is missing"):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableError, match="is a folder"):
        read_table(tmp_path / "folder.csv")
