"""Validation rows to look at during training: their pictures, small, with the true and the written answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from hangtag.catalogue.pictures import read_picture
from hangtag.errors import ImageError

THUMBNAIL_SIDE = 256
NO_END = "(did not end)"


@dataclass(frozen=True)
class Sample:
    """One validation row at one evaluation.

    `written` is None where the model's answer did not end; `score` lies between 0 and 1, None where there is none.
    """

    pictures: tuple[Path, ...]
    truth: str
    written: str | None
    score: float | None

    def texts(self) -> tuple[str, str]:
        """The true and the written answer, as any file can hold them: half a surrogate pair is a question mark."""
        written = NO_END if self.written is None else self.written
        return _valid(self.truth), _valid(written)

    def thumbnails(self) -> list[Image.Image | None]:
        """The pictures, RGB with sides of at most 256 pixels; None for one that cannot be read."""
        return [_thumbnail(path) for path in self.pictures]


def _thumbnail(path: Path) -> Image.Image | None:
    try:
        image = read_picture(path)
    except ImageError:
        return None
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return image


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
