"""A catalogue from somebody's table: every picture checked and brought to one form, every row kept or explained.

Pictures are URLs, paths - absolute or from the table's own folder - or bytes in the table. The table comes from
outside: a path that leads out of that folder, also through a link, and a host on a private network are refused unless
allowed.
A run that was stopped, even by `kill -9`, goes on where it was when it is started again (journal.py).
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hangtag.catalogue.duplicates import alike_pictures
from hangtag.catalogue.gather import Bounds, gather
from hangtag.catalogue.journal import NAME, Entry, Journal, Kept, Refused, open_journal
from hangtag.catalogue.source import Source, open_source
from hangtag.catalogue.split import GROUP_KEYS, assign_splits
from hangtag.catalogue.store import own_names, write_catalogue
from hangtag.catalogue.table import Row, rejection
from hangtag.errors import DataError, TableError, nearest_name
from hangtag.progress import Stages, silent


def fetch(
    table: str | Path,
    out: str | Path,
    image_column: str = "imageurl",
    keys: Sequence[str] | None = None,
    seed: int = 0,
    config: str | None = None,
    retry_rejected: bool = False,
    bounds: Bounds | None = None,
    stages: Stages = silent,
) -> dict[str, Any]:
    """Make the catalogue `out` from a table; started again, go on where an earlier run was.

    Columns that an imagefolder would take for its own (`image`, `file_name`, `split`, `*_file_name`) are kept
    under their name with `_source` added; columns of bytes are left out. A row whose picture cannot be used goes to
    rejected.csv with its number (from 1 after the header), its cell, a reason, a sentence and the number of tries.

    Args:
        table: as `source.open_source` takes it.
        image_column: the column of URLs, paths or bytes.
        keys: columns whose equal values must not be divided between splits; as a rule those of `product_code`
            and `title` that are there. Equal and nearly equal pictures are never divided.
        config: which configuration of a Hugging Face data set.
        retry_rejected: also try again what an earlier run could not get.

    Returns:
        What stands in catalogue.json: source, options, seed, renamed and left-out columns, reasons of rejection, near
        duplicates, counts, version.

    Raises:
        TableError: the table cannot be read, lacks a column, or no row can be used; nothing is written then.
        OutputNotEmpty: `out` holds something else. UsageError: it belongs to another table or process.
        DataError: `out` cannot be written, for example because the disk is full; what is complete stays.
    """
    bounds = bounds or Bounds()
    source = open_source(table, config)
    _require(source, image_column, keys or [])
    keys = [name for name in GROUP_KEYS if name in source.table.columns] if keys is None else list(keys)
    options = {"image_column": image_column, "keys": keys, "allow_outside": bounds.allow_outside}
    options |= {"max_side": bounds.max_side, "obey_robots": bounds.web.obey_robots}
    try:
        with open_journal(Path(out), Path(source.name).name, bounds.max_side, retry_rejected) as journal:
            entries = gather(source, image_column, journal, bounds, stages)
            if not any(isinstance(entry, Kept) for entry in entries):
                _remove_if_empty(journal)
                raise _nothing_left(source, _rejected(source, image_column, entries))
            info = {"source": str(table), "options": options, "seed": seed}
            return _write(journal, source, image_column, keys, entries, info, stages)
    except OSError as error:
        kept = "what is complete so far is kept: run the same command again"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"{out}: the disk is full; {kept} when there is room") from None
        raise DataError(f"{out} cannot be written: {error.strerror or error}; mend that, {kept}") from None


def _require(source: Source, image_column: str, keys: Iterable[str]) -> None:
    columns = source.table.columns
    pictures = list(dict.fromkeys([*columns, *source.table.blobs]))
    wanted = [(image_column, "choose the pictures' column with --image-column", pictures)]
    wanted += [(key, "a key", columns) for key in keys]
    absent = [
        f"no column {name!r} ({why}){nearest_name(name, known)}" for name, why, known in wanted if name not in known
    ]
    if absent:
        raise TableError(f"{source.name}: " + "\n".join(absent))


def _write(
    journal: Journal,
    source: Source,
    image_column: str,
    keys: Sequence[str],
    entries: Sequence[Entry],
    info: dict[str, Any],
    stages: Stages,
) -> dict[str, Any]:
    """The catalogue's tables, from what became of every row; pictures that no row names any more are removed."""
    names = own_names(source.table.columns)
    used = [(row, entry) for row, entry in zip(source.table.rows, entries, strict=True) if isinstance(entry, Kept)]
    rows: list[Row] = [
        {"file_name": entry.file_name, **{own: row[name] for name, own in names.items()}} for row, entry in used
    ]
    hashes = {entry.file_name: entry.facts.hash for _, entry in used}
    with stages("comparing pictures") as progress:
        alike, info["near_duplicates"] = alike_pictures(hashes, progress=progress)
    splits = assign_splits(rows, [names[key] for key in keys], info["seed"], alike=alike)
    for row, split in zip(rows, splits, strict=True):
        row["split"] = split
    rejected = _rejected(source, image_column, entries)
    info["renamed"] = {name: own for name, own in names.items() if own != name}
    info["left_out"] = [*source.table.left_out, *(name for name in source.table.blobs if name not in names)]
    info["reasons"] = dict(Counter(bad["reason"] for bad in rejected).most_common())
    info = write_catalogue(journal.folder, list(names.values()), rows, rejected, info)
    for path in (journal.folder / "images").glob("*.jpg"):
        if f"images/{path.name}" not in hashes:
            path.unlink()
    return info


def _rejected(source: Source, image_column: str, entries: Sequence[Entry]) -> list[Row]:
    """The rejected rows in the table's order, those that could not be read included."""
    table = source.table
    rejected = list(table.rejected)
    for row, number, entry in zip(table.rows, table.numbers, entries, strict=True):
        if isinstance(entry, Refused):
            cell = row.get(image_column, "")
            rejected.append(rejection(number, cell, entry.reason, entry.detail, entry.attempts))
    return sorted(rejected, key=lambda bad: int(bad["row"]))


def _remove_if_empty(journal: Journal) -> None:
    """Take away a folder that never held a picture."""
    if any(isinstance(entry, Kept) for entry in journal.known.values()):
        return
    (journal.folder / NAME).unlink()
    with suppress(OSError):
        (journal.folder / "images").rmdir()
        journal.folder.rmdir()


def _nothing_left(source: Source, rejected: list[Row], at_most: int = 3) -> TableError:
    counts = Counter(bad["reason"] for bad in rejected)
    firsts = {bad["reason"]: bad for bad in reversed(rejected)}
    listed = [
        f"  {count} {reason}, first in row {firsts[reason]['row']}: {firsts[reason]['detail']}"
        for reason, count in counts.most_common(at_most)
    ]
    return TableError(
        f"{source.name}: none of its {len(rejected)} rows has a picture that can be used:\n" + "\n".join(listed)
    )
