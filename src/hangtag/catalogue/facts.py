"""What is known of each picture of a catalogue: size, bytes, perceptual hash; pictures.csv keeps what fetch measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from hangtag.catalogue.duplicates import picture_hash
from hangtag.catalogue.pictures import read_picture
from hangtag.catalogue.store import Catalogue, csv_text
from hangtag.catalogue.table import read_table
from hangtag.errors import TableError
from hangtag.files import write_whole

FACTS = "pictures.csv"


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


def picture_facts(
    catalogue: Catalogue, progress: Callable[[int, int], Any] | None = None, workers: int | None = None
) -> dict[str, PictureFacts]:
    """The facts of every picture that a row names, by file name.

    They are read from pictures.csv; a picture that is not there, or whose size in bytes is another by now, is read
    and measured.

    Args:
        progress: called with pictures measured and pictures to measure.
        workers: threads; as a rule one for each core.

    Raises:
        PictureRefused: an ImageError: a picture cannot be read.
    """
    names = list(dict.fromkeys(row["file_name"] for row in catalogue.rows))
    known = _read(catalogue.path / FACTS)
    missing = [name for name in names if not _holds(known.get(name), catalogue.path / name)]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for done, facts in enumerate(pool.map(_measure_file, (catalogue.path / name for name in missing)), 1):
                known[missing[done - 1]] = facts
                if progress is not None:
                    progress(done, len(missing))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: known[name] for name in names}


def write_facts(folder: Path, facts: Mapping[str, PictureFacts]) -> None:
    """Write pictures.csv: file_name, width, height, bytes, hash."""
    rows = [
        {"file_name": name, **{key: str(value) for key, value in asdict(each).items()}} for name, each in facts.items()
    ]
    write_whole(folder / FACTS, csv_text(["file_name", "width", "height", "bytes", "hash"], rows))


def _measure_file(path: Path) -> PictureFacts:
    return measure(read_picture(path), path.stat().st_size)


def _holds(facts: PictureFacts | None, path: Path) -> bool:
    return facts is not None and path.stat().st_size == facts.bytes


def _read(path: Path) -> dict[str, PictureFacts]:
    """What pictures.csv says; a line that says nothing sensible counts as absent, since all can be measured anew."""
    try:
        rows: Iterable[Mapping[str, str]] = read_table(path).rows if path.exists() else []
    except TableError:
        return {}
    known = {}
    for row in rows:
        try:
            facts = PictureFacts(int(row["width"]), int(row["height"]), int(row["bytes"]), row["hash"])
            assert len(bytes.fromhex(facts.hash)) in (0, 32)
        except (KeyError, ValueError, AssertionError):
            continue
        known[row["file_name"]] = facts
    return known
