"""A table by its columns: each as its distinct values and a code per row, and what it is.

`read_table` decides what a table is and what is wrong with it. A large CSV or Parquet file is read by pyarrow
instead, whose columns take a tenth of the memory; whatever it cannot read goes to `read_table` after all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hangtag.catalogue.like.numbers import Numbers, parse_numbers
from hangtag.catalogue.split import fold
from hangtag.catalogue.table import MAX_CELL, Table, read_table
from hangtag.errors import TableError

LARGE_FILE = 32_000_000
"""Bytes from which on a file is read by pyarrow."""
Kind = Literal["category", "number", "date", "code", "counter", "url", "path", "text"]

TITLE_NAMES = ("title", "product_title", "product_name", "name", "item_name", "productname", "label", "item")
_NOT_A_CODE = re.compile(r"categor|countr|currenc|colou?r|brand|size|gender|season|language|zip|post")
_CODE = re.compile(
    r"sku|ean\d*$|gtin|upc|asin|isbn|barcode|uuid|guid|mpn|(^|_)id$|^id_|handle$|hash$|e?mail|phone"
    r"|(product|item|article|style|model|variant|order|customer)_?(code|id|number|no|nr|ref|reference)$"
)
_QUANTITY = re.compile(
    r"price|cost|amount|total|weight|height|width|length|qty|quantity|stock|rating|score|count|views"
)
_PICTURE = r"(?i)\.(jpe?g|png|webp|gif|bmp|tiff?|avif)$"


@dataclass
class Column:
    """One column: `values[codes[row]]` is its text; `counts` says how many rows hold each value."""

    name: str
    codes: np.ndarray
    values: Any
    counts: np.ndarray

    def texts(self) -> list[str]:
        return self.values.to_pylist()


@dataclass(frozen=True)
class Nature:
    """What a column is. `present` marks the distinct values that are not missing-value tokens."""

    kind: Kind
    present: np.ndarray
    numbers: Numbers | None = None


def read_columns(path: str | Path) -> list[Column]:
    """The columns of a table, its unreadable rows left out.

    Raises:
        TableError: as `read_table`; or there is no row that can be read.
    """
    path = Path(path)
    large = path.is_file() and path.stat().st_size >= LARGE_FILE
    columns = _read_large(path) if large and path.suffix.lower() in (".csv", ".tsv", ".parquet") else None
    return columns if columns is not None else encode(read_table(path))


def encode(table: Table) -> list[Column]:
    """The columns of a table that was read row by row."""
    return [_column(name, pa.array([row[name] for row in table.rows], pa.string())) for name in table.columns]


def _column(name: str, texts: Any) -> Column:
    encoded = texts.dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().chunk(0)
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return Column(name, codes, encoded.dictionary, np.bincount(codes, minlength=len(encoded.dictionary)))


def _read_large(path: Path) -> list[Column] | None:
    """None where `read_table` should have its say."""
    from pyarrow import csv, parquet

    try:
        if path.suffix.lower() == ".parquet":
            table = parquet.read_table(path)
        else:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            names = _header(path, delimiter)
            table = csv.read_csv(
                path,
                csv.ReadOptions(block_size=1 << 24),
                csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=lambda row: "skip"),
                csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
            )
        names = [name.strip() or f"column_{number}" for number, name in enumerate(table.column_names, 1)]
        if len(set(names)) < len(names) or not len(table):
            return None
        return [_large_column(name, table.column(place)) for place, name in enumerate(names)]
    except (pa.ArrowException, OSError, ValueError):
        return None


def _header(path: Path, delimiter: str) -> list[str]:
    import csv

    with open(path, encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file, delimiter=delimiter))


def _large_column(name: str, texts: Any) -> Column:
    floating = pa.types.is_floating(texts.type)
    texts = pc.fill_null(texts.cast(pa.string()), "")
    if floating:
        texts = pc.if_else(pc.equal(texts, "nan"), "", texts)
    column = _column(name, texts)
    if len(column.values) and (pc.max(pc.utf8_length(column.values)).as_py() or 0) > MAX_CELL:
        raise ValueError("a cell is too long")
    return column


def nature(column: Column, min_count: int, title: bool = False, price: bool = False) -> Nature:
    """What a column is, from its values, how often they repeat, and its name."""
    present = _present(column)
    values, counts = column.values.filter(pa.array(present)), column.counts[present]
    rows, distinct = int(counts.sum()), len(counts)
    name = re.sub(r"\W+", "_", column.name.strip().lower())
    if not distinct:
        return Nature("category", present)
    if _share(values, counts, r"^(https?:)?//\S+$") > 0.5:
        return Nature("url", present)
    if _share(values, counts, _PICTURE) > 0.5:
        return Nature("path", present)
    if title:
        return Nature("text", present)
    named_code = bool(_CODE.search(name)) and not _NOT_A_CODE.search(name)
    numbers = parse_numbers(values)
    if numbers is not None:
        kind = "number" if price else _kind_of_numbers(numbers, name, named_code, rows, distinct)
        return Nature(kind, present, numbers)
    if named_code or _looks_like_code(values, counts, rows, distinct):
        return Nature("code", present)
    wordy = counts[counts >= min_count].sum() < 0.5 * rows and _share(values, counts, r"\S\s+\S+\s+\S") > 0.5
    return Nature("text" if wordy or distinct > 0.5 * rows else "category", present)


def _present(column: Column) -> np.ndarray:
    """Where `fold(text)` is not "": only short texts without digits can be a missing value's token."""
    present = np.ones(len(column.values), bool)
    short = pc.less_equal(pc.utf8_length(pc.utf8_trim_whitespace(column.values)), 8)
    for place in np.flatnonzero(pc.and_not(short, pc.match_substring_regex(column.values, "[0-9]")).to_numpy(False)):
        present[place] = bool(fold(column.values[int(place)].as_py()))
    return present


def _kind_of_numbers(numbers: Numbers, name: str, named_code: bool, rows: int, distinct: int) -> Kind:
    if numbers.pattern:
        return "date"
    whole = numbers.decimals == 0 and not numbers.prefix and not numbers.suffix
    if whole and distinct == rows > 1 and numbers.values.max() - numbers.values.min() == rows - 1:
        return "counter"
    if whole and named_code:
        return "code"
    lengths = np.char.str_len(numbers.values.astype("U20")) if whole else np.zeros(1)
    alike = whole and lengths.min() >= 6 and lengths.max() - lengths.min() <= 1
    return "code" if alike and distinct >= 0.95 * rows and not _QUANTITY.search(name) and rows >= 20 else "number"


def _looks_like_code(values: Any, counts: np.ndarray, rows: int, distinct: int) -> bool:
    """One word with digits, mostly new in every row; or digits and signs alone, such as a telephone number."""
    repeats = distinct < 0.5 * rows and not (distinct > 50 and rows < 20 * distinct)
    coded = _share(values, counts, r"^[^\s]*\d[^\s]*$|^[\d\s()+./-]{5,}$|^\S+@\S+$")
    return not repeats and coded > 0.9


def _share(values: Any, counts: np.ndarray, pattern: str) -> float:
    """Share of the rows whose value matches."""
    return float(counts[pc.match_substring_regex(values, pattern).to_numpy(False)].sum() / max(counts.sum(), 1))


def require_rows(name: str | Path, columns: list[Column], least: int = 2) -> None:
    """Raise a TableError where there is too little to learn from."""
    if not columns:
        raise TableError(f"{name} has no column of text or numbers to learn from")
    rows = len(columns[0].codes)
    if rows < least:
        raise TableError(f"{name} has {rows} readable rows; at least {least} are needed to learn from")
