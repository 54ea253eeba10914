"""Which rows of a catalogue can be learned from, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hangtag.answer import Template, Value
from hangtag.catalogue.store import Catalogue, Row
from hangtag.catalogue.table import rejection
from hangtag.errors import TableError, ValueUnreadable, nearest_name

PICTURE_COLUMNS = ("file_name",)


@dataclass(frozen=True)
class UsableRow:
    """A row whose every field can be written: the fields' clean values, its pictures in order, and its number."""

    values: dict[str, Value]
    pictures: tuple[Path, ...]
    number: int = 0


def sort_rows(
    catalogue: Catalogue, split: str, template: Template, picture_columns: Sequence[str] = PICTURE_COLUMNS
) -> tuple[list[UsableRow], list[dict[str, str]]]:
    """The rows of a split that can be used, maybe none, and the others as `rejected.csv` lines with their reason.

    Args:
        picture_columns: name each row's pictures, relative to the catalogue, in order; an empty cell is no picture.

    Raises:
        TableError: a field or a picture column has no column.
    """
    catalogue.require_columns(template.names)
    _require_picture_columns(catalogue, picture_columns)
    usable, rejected = [], []
    for number, row in enumerate(catalogue.rows, 1):
        if row["split"] != split:
            continue
        try:
            usable.append(UsableRow(template.clean(row), _pictures(catalogue, row, picture_columns), number))
        except ValueUnreadable as error:
            rejected.append(rejected_row(number, row, str(error)))
    return usable, rejected


def usable_rows(
    catalogue: Catalogue, split: str, template: Template, picture_columns: Sequence[str] = PICTURE_COLUMNS
) -> tuple[list[UsableRow], list[dict[str, str]]]:
    """As `sort_rows`, for who needs at least one row.

    Raises:
        TableError: also where no row is usable.
    """
    usable, rejected = sort_rows(catalogue, split, template, picture_columns)
    if not usable:
        why = f"; row {rejected[0]['row']}: {rejected[0]['detail']}" if rejected else ""
        raise TableError(f"{catalogue.path} has no usable row in its split {split} ({len(rejected)} rows){why}")
    return usable, rejected


def rejected_row(number: int, row: Row, detail: str, reason: str = "value-unreadable") -> dict[str, str]:
    """A line of `rejected.csv` for row `number` of metadata.csv."""
    return rejection(number, row["file_name"], reason, detail)


def _require_picture_columns(catalogue: Catalogue, columns: Sequence[str]) -> None:
    known = ["file_name", *catalogue.columns]
    absent = [f"no column {name!r}{nearest_name(name, known)}" for name in columns if name not in known]
    if absent:
        raise TableError(f"data.pictures of the recipe: {catalogue.path / 'metadata.csv'} has " + "; ".join(absent))


def _pictures(catalogue: Catalogue, row: Row, columns: Sequence[str]) -> tuple[Path, ...]:
    """Where a row's pictures lie.

    Raises:
        ValueUnreadable: a cell leads outside the catalogue or to no file.
    """
    paths = []
    for column in columns:
        name = row[column].strip()
        if not name:
            continue
        path = catalogue.path / name
        if not path.resolve().is_relative_to(catalogue.path.resolve()):
            raise ValueUnreadable(f"{column}: {name!r} leads out of the catalogue")
        if not path.is_file():
            raise ValueUnreadable(f"{column}: {name!r} is no file of the catalogue")
        paths.append(path)
    return tuple(paths)
