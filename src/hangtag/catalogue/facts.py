"""What is known of each picture of a catalogue: its size, its bytes, its perceptual hash."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from hangtag.catalogue.duplicates import picture_hash
from hangtag.catalogue.pictures import read_picture


@dataclass(frozen=True)
class PictureFacts:
    """Width and height in pixels, size in bytes, and the hash of `duplicates.picture_hash`."""

    width: int
    height: int
    bytes: int
    hash: str


def measure(image: Image.Image, size: int) -> PictureFacts:
    """The facts of a decoded picture whose file has `size` bytes."""
    return PictureFacts(*image.size, size, picture_hash(image))


def measure_all(
    folder: Path,
    names: Sequence[str],
    known: Mapping[str, PictureFacts],
    progress: Callable[[int, int], Any] | None = None,
    workers: int | None = None,
) -> dict[str, PictureFacts]:
    """The facts of the pictures `names` in `folder`: those `known` whose size in bytes still holds, the rest measured.

    Args:
        progress: called with pictures measured and pictures to measure.
        workers: threads; as a rule one for each core.

    Raises:
        PictureRefused: an ImageError: a picture cannot be read.
    """
    names = list(dict.fromkeys(names))
    facts = {name: known[name] for name in names if _holds(known.get(name), folder / name)}
    missing = [name for name in names if name not in facts]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for done, found in enumerate(pool.map(_measure_file, (folder / name for name in missing)), 1):
                facts[missing[done - 1]] = found
                if progress is not None:
                    progress(done, len(missing))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: facts[name] for name in names}


def _measure_file(path: Path) -> PictureFacts:
    return measure(read_picture(path), path.stat().st_size)


def _holds(facts: PictureFacts | None, path: Path) -> bool:
    return facts is not None and path.stat().st_size == facts.bytes
