"""Small pictures inside a page, and a bound on what all of a page's together may weigh."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from hangtag.catalogue.pictures import read_picture
from hangtag.errors import ImageError
from hangtag.machine import cores

SIDE = 160
SMALLER_SIDES = (144, 128, 112, 96, 80, 64)
QUALITY = 70
_TRIED = 24
_AMPLE = 20_000
"""More than the largest thumbnail of a photo."""


def thumbnail(path: Path, side: int = SIDE) -> str | None:
    """A WebP of at most `side` pixels a side as a data URI; None where there is no readable picture.

    At this size it takes about seven tenths of the bytes of a JPEG that looks the same.
    """
    try:
        picture = read_picture(path, shown_at=side)
    except ImageError:
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()


class Album:
    """The thumbnails of one page, at most `most_bytes` of HTML; those that no longer fit are left out.

    `left_out` counts them, and the unreadable ones.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.room = most_bytes
        self.left_out = 0

    def thumbnail(self, file_name: str, side: int = SIDE) -> str | None:
        """A picture's data URI, or None."""
        return self._kept(thumbnail(self.folder / file_name, side) if self.room > 0 else None)

    def thumbnails(self, file_names: Sequence[str], side: int | None = None) -> list[str | None]:
        """The data URIs of many pictures, in order; made by several threads, since Pillow lets go of Python's lock.

        Args:
            side: pixels; by default the largest of SIDE and SMALLER_SIDES at which all are likely to fit.
        """
        with ThreadPoolExecutor(cores()) as threads:
            side = side or self._side(file_names, threads)
            made = threads.map(lambda name: thumbnail(self.folder / name, side), file_names)
            return [self._kept(each) for each in made]

    def _side(self, file_names: Sequence[str], threads: ThreadPoolExecutor) -> int:
        """Judged by a few of the pictures, evenly spread, where room may be short."""
        if len(file_names) * _AMPLE <= self.room:
            return SIDE
        tried = file_names[:: max(1, len(file_names) // _TRIED)]
        for side in (SIDE, *SMALLER_SIDES):
            made = threads.map(lambda name, side=side: len(thumbnail(self.folder / name, side) or ""), tried)
            if sum(made) * len(file_names) <= 0.97 * self.room * len(tried):
                return side
        return SMALLER_SIDES[-1]

    def _kept(self, made: str | None) -> str | None:
        if made is None or len(made) > self.room:
            self.left_out += 1
            return None
        self.room -= len(made)
        return made
