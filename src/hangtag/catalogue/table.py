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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from hangtag.errors import TableError

Row = dict[str, str]
MAX_CELL = 1_000_000
"""Characters in one cell; a row with a longer one is rejected."""
Blobs = Callable[[], Iterator[bytes | None]]
Record = list[str] | tuple[str, str]
"""A row's cells in the order of the columns, or the reason and detail why there are none."""
_HALF_PAIR = re.compile("[\ud800-\udfff]")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Table:
    """Rows as text, each with all of `columns`.

    `numbers` are the rows' places in the file, from 1 after the header; `rejected` are the rows that could not
    be read, as lines of `rejected.csv`. `blobs` are the columns of bytes: each, when called, gives one value for
    every number from 1 on, or None. Bytes are not among a row's cells; the path beside them is. `left_out` are
    columns of lists of bytes and the like, which nothing reads.
    """

    columns: list[str]
    rows: list[Row]
    numbers: list[int]
    rejected: list[Row] = field(default_factory=list)
    blobs: dict[str, Blobs] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def rejection(row: int, url: str, reason: str, detail: str, attempts: int = 0) -> Row:
    """One line of `rejected.csv`; `attempts` counts how often a picture was asked for."""
    return {"row": str(row), "url": url[:2000], "reason": reason, "detail": detail, "attempts": str(attempts)}


def read_table(path: str | Path) -> Table:
    """Read a table by its suffix: .csv, .tsv, .jsonl or .parquet.

    CSV and TSV are UTF-8 with one header line; names are stripped of white space and a nameless column is
    called `column_N`. JSON lines have the union of their keys as columns; a missing key or null is "", a number
    keeps its spelling, a list or object stays JSON. Parquet numbers take their shortest spelling, null is "";
    columns of bytes are in `blobs`.

    Raises:
        TableError: no such file, another suffix, not UTF-8, empty, a header only, a column name twice, damaged.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TableError(f"{path}: a table's name ends in {', '.join(SUFFIXES)}; convert or rename it")
    if not path.is_file():
        raise TableError(f"{path} is {'a folder' if path.is_dir() else 'missing'}; give the path of a table")
    if suffix == ".parquet":
        from hangtag.catalogue.arrow import read_parquet

        return read_parquet(path)
    if suffix == ".jsonl":
        return as_table(str(path), *_read_jsonl(path))
    return as_table(str(path), *_read_csv(path, "\t" if suffix == ".tsv" else ","))


def join_tables(tables: Sequence[Table]) -> Table:
    """Several tables below each other: the union of their columns, missing cells "", numbers counted on."""
    columns = list(dict.fromkeys(name for table in tables for name in table.columns))
    joined = Table(columns, [], [])
    for table in tables:
        before = len(joined.rows) + len(joined.rejected)
        joined.rows.extend({name: row.get(name, "") for name in columns} for row in table.rows)
        joined.numbers.extend(before + number for number in table.numbers)
        joined.rejected.extend({**bad, "row": str(before + int(bad["row"]))} for bad in table.rejected)
    for name in dict.fromkeys(name for table in tables for name in table.blobs):
        joined.blobs[name] = partial(_chain, tables, name)
    joined.left_out.extend(dict.fromkeys(name for table in tables for name in table.left_out))
    return joined


def _chain(tables: Sequence[Table], name: str) -> Iterator[bytes | None]:
    for table in tables:
        count = len(table.rows) + len(table.rejected)
        yield from table.blobs[name]() if name in table.blobs else repeat(None, count)


def as_table(name: str, columns: list[str], records: Iterable[Record]) -> Table:
    """A table of checked rows; `name` is for the message where there is none."""
    table = Table(columns, [], [])
    for number, record in enumerate(records, 1):
        checked = _check(record, columns)
        if isinstance(checked, tuple):
            table.rejected.append(rejection(number, "", *checked))
        else:
            table.rows.append(dict(zip(columns, checked, strict=True)))
            table.numbers.append(number)
    if not table.rows and not table.rejected:
        raise TableError(f"{name} has a header and no rows; add one row per product")
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


def column_names(table: str, names: Iterable[str]) -> list[str]:
    columns = [name.strip() or f"column_{number}" for number, name in enumerate(names, 1)]
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise TableError(f"{table} has more than one column called {', '.join(map(repr, twice))}; rename all but one")
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
    return column_names(str(path), header), records


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
    columns = column_names(str(path), names)
    return columns, [
        [json_text(value.get(name)) for name in names] if isinstance(value, dict) else value for value in values
    ]


def _json_object(line: str) -> dict[str, Any] | tuple[str, str]:
    try:
        value = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        return "not-json", str(error)
    return value if isinstance(value, dict) else ("not-json", f"a {type(value).__name__} where an object should be")


def json_text(value: Any) -> str:
    """A JSON value as a cell: text as it is, null as "", all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
