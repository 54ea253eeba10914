"""Parquet files and Hugging Face data sets: the same Arrow batches, as rows of text and columns of bytes.

Bytes are never held together: a column of them is read again, a few rows at a time, when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import compute, parquet

from hangtag.catalogue.table import Table, as_table, column_names, json_text
from hangtag.errors import TableError, first_line

_ROWS, _BLOBS = 10_000, 64  # records read at a time, of text and of bytes


@dataclass(frozen=True)
class Source:
    """Where batches come from: `batches(columns, rows)` gives all records, those columns only, some rows at a time.

    Where `nested`, a field of a struct can be asked for alone, as `name.field`.
    """

    name: str
    schema: pyarrow.Schema
    batches: Callable[[Sequence[str], int], Iterator[Any]]
    nested: bool = False


def read_parquet(path: Path) -> Table:
    """Read one Parquet file.

    Raises:
        TableError: it is damaged, has no columns, no rows or a column name twice.
    """
    try:
        schema = parquet.ParquetFile(path).schema_arrow
        return read_arrow(Source(str(path), schema, partial(_parquet_batches, path), nested=True))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise TableError(f"{path} is no whole Parquet file: {first_line(error)}; write it anew") from None


def read_arrow(source: Source) -> Table:
    """Text cells as rows, bytes as `blobs`. A Hugging Face picture (bytes and path) is both: its cell is the path."""
    own = dict(zip(source.schema.names, column_names(source.name, source.schema.names), strict=True))
    if not own:
        raise TableError(f"{source.name} has no columns")
    kinds = dict(zip(source.schema.names, source.schema.types, strict=True))
    pictures = [name for name, kind in kinds.items() if _is_picture(kind)]
    blobs = [name for name, kind in kinds.items() if _is_bytes(kind)]
    asked = [name for name, kind in kinds.items() if name in pictures or not _holds_bytes(kind)]
    table = as_table(source.name, [own[name] for name in asked], _records(source, asked, pictures))
    table.blobs.update({own[name]: partial(_blobs, source, name) for name in [*blobs, *pictures]})
    table.left_out.extend(own[name] for name in kinds if name not in asked and name not in blobs)
    return table


def _parquet_batches(path: Path, columns: Sequence[str], rows: int) -> Iterator[Any]:
    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(rows, columns=list(columns))


def _records(source: Source, asked: Sequence[str], pictures: Sequence[str]) -> Iterator[list[str]]:
    if not asked:  # nothing but bytes: the rows are counted all the same
        for batch in source.batches(source.schema.names[:1], _BLOBS):
            yield from ([] for _ in range(batch.num_rows))
        return
    narrow = [f"{name}.path" if name in pictures and source.nested else name for name in asked]
    for batch in source.batches(narrow, _ROWS):
        cells = [_texts(batch.column(name), name in pictures) for name in asked]
        yield from map(list, zip(*cells, strict=True))


def _texts(column: Any, picture: bool) -> list[str]:
    if isinstance(column, pyarrow.ChunkedArray):
        column = column.combine_chunks()
    if picture:
        column = compute.struct_field(column, "path")
    empty = (None, "nan") if pyarrow.types.is_floating(column.type) else (None,)
    try:
        column = column.cast(pyarrow.large_string())
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        return [json_text(value) for value in column.to_pylist()]
    return ["" if text in empty else text for text in column.to_pylist()]


def _blobs(source: Source, name: str) -> Iterator[bytes | None]:
    for batch in source.batches([name], _BLOBS):
        for value in batch.column(name):
            cell = value["bytes"] if value.is_valid and pyarrow.types.is_struct(value.type) else value
            yield cell.as_py()


def _is_bytes(kind: Any) -> bool:
    types = pyarrow.types
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def _holds_bytes(kind: Any) -> bool:
    return _is_bytes(kind) or any(_holds_bytes(kind.field(at).type) for at in range(kind.num_fields))


def _is_picture(kind: Any) -> bool:
    """Whether a type is that of a Hugging Face image: a struct of bytes and path."""
    return pyarrow.types.is_struct(kind) and {kind.field(at).name for at in range(kind.num_fields)} == {"bytes", "path"}
