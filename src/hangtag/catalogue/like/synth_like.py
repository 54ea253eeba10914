"""An invented catalogue in the image of a real table: its columns and joint distribution, none of its rows.

`table_model` says what is kept of the source and what is not. Each row's picture shows its category, the colours and
patterns that its title and columns name, and where its price lies among all. Row i's picture is drawn from the
generator seeded with (seed, i) alone, so the number of processes changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hangtag.catalogue.drawing import check_drawing, divide_drawn, draw_all, save_drawn
from hangtag.catalogue.like.columns import Column, encode, read_columns, require_rows
from hangtag.catalogue.like.sampling import Sample, sample
from hangtag.catalogue.like.table_model import Roles, TableModel
from hangtag.catalogue.like.texts import as_list
from hangtag.catalogue.like.writing import write_rows
from hangtag.catalogue.render.depict import depict
from hangtag.catalogue.source import open_source
from hangtag.catalogue.split import SPLITS, Coded, assign_splits_by_column
from hangtag.catalogue.store import finish_catalogue, own_names
from hangtag.files import require_new_folder, whole_folder

MOST_ROWS = 10_000_000
_LOOKS = ("colo", "farb", "pattern", "material", "fabric", "print", "style", "finish")


class Picture(NamedTuple):
    """What one row's picture shows; see `depict`."""

    number: int
    category: str
    words: str
    level: float


def synthesise_like(
    table: str | Path,
    out: str | Path,
    rows: int | None = None,
    seed: int = 0,
    size: int = 336,
    min_count: int = 5,
    title_column: str | None = None,
    category_column: str | None = None,
    price_column: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    config: str | None = None,
) -> dict[str, Any]:
    """Write an invented catalogue with the columns and the distribution of `table` to `out`.

    Args:
        table: as `source.open_source` takes it; of one file its text alone is read, column by column.
        rows: products to invent; None for as many as the source has.
        size: side of a picture, pixels.
        min_count: what fewer rows of the source share does not come through: categories become "other".
        title_column, category_column, price_column: what the picture is drawn from; found by name where None.
        workers: processes to draw with; None for all cores. The bytes written do not depend on it.
        progress: called with (pictures done, pictures in all) after each.
        config: which configuration of a Hugging Face data set.

    Returns:
        What catalogue.json says: source, table (the file's name), options, seed, columns by kind, near duplicates (kept
        in one split; compared up to drawing.MOST_COMPARED pictures), counts, version.

    Raises:
        UsageError: a number is out of range. OutputNotEmpty: `out` holds something.
        TableError: the table cannot be read, has fewer than two rows, or lacks a named column.
    """
    out = Path(out)
    few = f"min_count is {min_count}; it must be 1 or more" if min_count < 1 else ""
    check_drawing(rows, MOST_ROWS, seed, size, workers, few)
    require_new_folder(out)
    columns = _read(table, config)
    require_rows(table, columns)
    rows = len(columns[0].codes) if rows is None else rows
    model = TableModel(columns, min_count, seed, title_column, category_column, price_column)
    names = own_names([column.name for column in columns])
    made = sample(model, rows, seed)
    info, roles = _describe(Path(table).name, model, names, rows, seed, size), model.roles
    del columns, model
    with whole_folder(out) as folder:
        (folder / "images").mkdir()
        draw = partial(_draw, str(folder), seed, size)
        files, hashes = draw_all(draw, _pictures(made, roles), rows, workers, progress)
        divided = partial(divide, made, roles, files, seed)
        splits, info["near_duplicates"] = divide_drawn(hashes, divided)
        write_rows(folder / "metadata.csv", files, made.columns, [*names.values()], splits)
        sizes = dict(zip(SPLITS, np.bincount(splits, minlength=len(SPLITS)).tolist(), strict=True))
        return finish_catalogue(folder, sizes, [], info, repeated=made.repeated)


def _read(table: str | Path, config: str | None) -> list[Column]:
    path = Path(table)
    return read_columns(path) if path.is_file() else encode(open_source(table, config).table)


def _pictures(made: Sample, roles: Roles) -> Iterator[Picture]:
    by_name = {column.name: column for column in made.columns}
    title = by_name.get(roles.title or "")
    category = by_name.get(roles.category or "")
    looks = [
        column for column in made.columns
        if column.kind == "category" and column is not category and any(look in column.name.lower() for look in _LOOKS)
    ]  # fmt: skip
    shown = [(column.codes, as_list(column.values)) for column in ([title] if title else []) + looks]
    category_shown = (category.codes, as_list(category.values)) if category else None
    for number, level in enumerate(made.levels.tolist()):
        words = [values[codes[number]] for codes, values in shown]
        name = category_shown[1][category_shown[0][number]] if category_shown else words[0] if words else ""
        yield Picture(number, name, " ".join(filter(None, words)), level)


def _draw(folder: str, seed: int, size: int, hashed: bool, picture: Picture) -> tuple[str, str]:
    """Write one picture; return what `save_drawn` does."""
    rng = np.random.default_rng([seed, picture.number, 2])
    return save_drawn(folder, depict(picture.category, picture.words, picture.level, rng, size), hashed)


def divide(
    made: Sample, roles: Roles, files: Sequence[str], seed: int, alike: Sequence[tuple[str, str]] = ()
) -> np.ndarray:
    """Each row's place in SPLITS, as a real catalogue's: rows of one identifier or title stay together."""
    keys = [column for column in made.columns if column.kind == "code" or column.name == roles.title]
    keys = [column for column in keys if column.name == roles.title or len(column.values) < len(files)][:3]
    coded = {column.name: Coded(column.codes, as_list(column.values)) for column in keys if column.name != "file_name"}
    pictures = {"file_name": Coded(np.arange(len(files)), files)}
    return assign_splits_by_column(coded | pictures, list(coded), seed, alike=alike)


def _describe(table: str, model: TableModel, names: dict[str, str], rows: int, seed: int, size: int) -> dict[str, Any]:
    roles = model.roles
    return {
        "source": "hangtag synth --like",
        "table": table,
        "options": {"rows": rows, "size": size, "min_count": model.min_count},
        "seed": seed,
        "renamed": {name: own for name, own in names.items() if own != name},
        "kinds": {names[part.name]: part.nature.kind for part in model.parts},
        "pictured": {
            "title": roles.title and names[roles.title],
            "category": roles.category and names[roles.category],
            "price": roles.price and names[roles.price],
        },
    }
