"""Pictures that are drawn, by several processes in the order of their rows, and splits that keep like ones together."""

from __future__ import annotations

import io
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from hangtag.catalogue.duplicates import DISTANCE, alike_pictures, picture_hash
from hangtag.catalogue.pictures import sketch_picture
from hangtag.catalogue.split import SHARES, Places
from hangtag.catalogue.store import image_name
from hangtag.errors import HangtagError, UsageError
from hangtag.machine import cores

JPEG_QUALITY = 90
MOST_COMPARED = 100_000
"""So many pictures are compared at most: where they look alike, as drawn ones may, all are compared with all, which is
half a minute, and an hour for ten times as many."""
UNEVEN = 0.03
"""A split that misses its share by more of the rows is of little use, even if no picture is like one of another."""
_DISTANCES = (DISTANCE, 16, 8)
_CHUNK, _AHEAD = 8, 16
T = TypeVar("T")


def check_drawing(rows: int | None, most: int, seed: int, size: int, workers: int | None, more: str = "") -> None:
    """Refuse what no catalogue can be drawn with, all at once; `more` is what else the caller has found wrong.

    Raises:
        UsageError: rows, seed, size or workers is out of range, or there is `more`.
    """
    problems = []
    if rows is not None and not 1 <= rows <= most:
        problems.append(f"rows is {rows}; it must be 1 to {most:,}")
    if seed < 0:
        problems.append(f"seed is {seed}; it must be 0 or more")
    if not 64 <= size <= 2048:
        problems.append(f"size is {size} pixels; it must be 64 to 2,048")
    if more:
        problems.append(more)
    if workers is not None and workers < 1:
        problems.append(f"workers is {workers}; it must be 1 or more")
    if problems:
        raise UsageError("\n".join(problems))


def save_drawn(folder: str, picture: Image.Image, hashed: bool) -> tuple[str, str]:
    """Write a drawn picture; return its file name within `folder` and, if asked for, its hash."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    data = buffer.getvalue()
    name = image_name(data)
    Path(folder, name).write_bytes(data)
    return name, picture_hash(sketch_picture(data).greys) if hashed else ""


def draw_all(
    draw: Callable[[bool, Any], tuple[str, str]],
    products: Iterable[Any],
    rows: int,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[str], dict[str, str] | None]:
    """Each row's file name, and the pictures' hashes by file name; None for more than are compared.

    Args:
        draw: of whether a hash is asked for and a product, gives what `save_drawn` does.
        progress: called with (pictures done, pictures in all) after each.
    """
    files, hashes, hashed = [], {}, rows <= MOST_COMPARED
    for done, (name, found) in enumerate(draw_in_order(partial(draw, hashed), products, rows, workers), 1):
        files.append(name)
        if hashed:
            hashes[name] = found
        if progress:
            progress(done, rows)
    return files, hashes if hashed else None


def draw_in_order(draw: Callable[[Any], T], products: Iterable[Any], count: int, workers: int | None) -> Iterator[T]:
    """draw(product) for each of `count` in order, over `workers` processes; a few are drawn in this one.

    Products are taken as they are needed, so that there may be more of them than memory holds.

    Raises:
        HangtagError: a process was killed or could not start.
    """
    processes = min(workers or cores(), -(-count // 32))
    if processes <= 1:
        yield from map(draw, products)
        return
    executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    waiting: deque[Future[list[T]]] = deque()
    try:
        products = iter(products)
        while chunk := list(islice(products, _CHUNK)):
            waiting.append(executor.submit(_draw_each, draw, chunk))
            if len(waiting) > _AHEAD * processes:
                yield from waiting.popleft().result()
        for future in waiting:
            yield from future.result()
    except BrokenProcessPool:
        raise HangtagError(
            "a process that draws pictures ended early; pass workers=1, or in a script "
            'call synthesise under `if __name__ == "__main__":`'
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _draw_each(draw: Callable[[Any], T], products: list[Any]) -> list[T]:
    return [draw(product) for product in products]


def divide_drawn(
    hashes: Mapping[str, str] | None, divide: Callable[[Sequence[tuple[str, str]]], Places]
) -> tuple[Places, dict[str, Any]]:
    """Each row's place in SPLITS, near duplicates in one, and what catalogue.json says of them.

    Many pictures drawn of few shapes hang together, each like some other, until one group holds most of them. Then
    only pictures at a smaller distance count as near duplicates: the largest at which splits keep their shares.

    Args:
        hashes: of every picture by file name; None where they are not compared.
        divide: the splits, given pairs of near duplicates.
    """
    plain = divide([])
    if hashes is not None:
        for distance in _DISTANCES:
            alike, told = alike_pictures(hashes, distance)
            splits = divide(alike) if alike else plain
            if _missed(splits) <= max(UNEVEN, _missed(plain)):
                return splits, told
    return plain, {"distance": DISTANCE, "pictures": None, "compared": False}


def _missed(splits: Places) -> float:
    """By how much a split misses its share at most, as a share of the rows."""
    sizes = np.bincount(splits, minlength=len(SHARES)) / max(len(splits), 1)
    return float(np.abs(sizes - SHARES).max())
