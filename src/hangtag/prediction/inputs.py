"""What `hangtag predict` is given - pictures, folders, patterns, catalogues, tables, a list - as rows in order.

A row names its pictures and is read when its turn comes. What is named on the command line has to be there; what is
named inside a table or a list and is not there is that row's own error.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hangtag.catalogue.gather import locate
from hangtag.catalogue.journal import Refused
from hangtag.catalogue.split import SPLITS, assign_splits
from hangtag.catalogue.table import SUFFIXES as TABLES
from hangtag.catalogue.table import Row, Table, read_table
from hangtag.errors import DataError, TableError, UsageError, nearest_name
from hangtag.files import file_state

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
STDIN = "-"
Place = Path | str | bytes
"""A picture's file, its URL, or its bytes."""


@dataclass(frozen=True)
class Asked:
    """One row: what its record begins with, and where its pictures are, or why they are not looked for."""

    where: dict[str, Any]
    pictures: tuple[Place, ...] = ()
    refused: str | None = None


@dataclass(frozen=True)
class Choice:
    """How tables and catalogues are read.

    Args:
        image_column: of a table, where the pictures are named or held.
        pictures: of a catalogue, the columns of each row's pictures: the recipe's data.pictures.
        split: of a catalogue, the rows that are taken; None for all.
        keep: a table's own columns that go into the records.
        allow_outside: a table's paths may lead out of its folder.
    """

    image_column: str = "imageurl"
    pictures: Sequence[str] = ("file_name",)
    split: str | None = None
    keep: Sequence[str] = ()
    allow_outside: bool = False


class Files:
    """Pictures by path, or, as `listed` elsewhere, by path or URL."""

    def __init__(self, names: list[str], listed: bool = False) -> None:
        self.names, self.listed = names, listed
        self.columns = ["path", "url"] if listed else ["path"]

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, start: int, stop: int) -> Iterator[Asked]:
        for name in self.names[start:stop]:
            shown = os.fsencode(name).decode(errors="replace")
            found = locate(name, Path(), allow_outside=True) if self.listed else Path(name)
            if isinstance(found, str):
                yield Asked({"url": shown}, (found,))
            elif isinstance(found, Refused):
                yield Asked({"path": shown}, refused=found.detail)
            else:
                yield Asked({"path": shown}, (Path(name),))

    def facts(self) -> Iterator[Any]:
        yield from ([name, *file_state(Path(name))] for name in self.names)


class Rows:
    """The rows of a table or a catalogue; those that could not be read have their place among them.

    Args:
        names: the columns of a row's pictures.
        chosen: the numbers of the rows that are taken; None for all.
        optional: an empty cell is no picture, rather than one that is missing.
    """

    def __init__(
        self,
        path: Path,
        table: Table,
        names: Sequence[str],
        choice: Choice,
        chosen: set[int] | None = None,
        optional: bool = False,
    ) -> None:
        self.path, self.table, self.names, self.choice, self.optional = path, table, list(names), choice, optional
        self.title: str | None = None  # what the records call the table, where there are several
        rows = [(number, place) for place, number in enumerate(table.numbers) if chosen is None or number in chosen]
        bad = [(int(each["row"]), each["detail"]) for each in table.rejected] if chosen is None else []
        self.order: list[tuple[int, int | str]] = sorted([*rows, *bad], key=lambda each: each[0])
        self.blobs = Blobs(table, names[0]) if names[0] in table.blobs else None
        self.columns = ["row", "path", "url"]

    def __len__(self) -> int:
        return len(self.order)

    def rows(self, start: int, stop: int) -> Iterator[Asked]:
        for number, place in self.order[start:stop]:
            where: dict[str, Any] = {"row": number} if self.title is None else {"table": self.title, "row": number}
            if isinstance(place, str):
                yield Asked(where, refused=place)
            else:
                yield self._row(where, number, self.table.rows[place])

    def _row(self, where: dict[str, Any], number: int, row: Row) -> Asked:
        kept = {"columns": {name: row[name] for name in self.choice.keep}} if self.choice.keep else {}
        data = self.blobs.of(number) if self.blobs else None
        if data is not None:
            return Asked(where | kept, (data,))
        cells = [cell for name in self.names if (cell := row.get(name, "").strip()) or not self.optional]
        found = [locate(cell, self.path.parent, self.choice.allow_outside) for cell in cells]
        if cells and cells[0]:
            where = where | {"url" if isinstance(found[0], str) else "path": cells[0]}
        refused = next((each.detail for each in found if isinstance(each, Refused)), None)
        return Asked(where | kept, tuple(each for each in found if not isinstance(each, Refused)), refused)

    def facts(self) -> Iterator[Any]:
        yield [self.title, self.names, list(self.choice.keep), file_state(self.path) if self.blobs else None]
        for number, place in self.order:
            row = {} if isinstance(place, str) else self.table.rows[place]
            yield [number, *(row.get(name) for name in (*self.names, *self.choice.keep))]


class Blobs:
    """A table's column of pictures' bytes, read forwards; a number before the last one begins anew."""

    def __init__(self, table: Table, column: str) -> None:
        self._table, self._column = table, column
        self._left: Iterator[bytes | None] = iter(())
        self._next = 0

    def of(self, number: int) -> bytes | None:
        """The bytes of a row by its number in the file; None where there are none."""
        if not 0 < self._next <= number:
            self._left, self._next = self._table.blobs[self._column](), 1
        for _ in range(number - self._next):
            next(self._left)
        self._next = number + 1
        return next(self._left)

    def __getstate__(self) -> dict[str, Any]:
        return {"_table": self._table, "_column": self._column, "_left": iter(()), "_next": 0}


Part = Files | Rows


@dataclass
class Inputs:
    """All that is asked about, in order; `columns` are the keys that a record may begin with."""

    parts: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        tables = [each for each in self.parts if isinstance(each, Rows)]
        for each in tables if len(tables) > 1 else []:
            each.title = str(each.path)
        found = {name for part in self.parts for name in part.columns} | ({"table"} if len(tables) > 1 else set())
        self.columns = [name for name in ("table", "row", "path", "url") if name in found]
        self.keep = list(dict.fromkeys(name for each in tables for name in each.choice.keep))

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def rows(self, start: int, stop: int) -> Iterator[Asked]:
        """The rows from `start` to before `stop`."""
        for part in self.parts:
            if start < len(part) and stop > 0:
                yield from part.rows(max(start, 0), min(stop, len(part)))
            start, stop = start - len(part), stop - len(part)

    def digest(self) -> str:
        """Another one where anything is asked about in other places, in another order, or has changed on disk."""
        found = hashlib.sha256()
        for part in self.parts:
            for each in part.facts():
                found.update(json.dumps(each).encode() + b"\n")
        return found.hexdigest()


def open_inputs(names: Sequence[str], choice: Choice, stdin: Sequence[str] = ()) -> Inputs:
    """The rows of pictures, folders of pictures (recursive, hidden ones left out), patterns, catalogues and tables.

    Args:
        names: paths and URLs; `-` is the list `stdin`, a path or URL a line.

    Raises:
        UsageError: something named is not there; all of it in one message. An unknown split.
        TableError: a table cannot be read, or lacks a column.
        DataError: there is no picture at all.
    """
    if choice.split and choice.split not in SPLITS:
        raise UsageError(f"no split {choice.split!r}{nearest_name(choice.split, SPLITS)}")
    found = [_expand(name) for name in names]
    absent = [name for name, each in zip(names, found, strict=True) if not each]
    if absent:
        raise UsageError(f"no such file, folder or pattern: {', '.join(absent)}")
    parts: list[Part] = []
    files: dict[str, None] = {}
    for name in dict.fromkeys(each for several in found for each in several):
        part = _part(name, choice, stdin)
        if isinstance(part, Files) and not part.listed:
            files.update(dict.fromkeys(part.names))
            continue
        if files:
            parts.append(Files(list(files)))
            files = {}
        parts.append(part)
    inputs = Inputs([*parts, Files(list(files))] if files else parts)
    if not len(inputs):
        raise DataError(f"no pictures found; files that end in {', '.join(sorted(PICTURES))} are looked for in folders")
    return inputs


def _expand(name: str) -> list[str]:
    if name == STDIN or name.startswith(("http://", "https://")) or Path(name).exists():
        return [name]
    return sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []


def _part(name: str, choice: Choice, stdin: Sequence[str]) -> Part:
    path = Path(name)
    if name == STDIN:
        return Files([line.strip() for line in stdin if line.strip()], listed=True)
    if name.startswith(("http://", "https://")):
        return Files([name], listed=True)
    if path.is_dir():
        metadata = path / "metadata.csv"
        return _catalogue(metadata, choice) if metadata.is_file() else Files(_pictures_below(path))
    return _table(path, choice) if path.suffix.lower() in TABLES else Files([name])


def _pictures_below(folder: Path) -> list[str]:
    def is_picture(file: Path) -> bool:
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        return file.suffix.lower() in PICTURES and not hidden and file.is_file()

    return [str(each) for each in sorted(folder.rglob("*")) if is_picture(each)]


def _catalogue(metadata: Path, choice: Choice) -> Rows:
    table = read_table(metadata)
    _require(metadata, table, [*choice.pictures, *choice.keep], "")
    chosen = None
    if choice.split:
        given = "split" in table.columns
        splits = [row["split"] for row in table.rows] if given else assign_splits(table.rows)
        chosen = {number for number, split in zip(table.numbers, splits, strict=True) if split == choice.split}
    return Rows(metadata, table, choice.pictures, choice, chosen, optional=True)


def _table(path: Path, choice: Choice) -> Rows:
    table = read_table(path)
    _require(path, table, [choice.image_column], " (choose the pictures' column with --image-column)")
    _require(path, table, choice.keep, " (--keep)")
    return Rows(path, table, [choice.image_column], choice)


def _require(path: Path, table: Table, names: Sequence[str], why: str) -> None:
    known = list(dict.fromkeys([*table.columns, *(table.blobs if "image" in why else ())]))
    absent = [f"no column {name!r}{why}{nearest_name(name, known)}" for name in names if name not in known]
    if absent:
        raise TableError(f"{path}: " + "\n".join(absent))
