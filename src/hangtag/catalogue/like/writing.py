"""A large table as CSV: every distinct value is quoted once, rows are joined some thousands at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hangtag.catalogue.like.sampling import Drawn
from hangtag.catalogue.like.texts import joined_texts, strings
from hangtag.catalogue.split import SPLITS
from hangtag.catalogue.store import csv_text

_ROWS, _BYTES = 20_000, 16_000_000
"""At most so many rows, and about so many bytes, are put together at a time."""


def write_rows(
    path: Path, files: Sequence[str], columns: Sequence[Drawn], names: Sequence[str], splits: np.ndarray
) -> None:
    """metadata.csv as `csv_text` would write it; an empty path to a picture becomes the row's own.

    Args:
        splits: each row's place in SPLITS.
    """
    own = strings(files)
    cells = [(np.arange(len(own)), own), *(_shown(column, own) for column in columns)]
    cells.append((splits, strings(f"{name}\n" for name in SPLITS)))
    cells[:-1] = [(codes, _quoted(values)) for codes, values in cells[:-1]]
    rows = _rows_at_once(cells)
    with open(path, "wb") as file:
        file.write(csv_text(["file_name", *names, "split"], []).encode())
        for start in range(0, len(own), rows):
            parts = [values.take(pa.array(codes[start : start + rows])) for codes, values in cells]
            lines = pc.binary_join_element_wise(*parts, pa.scalar(",", pa.large_string()))
            _, _, data = lines.buffers()
            file.write(data)


def _shown(column: Drawn, files: Any) -> tuple[np.ndarray, Any]:
    """A column's codes and values, the row's own file name instead of an empty path."""
    if column.kind != "path":
        return column.codes, column.values
    empty = pc.equal(column.values, "").to_numpy(zero_copy_only=False)[column.codes]
    codes = np.where(empty, len(column.values) + np.arange(len(files)), column.codes)
    return codes, joined_texts(column.values, files)


def _quoted(values: Any) -> Any:
    """Values as they stand in a CSV file."""
    special = pc.match_substring_regex(values, '[",\r\n]')
    if not pc.any(special).as_py():
        return values
    doubled = pc.replace_substring(values, '"', '""')
    quote = pa.scalar('"', pa.large_string())
    return pc.if_else(
        special, pc.binary_join_element_wise(quote, doubled, quote, pa.scalar("", pa.large_string())), values
    )


def _rows_at_once(cells: Sequence[tuple[np.ndarray, Any]]) -> int:
    """So few rows that what they take stays small, by the mean length of some."""
    length = 0.0
    for codes, values in cells:
        some = values.take(pa.array(codes[:: max(1, len(codes) // 1000)]))
        length += (pc.mean(pc.binary_length(some)).as_py() or 0) + 1
    return int(min(_ROWS, max(_BYTES / length, 1)))
