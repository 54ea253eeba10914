"""Small pictures inside a page, and a bound on what all of a page's together may weigh."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from hangtag.catalogue.pictures import read_picture
from hangtag.errors import ImageError

SIDE = 160
QUALITY = 82


def thumbnail(path: Path, side: int = SIDE) -> str | None:
    """A JPEG of at most `side` pixels a side as a data URI; None where there is no readable picture."""
    try:
        picture = read_picture(path)
    except ImageError:
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


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
        found = thumbnail(self.folder / file_name, side) if self.room > 0 else None
        if found is None or len(found) > self.room:
            self.left_out += 1
            return None
        self.room -= len(found)
        return found
