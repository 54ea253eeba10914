"""An invented catalogue in the image of a real table: its columns and joint distribution, none of its rows.

`table_model` says what is kept of the source and what is not. Each row's picture shows its category, the colours and
patterns that its title and columns name, and where its price lies among all. Row i's picture is drawn from the
generator seeded with (seed, i) alone, so the number of processes changes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hangtag.catalogue.like.columns import read_columns, require_rows
from hangtag.catalogue.like.sampling import Drawn, Sample, sample
from hangtag.catalogue.like.table_model import Roles, TableModel
from hangtag.catalogue.render.depict import depict
from hangtag.catalogue.split import SPLITS, assign_splits
from hangtag.catalogue.store import REJECTED_COLUMNS, VERSION, csv_text, image_name, own_names
from hangtag.catalogue.synth import JPEG_QUALITY, draw_in_order
from hangtag.errors import UsageError
from hangtag.files import require_new_folder, whole_folder, write_json, write_whole

MOST_ROWS = 10_000_000
_LOOKS = ("colo", "farb", "pattern", "material", "fabric", "print", "style", "finish")
_WRITTEN_ROWS = 20_000


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
) -> dict[str, Any]:
    """Write an invented catalogue with the columns and the distribution of `table` to `out`.

    Args:
        table: a file that `read_table` reads.
        rows: products to invent; None for as many as the source has.
        size: side of a picture, pixels.
        min_count: what fewer rows of the source share does not come through: categories become "other".
        title_column, category_column, price_column: what the picture is drawn from; found by name where None.
        workers: processes to draw with; None for all cores. The bytes written do not depend on it.
        progress: called with (pictures done, pictures in all) after each.

    Returns:
        What catalogue.json says: source, table (the file's name), options, seed, columns by kind, counts, version.

    Raises:
        UsageError: a number is out of range. OutputNotEmpty: `out` holds something.
        TableError: the table cannot be read, has fewer than two rows, or lacks a named column.
    """
    table, out = Path(table), Path(out)
    _check(rows, seed, size, min_count, workers)
    require_new_folder(out)
    columns = read_columns(table)
    require_rows(table, columns)
    rows = len(columns[0].codes) if rows is None else rows
    model = TableModel(columns, min_count, seed, title_column, category_column, price_column)
    names = own_names([column.name for column in columns])
    made = sample(model, rows, seed)
    info = _describe(table, model, names, rows, seed, size)
    del columns, model.source
    with whole_folder(out) as folder:
        (folder / "images").mkdir()
        files = []
        draw = partial(_draw, str(folder), seed, size)
        for done, name in enumerate(draw_in_order(draw, list(_pictures(made, model.roles)), workers), 1):
            files.append(name)
            if progress:
                progress(done, rows)
        splits = _splits(made, model.roles, files, seed)
        write_rows(folder / "metadata.csv", files, made.columns, [*names.values()], splits)
        return _finish(folder, info, splits)


def _pictures(made: Sample, roles: Roles) -> Iterator[Picture]:
    by_name = {column.name: column for column in made.columns}
    title = by_name.get(roles.title or "")
    category = by_name.get(roles.category or "")
    looks = [
        column for column in made.columns
        if column.kind == "category" and column is not category and any(look in column.name.lower() for look in _LOOKS)
    ]  # fmt: skip
    for number, level in enumerate(made.levels.tolist()):
        words = [column.values[column.codes[number]] for column in ([title] if title else []) + looks]
        name = category.values[category.codes[number]] if category else words[0] if words else ""
        yield Picture(number, name, " ".join(filter(None, words)), level)


def _draw(folder: str, seed: int, size: int, picture: Picture) -> str:
    """Write one picture; return its file name within `folder`."""
    rng = np.random.default_rng([seed, picture.number, 2])
    drawn = depict(picture.category, picture.words, picture.level, rng, size)
    buffer = io.BytesIO()
    drawn.save(buffer, "JPEG", quality=JPEG_QUALITY)
    name = image_name(buffer.getvalue())
    Path(folder, name).write_bytes(buffer.getvalue())
    return name


def _splits(made: Sample, roles: Roles, files: Sequence[str], seed: int) -> list[str]:
    """By product, as a real catalogue's: rows of one identifier or title stay together."""
    keys = [column for column in made.columns if column.kind == "code" or column.name == roles.title]
    keys = [column for column in keys if column.name == roles.title or len(column.values) < len(files)][:3]
    texts = {column.name: column.texts() for column in keys}
    texts = {"file_name": list(files), **texts}
    return assign_splits(
        [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)], list(texts)[1:], seed
    )


def write_rows(
    path: Path, files: Sequence[str], columns: Sequence[Drawn], names: Sequence[str], splits: Sequence[str]
) -> None:
    """metadata.csv, some rows at a time; a path to a picture becomes the row's own."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        for start in range(0, len(files), _WRITTEN_ROWS):
            end = start + _WRITTEN_ROWS
            cells = [_cells(column, files, start, end) for column in columns]
            header = ["file_name", *names, "split"]
            rows = [
                dict(zip(header, row, strict=True))
                for row in zip(files[start:end], *cells, splits[start:end], strict=True)
            ]
            text = csv_text(header, rows)
            file.write(text if not start else text[text.index("\n") + 1 :])


def _cells(column: Drawn, files: Sequence[str], start: int, end: int) -> list[str]:
    texts = [column.values[code] for code in column.codes[start:end].tolist()]
    if column.kind != "path":
        return texts
    return [text or name for text, name in zip(texts, files[start:end], strict=True)]


def _finish(folder: Path, info: dict[str, Any], splits: Sequence[str]) -> dict[str, Any]:
    write_whole(folder / "rejected.csv", csv_text(REJECTED_COLUMNS, []))
    counts = {"rows": len(splits), **{name: splits.count(name) for name in SPLITS}, "rejected": 0}
    info = {**info, "counts": counts, "version": VERSION}
    write_json(folder / "catalogue.json", info)
    return info


def _describe(table: Path, model: TableModel, names: dict[str, str], rows: int, seed: int, size: int) -> dict[str, Any]:
    roles = model.roles
    return {
        "source": "hangtag synth --like",
        "table": table.name,
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


def _check(rows: int | None, seed: int, size: int, min_count: int, workers: int | None) -> None:
    problems = []
    if rows is not None and not 1 <= rows <= MOST_ROWS:
        problems.append(f"rows is {rows}; it must be 1 to {MOST_ROWS:,}")
    if seed < 0:
        problems.append(f"seed is {seed}; it must be 0 or more")
    if not 64 <= size <= 2048:
        problems.append(f"size is {size} pixels; it must be 64 to 2,048")
    if min_count < 1:
        problems.append(f"min_count is {min_count}; it must be 1 or more")
    if workers is not None and workers < 1:
        problems.append(f"workers is {workers}; it must be 1 or more")
    if problems:
        raise UsageError("\n".join(problems))
