"""What is known of each picture of a catalogue: its size, its bytes, its perceptual hash."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hangtag.catalogue.duplicates import picture_hash
from hangtag.catalogue.pictures import MAX_PIXELS, PictureRefused, Sketch, sketch_picture
from hangtag.machine import cores

_HASH = re.compile("(?:[0-9a-f]{64})?")


@dataclass(frozen=True)
class PictureFacts:
    """Width and height in pixels, size in bytes, and the hash of `duplicates.picture_hash`."""

    width: int
    height: int
    bytes: int
    hash: str


def measure(sketch: Sketch, size: int) -> PictureFacts:
    """The facts of a picture whose file has `size` bytes."""
    return PictureFacts(sketch.width, sketch.height, size, picture_hash(sketch.greys))


def measure_all(
    folder: Path,
    names: Sequence[str],
    known: Mapping[str, PictureFacts],
    progress: Callable[[int, int], Any] | None = None,
    workers: int | None = None,
    refused: dict[str, str] | None = None,
) -> dict[str, PictureFacts]:
    """The facts of the pictures `names` in `folder`: those `known` whose size in bytes still holds, the rest measured.

    Args:
        progress: called with pictures measured and pictures to measure.
        workers: threads; as a rule one for each core.
        refused: takes up, by file name, why a picture cannot be read; such a picture has no facts then.

    Raises:
        PictureRefused: an ImageError: a picture cannot be read, and `refused` is absent.
    """
    names = list(dict.fromkeys(names))
    facts = {name: known[name] for name in names if _holds(known.get(name), folder / name)}
    missing = [name for name in names if name not in facts]
    measured = partial(_measure_file, tolerant=refused is not None)
    with ThreadPoolExecutor(workers or cores()) as pool:
        try:
            for done, found in enumerate(pool.map(measured, (folder / name for name in missing)), 1):
                if isinstance(found, PictureFacts):
                    facts[missing[done - 1]] = found
                elif refused is not None:
                    refused[missing[done - 1]] = found
                if progress is not None:
                    progress(done, len(missing))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: facts[name] for name in names if name in facts}


def _measure_file(path: Path, tolerant: bool) -> PictureFacts | str:
    """A picture's facts; of one that cannot be read, if `tolerant`, why."""
    try:
        return measure(sketch_picture(path), path.stat().st_size)
    except PictureRefused as error:
        if not tolerant:
            raise
        return str(error)


def _holds(facts: PictureFacts | None, path: Path) -> bool:
    return facts is not None and path.stat().st_size == facts.bytes and _is_sound(facts)


def _is_sound(facts: PictureFacts) -> bool:
    """Whether facts that were read from a file can be those of a picture."""
    sides = (facts.width, facts.height)
    if not all(isinstance(side, int) and 0 < side <= MAX_PIXELS for side in sides) or math.prod(sides) > MAX_PIXELS:
        return False
    return isinstance(facts.hash, str) and _HASH.fullmatch(facts.hash) is not None
