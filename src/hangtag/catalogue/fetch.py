"""A catalogue from somebody's table: every picture checked and brought to one form, every row kept or explained.

Pictures are paths, absolute or from the table's own folder. The table comes from outside, so a path that leads
out of that folder (also through a link) is refused unless allowed. Rows with equal pictures share one file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from hangtag.catalogue.pictures import MAX_SIDE, PictureRefused, keep_picture
from hangtag.catalogue.split import GROUP_KEYS, assign_splits, fold
from hangtag.catalogue.store import image_name, write_catalogue
from hangtag.catalogue.table import Row, Table, read_table, rejection
from hangtag.errors import DataError, TableError, nearest_name
from hangtag.files import whole_folder

Refusal = tuple[str, str]
"""A short reason and a sentence."""


def fetch(
    table: str | Path,
    out: str | Path,
    image_column: str = "imageurl",
    keys: Sequence[str] | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    allow_outside: bool = False,
    max_side: int = MAX_SIDE,
) -> dict[str, Any]:
    """Make the catalogue `out` from a table; the folder appears whole or not at all.

    Columns that an imagefolder would take for its own (`image`, `file_name`, `split`, `*_file_name`) are kept
    under their name with `_source` added. A row whose picture cannot be used goes to rejected.csv with its
    number (from 1 after the header), its cell, a reason and a sentence.

    Args:
        image_column: the column of paths. http(s) URLs are not fetched yet: their rows are rejected as `url`.
        keys: columns whose equal values must not be divided between splits; as a rule those of `product_code`
            and `title` that are there. Equal pictures are never divided.
        workers: threads; as a rule one for each core.
        progress: called with pictures done and pictures in all.
        allow_outside: also read pictures outside the table's folder.
        max_side: longer side of the kept pictures, in pixels.

    Returns:
        What stands in catalogue.json: source, options, seed, renamed columns, reasons of rejection, counts, version.

    Raises:
        TableError: the table cannot be read, lacks a column, or no row can be used; nothing is written then.
        OutputNotEmpty: `out` holds something already.
        DataError: `out` cannot be written.
    """
    source = Path(table)
    read = read_table(source)
    _require(source, read.columns, image_column, keys or [])
    keys = [name for name in GROUP_KEYS if name in read.columns] if keys is None else list(keys)
    names = _own_names(read.columns)
    try:
        with whole_folder(out) as folder:
            places = [_locate(row[image_column], source.parent, allow_outside) for row in read.rows]
            files = _keep_all(
                [place for place in places if isinstance(place, Path)], folder, max_side, workers, progress
            )
            results = [files[place] if isinstance(place, Path) else place for place in places]
            rows, rejected = _sort_out(read, names, image_column, results)
            if not rows:
                raise _nothing_left(source, rejected)
            for row, split in zip(rows, assign_splits(rows, [names[key] for key in keys], seed), strict=True):
                row["split"] = split
            options = {"image_column": image_column, "keys": keys, "allow_outside": allow_outside, "max_side": max_side}
            renamed = {name: own for name, own in names.items() if own != name}
            reasons = dict(Counter(bad["reason"] for bad in rejected).most_common())
            info = {"source": str(table), "options": options, "seed": seed, "renamed": renamed, "reasons": reasons}
            return write_catalogue(folder, list(names.values()), rows, rejected, info)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror or error}; free or choose another place") from None


def _require(table: Path, columns: list[str], image_column: str, keys: Iterable[str]) -> None:
    wanted = {image_column: "choose the pictures' column with --image-column", **dict.fromkeys(keys, "a key")}
    absent = [
        f"no column {name!r} ({why}){nearest_name(name, columns)}"
        for name, why in wanted.items()
        if name not in columns
    ]
    if absent:
        raise TableError(f"{table}: " + "\n".join(absent))


def _own_names(columns: list[str]) -> dict[str, str]:
    """The table's column names and what they are called in the catalogue."""
    names: dict[str, str] = {}
    for name in columns:
        own = name
        taken = name in ("image", "split") or f"_{name}".endswith(("_file_name", "_file_names"))
        while taken:
            own += "_source"
            taken = own in columns
        names[name] = own
    return names


def _locate(cell: str, folder: Path, allow_outside: bool) -> Path | Refusal:
    """Where a cell says that the picture lies, or why no such place is looked at."""
    cell = cell.strip()
    if not fold(cell):
        return "empty", "the row names no picture"
    scheme, colon, _ = cell.partition("://")
    if colon and scheme.lower() in ("http", "https"):
        return "url", "fetching URLs is not available yet; download the picture and give its path"
    if colon:
        return "scheme", f"{scheme[:20]}:// is not read; give a path"
    try:
        path = (folder / cell).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        return "unreadable", f"no path: {error}"
    if not allow_outside and not path.is_relative_to(folder.resolve()):
        return "outside", "the path leads out of the table's folder; move the picture there or use --allow-outside"
    return path


def _keep_all(
    paths: list[Path], folder: Path, max_side: int, workers: int | None, progress: Callable[[int, int], None] | None
) -> dict[Path, str | Refusal]:
    """Each picture's file name in the catalogue, where it then lies, or why it is refused; each path read once.

    Threads are enough: Pillow lets go of the interpreter while it decodes and resizes.
    """
    (folder / "images").mkdir()
    paths = list(dict.fromkeys(paths))
    kept: dict[Path, str | Refusal] = {}
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for done, result in enumerate(pool.map(partial(_keep, folder=folder, max_side=max_side), paths), 1):
                kept[paths[done - 1]] = result
                if progress is not None:
                    progress(done, len(paths))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return kept


def _keep(path: Path, folder: Path, max_side: int) -> str | Refusal:
    try:
        data = keep_picture(path, max_side)
    except PictureRefused as error:
        return error.reason, str(error)
    name = image_name(data)
    try:
        with open(folder / name, "xb") as file:
            file.write(data)
    except FileExistsError:
        pass  # the same content, from another path
    return name


def _sort_out(
    table: Table, names: dict[str, str], image_column: str, results: Sequence[str | Refusal]
) -> tuple[list[Row], list[Row]]:
    """The catalogue's rows, still without a split, and the rejected ones in the table's order."""
    rows: list[Row] = []
    rejected = list(table.rejected)
    for row, number, result in zip(table.rows, table.numbers, results, strict=True):
        if isinstance(result, str):
            rows.append({"file_name": result, **{own: row[name] for name, own in names.items()}})
        else:
            rejected.append(rejection(number, row[image_column], *result))
    return rows, sorted(rejected, key=lambda bad: int(bad["row"]))


def _nothing_left(table: Path, rejected: list[Row], at_most: int = 3) -> TableError:
    counts = Counter(bad["reason"] for bad in rejected)
    firsts = {bad["reason"]: bad for bad in reversed(rejected)}
    listed = [
        f"  {count} {reason}, first in row {firsts[reason]['row']}: {firsts[reason]['detail']}"
        for reason, count in counts.most_common(at_most)
    ]
    return TableError(
        f"{table}: none of its {len(rejected)} rows has a picture that can be used:\n" + "\n".join(listed)
    )
