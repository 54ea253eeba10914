"""metadata.csv of a large table: the bytes that the row-by-row writer gives."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangtag.catalogue.like import writing
from hangtag.catalogue.like.sampling import Drawn
from hangtag.catalogue.like.texts import strings
from hangtag.catalogue.like.writing import write_rows
from hangtag.catalogue.split import SPLITS
from hangtag.catalogue.store import csv_text

cells = st.text(st.characters(exclude_categories=["Cs"])) | st.text("a\",\r\n\t'; é\x00", max_size=6)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None, derandomize=True
)
@given(st.lists(st.tuples(cells, cells, st.sampled_from(SPLITS)), max_size=12), st.sampled_from(["text", "path"]))
def test_the_bytes_are_those_of_csv_text(tmp_path, monkeypatch, rows, kind):
    monkeypatch.setattr(writing, "_ROWS", 5)
    files = [f"images/{number}.jpg" for number in range(len(rows))]
    header = ['a "b"', "c,d"]
    columns = []
    for place, name in enumerate(header):
        values = sorted({row[place] for row in rows} | {"unused"})
        codes = np.array([values.index(row[place]) for row in rows], np.int32)
        columns.append(Drawn(name, kind, codes, strings(values)))
    splits = np.array([SPLITS.index(row[2]) for row in rows], np.int64)
    write_rows(tmp_path / "t.csv", files, columns, header, splits)
    named = [
        [cell or file for cell in row[:2]] if kind == "path" else row[:2] for row, file in zip(rows, files, strict=True)
    ]
    expected = [
        dict(zip(["file_name", *header, "split"], [file, *shown, row[2]], strict=True))
        for file, shown, row in zip(files, named, rows, strict=True)
    ]
    assert (tmp_path / "t.csv").read_bytes() == csv_text(["file_name", *header, "split"], expected).encode()


@pytest.mark.parametrize(("length", "rows"), [(2, 20_000), (2_000, 8_000), (40_000_000, 1)])
def test_long_cells_are_written_a_few_rows_at_a_time(length, rows):
    at_once = writing._rows_at_once([(np.zeros(3, int), strings(["x" * length]))])
    assert rows * 0.9 <= at_once <= rows
