"""The rows of a split as an evaluation shows them, and the pictures that must not help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from hangtag.answer import Template, Value
from hangtag.catalogue import Catalogue
from hangtag.catalogue.pictures import picture_size
from hangtag.errors import DataError
from hangtag.evaluation.asking import Picture, Shown
from hangtag.evaluation.controls import blank_picture, derangement
from hangtag.examples.rows import sort_rows

Values = dict[str, Value]
REASONS_SHOWN = 5


@dataclass(frozen=True)
class Split:
    """The rows of a split whose truth can be used, and why the others cannot.

    `files` name the rows; `images` are what is shown of each, one picture or a tuple.
    """

    files: list[str]
    truths: list[Values]
    images: list[Shown]
    reasons: list[str]


def read_split(catalogue: Catalogue, split: str, template: Template, pictures: Sequence[str]) -> Split:
    """A split's rows with their true values as an answer holds them; rows without are left out, with the reason."""
    usable, rejected = sort_rows(catalogue, split, template, pictures)
    return Split(
        [catalogue.rows[row.number - 1]["file_name"] for row in usable],
        [row.values for row in usable],
        [row.pictures[0] if len(row.pictures) == 1 else row.pictures for row in usable],
        [f"{catalogue.rows[int(each['row']) - 1]['file_name']}: {each['detail']}" for each in rejected],
    )


def require_rows(catalogue: Catalogue, split: str, splits: Mapping[str, Split]) -> Split:
    """A split's rows.

    Raises:
        DataError: it has none, or none with a usable truth.
    """
    rows = splits[split]
    if rows.truths:
        return rows
    if rows.reasons:
        listed = "; ".join(rows.reasons[:REASONS_SHOWN])
        raise DataError(f"{catalogue.path}: no row of split {split!r} has a usable truth; mend the table: {listed}")
    there = Counter(row["split"] for row in catalogue.rows)
    named = ", ".join(f"{name} ({count} rows)" for name, count in there.items())
    raise DataError(f"{catalogue.path} has no rows of split {split!r}; there is: {named or 'no row at all'}")


def control_pictures(rows: Split, seed: int) -> dict[str, list[Shown]]:
    """What each row is shown instead: another row's picture (where that is possible), and a blank of its own's size."""
    source = derangement(rows.files, seed)
    shuffled = {} if source is None else {"shuffled": [rows.images[place] for place in source]}
    blanks: dict[tuple[int, int], Image.Image] = {}

    def blank(picture: Picture) -> Image.Image:
        assert not isinstance(picture, Image.Image)
        size = picture_size(picture)
        return blanks.setdefault(size, blank_picture(size))

    blanked: list[Shown] = [tuple(map(blank, each)) if isinstance(each, tuple) else blank(each) for each in rows.images]
    return {**shuffled, "blank": blanked}
