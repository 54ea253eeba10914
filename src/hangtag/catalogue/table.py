"""A table of products as text: CSV, TSV, JSON lines and Parquet.

Values stay the text that stands in the file: nothing here knows which column is a number. A row that cannot
be read is a rejected row with its reason; only a table that cannot be read at all is an error.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hangtag.errors import TableError

Row = dict[str, str]
MAX_CELL = 1_000_000
"""Characters in one cell; a row with a longer one is rejected."""
Record = list[str] | tuple[str, str]
"""A row's cells in the order of the columns, or the reason and detail why there are none."""
_HALF_PAIR = re.compile("[\ud800-\udfff]")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Table:
    """Rows as text, each with all of `columns`.

    `numbers` are the rows' places in the file, from 1 after the header; `rejected` are the rows that could not
    be read, as `row`, `url` (empty), `reason`, `detail`.
    """

    columns: list[str]
    rows: list[Row]
    numbers: list[int]
    rejected: list[Row] = field(default_factory=list)


def rejection(row: int, url: str, reason: str, detail: str) -> Row:
    """One line of `rejected.csv`."""
    return {"row": str(row), "url": url[:2000], "reason": reason, "detail": detail}


def read_table(path: str | Path) -> Table:
    """Read a table by its suffix: .csv, .tsv, .jsonl or .parquet.

    CSV and TSV are UTF-8 with one header line; names are stripped of white space and a nameless column is
    called `column_N`. JSON lines have the union of their keys as columns; a missing key or null is "", a number
    keeps its spelling, a list or object stays JSON. Parquet numbers take their shortest spelling, null is "".

    Raises:
        TableError: no such file, another suffix, not UTF-8, empty, a header only, a column name twice, damaged.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TableError(f"{path}: a table's name ends in {', '.join(SUFFIXES)}; convert or rename it")
    if not path.is_file():
        raise TableError(f"{path} is {'a folder' if path.is_dir() else 'missing'}; give the path of a table")
    records: Iterable[Record]
    if suffix == ".parquet":
        columns, records = _read_parquet(path)
    elif suffix == ".jsonl":
        columns, records = _read_jsonl(path)
    else:
        columns, records = _read_csv(path, "\t" if suffix == ".tsv" else ",")
    return _table(path, columns, records)


def _table(path: Path, columns: list[str], records: Iterable[Record]) -> Table:
    table = Table(columns, [], [])
    for number, record in enumerate(records, 1):
        checked = _check(record, columns)
        if isinstance(checked, tuple):
            table.rejected.append(rejection(number, "", *checked))
        else:
            table.rows.append(dict(zip(columns, checked, strict=True)))
            table.numbers.append(number)
    if not table.rows and not table.rejected:
        raise TableError(f"{path} has a header and no rows; add one row per product")
    return table


def _check(record: Record, columns: list[str]) -> Record:
    if isinstance(record, tuple):
        return record
    if len(record) != len(columns):
        return "ragged", f"{len(record)} cells under {len(columns)} columns"
    for name, cell in zip(columns, record, strict=True):
        if len(cell) > MAX_CELL:
            return "cell-too-long", f"{len(cell):,} characters in column {name!r}; at most {MAX_CELL:,} are read"
        if _HALF_PAIR.search(cell):
            return "not-text", f"column {name!r} holds half a surrogate pair"
    return record


def _columns(path: Path, names: Iterable[str]) -> list[str]:
    columns = [name.strip() or f"column_{number}" for number, name in enumerate(names, 1)]
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise TableError(f"{path} has more than one column called {', '.join(map(repr, twice))}; rename all but one")
    return columns


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}; check its permissions") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TableError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; "
            f"save the table as UTF-8, for example with: iconv -f LATIN1 -t UTF-8"
        ) from None
    if not text.strip():
        raise TableError(f"{path} is empty; a table has a header and one row per product")
    return text


def _read_csv(path: Path, delimiter: str) -> tuple[list[str], Iterator[Record]]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter=delimiter, strict=True)
    records = _csv_records(path, reader)
    header = next(records)
    if isinstance(header, tuple):
        raise TableError(f"{path}: the header cannot be read: {header[1]}")
    return _columns(path, header), records


def _csv_records(path: Path, reader: Any) -> Iterator[Record]:
    """The lines that are not blank. The csv module's own bound on cells is one for the whole process."""
    while True:
        bound, start = csv.field_size_limit(sys.maxsize), reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" in str(error):
                raise TableError(
                    f"{path}, line {start}: a quote is opened and never closed; close it, or double it if it is meant"
                ) from None
            yield "bad-quotes", f"line {start}: {error}"
            continue
        finally:
            csv.field_size_limit(bound)
        if cells:
            yield cells


def _read_jsonl(path: Path) -> tuple[list[str], list[Record]]:
    values = [_json_object(line) for line in _read_text(path).split("\n") if line.strip()]
    names = dict.fromkeys(name for value in values if isinstance(value, dict) for name in value)
    if not names:
        raise TableError(f"{path} has no JSON object in any line; write one object per line and product")
    columns = _columns(path, names)
    return columns, [
        [_json_text(value.get(name)) for name in names] if isinstance(value, dict) else value for value in values
    ]


def _json_object(line: str) -> dict[str, Any] | tuple[str, str]:
    try:
        value = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        return "not-json", str(error)
    return value if isinstance(value, dict) else ("not-json", f"a {type(value).__name__} where an object should be")


def _json_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _read_parquet(path: Path) -> tuple[list[str], Iterator[Record]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise TableError(f"{path} is no whole Parquet file: {str(error).splitlines()[0]}; write it anew") from None
    columns = _columns(path, table.column_names)
    if not columns:
        raise TableError(f"{path} has no columns")
    cells = [_arrow_text(path, name, table.column(i)) for i, name in enumerate(columns)]
    return columns, map(list, zip(*cells, strict=True))


def _arrow_text(path: Path, name: str, column: Any) -> list[str]:
    import pyarrow

    if _holds_bytes(column.type):
        raise TableError(f"{path}: column {name!r} holds bytes; tables of text, paths and URLs are read")
    empty = (None, "nan") if pyarrow.types.is_floating(column.type) else (None,)
    try:
        column = column.cast(pyarrow.large_string())
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        return [_json_text(value) for value in column.to_pylist()]
    return ["" if text in empty else text for text in column.to_pylist()]


def _holds_bytes(kind: Any) -> bool:
    return str(kind).startswith(("binary", "large_binary", "fixed_size_binary")) or any(
        _holds_bytes(kind.field(place).type) for place in range(kind.num_fields)
    )
