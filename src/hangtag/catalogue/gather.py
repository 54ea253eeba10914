"""Every row's picture, from wherever it is - a URL, a path, bytes in the table - into the catalogue's folder.

Each place is looked at once, however many rows name it, and what became of it is noted in the journal at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import get_ident

from hangtag.catalogue.facts import measure
from hangtag.catalogue.journal import Entry, Journal, Kept, Refused
from hangtag.catalogue.pictures import MAX_SIDE, PictureRefused, keep_picture
from hangtag.catalogue.source import Source
from hangtag.catalogue.split import fold
from hangtag.catalogue.store import image_name
from hangtag.catalogue.table import Table
from hangtag.catalogue.web import Failure, Limits, Outcome, download
from hangtag.catalogue.web.addresses import web_url
from hangtag.machine import cores
from hangtag.progress import Progress, Stages

_WAITING = 4  # pictures read ahead for each thread


@dataclass(frozen=True)
class Bounds:
    """What is fetched and how much of it is kept.

    `max_side` is the longer side of the kept pictures in pixels; `allow_outside` also reads pictures outside the
    table's folder; `workers` are threads that decode, as a rule one for each core: Pillow lets go of the interpreter
    meanwhile.
    """

    max_side: int = MAX_SIDE
    allow_outside: bool = False
    workers: int | None = None
    web: Limits = field(default_factory=Limits)


def gather(source: Source, column: str, journal: Journal, bounds: Bounds, stages: Stages) -> list[Entry]:
    """What became of each row's picture, in the order of the rows.

    Raises:
        OSError: the catalogue's folder cannot be written; what is complete stays.
    """
    found: list[str | Path | Refused] = [
        locate(row.get(column, ""), source.folder, bounds.allow_outside) for row in source.table.rows
    ]
    keep = _Keeper(journal.folder, bounds.max_side)
    with ThreadPoolExecutor(bounds.workers or cores()) as pool:
        try:
            if column in source.table.blobs or any(isinstance(each, Path) for each in found):
                with stages("reading pictures") as progress:
                    _read_here(source.table, column, found, journal, keep, pool, progress)
            asked = dict.fromkeys(each for each in found if isinstance(each, str))
            unknown = [url for url in asked if url not in journal.known]
            if unknown:
                with stages("fetching pictures") as progress:
                    asyncio.run(_fetch(unknown, journal, keep, pool, bounds.web, progress))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [journal.known[each] if isinstance(each, str) else _as_refused(each) for each in found]


def locate(cell: str, folder: Path, allow_outside: bool) -> str | Path | Refused:
    """Where a cell says that the picture is, or why no such place is looked at. A URL is given as it is asked for."""
    cell = cell.strip()
    if not fold(cell):
        return Refused("empty", "the row names no picture")
    if cell.startswith("//") and "." in cell[2:].partition("/")[0]:
        cell = f"https:{cell}"  # as web pages write it
    scheme, colon, _ = cell.partition(":")
    if colon and scheme.lower() in ("http", "https"):
        try:
            return str(web_url(cell))
        except ValueError as error:
            return Refused("bad-url", str(error))
    if cell.partition("://")[1] or scheme.lower() in ("data", "file", "ftp", "javascript"):
        return Refused("scheme", f"{scheme[:20]}: is not read; give an http or https URL, or a path")
    try:
        path = (folder / cell).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        return Refused("unreadable", f"no path: {error}")
    if not allow_outside and not path.is_relative_to(folder.resolve()):
        detail = "the path leads out of the table's folder; move the picture there or use --allow-outside"
        return Refused("outside", detail)
    return path


class _Keeper:
    """Checks a picture and puts it into the catalogue's folder under its content's name, whole."""

    def __init__(self, folder: Path, max_side: int) -> None:
        self._folder, self._max_side = folder, max_side

    def __call__(self, source: Path | bytes) -> Entry:
        try:
            data, sketch = keep_picture(source, self._max_side)
        except PictureRefused as error:
            return Refused(error.reason, str(error), attempts=1)
        name = image_name(data)
        self._write(self._folder / name, data)
        return Kept(name, measure(sketch, len(data)))

    def _write(self, path: Path, data: bytes) -> None:
        try:
            if os.stat(path).st_size == len(data):
                return  # the same content, from another place
        except FileNotFoundError:
            pass
        temporary = path.with_name(f".{path.name}.{get_ident()}.tmp")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _read_here(
    table: Table,
    column: str,
    found: list[str | Path | Refused],
    journal: Journal,
    keep: _Keeper,
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> None:
    """Bring in what needs no network; its place in `found` becomes the journal's name for it."""
    waiting: deque[tuple[str, Future[Entry]]] = deque()
    begun: set[str] = set()

    def settle() -> None:
        place, future = waiting.popleft()
        journal.add(place, future.result())

    for row, source in enumerate(_sources(table, column, found)):
        if source is not None:
            place = _name(source)
            found[row] = place or _as_refused(source)
            if place and place not in journal.known and place not in begun:
                begun.add(place)
                waiting.append((place, pool.submit(keep, source)))
        while len(waiting) > _WAITING * cores():
            settle()
        progress(row + 1 - len(waiting), len(found))
    while waiting:
        settle()
        progress(len(found) - len(waiting), len(found))


def _sources(table: Table, column: str, found: Sequence[object]) -> Iterator[Path | bytes | None]:
    """For each row what can be read here: the bytes in the table, else its file, else None."""
    blobs = enumerate(table.blobs[column](), 1) if column in table.blobs else None
    for number, each in zip(table.numbers, found, strict=True):
        data = next(value for at, value in blobs if at == number) if blobs else None
        yield each if data is None and isinstance(each, Path) else data


def _name(source: Path | bytes) -> str:
    """What the journal calls bytes or a file: another name once the file has changed, "" where there is none."""
    if isinstance(source, bytes):
        return f"bytes:{hashlib.sha256(source).hexdigest()}"
    try:
        state = source.stat()
    except (OSError, ValueError):
        return ""
    told = f"{source}\0{state.st_size}\0{state.st_mtime_ns}"
    return f"file:{hashlib.sha256(told.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _as_refused(found: object) -> Refused:
    """A refusal as it is; a path that was never read, because nothing is there, as one."""
    if isinstance(found, Refused):
        return found
    return Refused("missing", f"{found} is missing; give the path of a picture")


async def _fetch(
    urls: Sequence[str], journal: Journal, keep: _Keeper, pool: ThreadPoolExecutor, limits: Limits, progress: Progress
) -> None:
    loop, started = asyncio.get_running_loop(), time.monotonic()
    done = refused = 0

    async def settle(outcome: Outcome) -> None:
        nonlocal done, refused
        if isinstance(outcome.result, Failure):
            entry: Entry = Refused(outcome.result.reason, outcome.result.detail, outcome.attempts)
        else:
            entry = await loop.run_in_executor(pool, keep, outcome.result)
            entry = replace(entry, attempts=outcome.attempts) if isinstance(entry, Refused) else entry
        journal.add(outcome.url, entry)
        done, refused = done + 1, refused + isinstance(entry, Refused)
        rate = f"{done / max(time.monotonic() - started, 1e-3):.0f} a second"
        progress(done, len(urls), f"{rate}, {refused} rejected" if refused else rate)

    await download(urls, settle, limits)
