"""One picture from a file or bytes: checked, decoded whole and brought to upright RGB; and back to bytes to keep.

Pictures come from outside: their content, not their name, decides the format, and whatever is wrong with one
is an ImageError with a short reason. ICC profiles are not applied, as no model's own preprocessing does.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from PIL import Image, UnidentifiedImageError

from hangtag.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 100_000_000
MAX_PIXELS = 80_000_000
MAX_RATIO = 100
"""Longer to shorter side; beyond it a model's smallest input would be less than a pixel high."""
MAX_SIDE = 1024
JPEG_QUALITY = 92
_SKETCH_SIDE = 128

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)
_OTHER_CONTENT = {
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<svg": "an SVG drawing",
    b"<?xml": "XML, maybe an SVG drawing",
    b"%pdf": "a PDF document",
}
_PLAIN_JPEG_INFO = {"jfif", "jfif_version", "jfif_density", "jfif_unit", "progressive", "progression", "dpi"}

# Pillow warns of metadata it cannot parse, which cost nothing here, and of what is refused here anyway.
logging.getLogger("PIL").addHandler(logging.NullHandler())
for _category in (UserWarning, Image.DecompressionBombWarning):
    warnings.filterwarnings("ignore", category=_category, module=r"PIL\.")


class PictureRefused(ImageError):
    """An ImageError with a machine's word for it.

    `reason` is one of: missing, empty, unreadable, not-a-picture, truncated, damaged, too-large, too-flat.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Sketch(NamedTuple):
    """A picture's width and height in pixels, and its shapes: greys in less detail, a side at least 128 or its own."""

    width: int
    height: int
    greys: Image.Image


def read_picture(source: str | Path | bytes, max_pixels: int = MAX_PIXELS, shown_at: int | None = None) -> Image.Image:
    """Read a JPEG, PNG, WebP, GIF, BMP or TIFF as an upright RGB image without metadata.

    The EXIF orientation is applied, transparency laid on white, of an animation the first frame taken; 16-bit and
    floating-point greys are scaled to 8 bits.

    Args:
        source: a path, or the file's bytes.
        max_pixels: width times height that is still decoded, known before anything is.
        shown_at: the side in pixels that it will be scaled down to; a JPEG's frequencies are then turned into pixels
            only as far as twice that needs, so it may come smaller than the file says.

    Raises:
        PictureRefused: an ImageError; its `reason` is one of those listed there.
    """
    data, name = _bytes(source), _name(source)
    with _opened(data, name, max_pixels) as image:
        if shown_at:
            image.draft(None, (2 * shown_at, 2 * shown_at))
        return _decoded(image, data, name, max_pixels)


def picture_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height in pixels as `read_picture` would give them, from the file's head alone.

    Raises:
        PictureRefused: an ImageError; the file is missing, is no picture or is larger than can be decoded.
    """
    if not path.is_file():
        raise PictureRefused("missing", f"{path} is missing; give the path of a picture")
    with _opened(path, str(path), max_pixels) as image:
        width, height = image.size
        return (height, width) if _turn(image) in _SIDEWAYS else (width, height)


def encode_picture(image: Image.Image, max_side: int = MAX_SIDE) -> bytes:
    """An RGB image as a JPEG without metadata, its longer side at most `max_side`."""
    file = io.BytesIO()
    _bounded(image, max_side).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def keep_picture(
    source: str | Path | bytes, max_side: int = MAX_SIDE, max_pixels: int = MAX_PIXELS
) -> tuple[bytes, Sketch]:
    """A picture as a catalogue keeps it, the bytes of a JPEG without metadata, and its sketch.

    A JPEG that is this already (RGB, upright, within `max_side`, no EXIF, profile, comment or trailing data) is
    kept as it is, so that nothing is lost by a second compression; any other picture is encoded anew.

    Raises:
        PictureRefused: as `read_picture` does.
    """
    data, name = _bytes(source), _name(source)
    with _opened(data, name, max_pixels) as image:
        if _is_plain(image, data) and max(image.size) <= max_side:
            return data, _sketch(image)
        data = encode_picture(_decoded(image, data, name, max_pixels), max_side)
    with _opened(data, name, max_pixels) as image:
        return data, _sketch(image)


def sketch_picture(source: str | Path | bytes, max_pixels: int = MAX_PIXELS) -> Sketch:
    """The sketch of a picture; the same as `keep_picture` gives for what it keeps.

    Raises:
        PictureRefused: as `read_picture` does.
    """
    data, name = _bytes(source), _name(source)
    with _opened(data, name, max_pixels) as image:
        if _is_plain(image, data):
            return _sketch(image)
        whole = _decoded(image, data, name, max_pixels)
        return Sketch(*whole.size, whole.convert("L"))


def _sketch(image: Image.Image) -> Sketch:
    """Of a plain JPEG: read to its last byte, but its frequencies turned into pixels only as far as needed."""
    width, height = image.size
    image.draft("L", (_SKETCH_SIDE, _SKETCH_SIDE))
    image.load()
    return Sketch(width, height, image.copy())


def _bounded(image: Image.Image, max_side: int) -> Image.Image:
    scale = max_side / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, -int(-side * scale // 1)) for side in image.size)
    return image.resize((min(width, max_side), min(height, max_side)), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _name(source: str | Path | bytes) -> str:
    return "the file" if isinstance(source, bytes) else str(source)


def _bytes(source: str | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    path = Path(source)
    try:
        if not path.is_file():
            reason, what = ("not-a-picture", "is no file") if path.exists() else ("missing", "is missing")
            raise PictureRefused(reason, f"{path} {what}; give the path of a picture")
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise PictureRefused("unreadable", f"{path} cannot be read: {error}") from None


@contextmanager
def _opened(data: bytes | Path, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """The picture, not yet decoded; whatever is wrong with it, then or later, is a PictureRefused."""
    size = len(data) if isinstance(data, bytes) else data.stat().st_size
    if not size:
        raise PictureRefused("empty", f"{name} is empty; fetch or save the picture again")
    if size > MAX_BYTES:
        raise PictureRefused("too-large", f"{name} has more than {MAX_BYTES:,} bytes; save it smaller")
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS) as image:
            _check_size(image, name, max_pixels)
            yield image
    except PictureRefused:
        raise
    except UnidentifiedImageError:
        what = _what_else(data if isinstance(data, bytes) else data.read_bytes()[:1000])
        raise PictureRefused("not-a-picture", f"{name} {what}; {', '.join(FORMATS)} are read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise PictureRefused("too-large", f"{name} has more pixels than can be decoded; save it smaller") from None
    except Exception as error:  # on damaged files Pillow's decoders raise almost anything
        cut = any(word in str(error).lower() for word in ("truncated", "unexpected end", "not enough", "eof"))
        reason = "truncated" if cut or isinstance(error, EOFError) else "damaged"
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise PictureRefused(reason, f"{name} is {reason} ({detail}); fetch or save it again") from None


def _decoded(image: Image.Image, data: bytes, name: str, max_pixels: int) -> Image.Image:
    """The whole picture, upright and RGB."""
    if image.format == "PNG":
        _verify(data)
    image.load()
    _check_size(image, name, max_pixels)
    return _upright(image, _to_rgb(image))


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise PictureRefused(
            "too-large", f"{name} has {width} x {height} pixels; at most {max_pixels:,} are decoded, save it smaller"
        )
    if max(width, height) > MAX_RATIO * min(width, height):
        raise PictureRefused(
            "too-flat", f"{name} is {width} x {height} pixels; sides may differ {MAX_RATIO} times, crop it"
        )


def _verify(data: bytes) -> None:
    """Check every check-sum of a PNG, which decoding alone does not; the file must be opened anew for it."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.verify()


def _upright(image: Image.Image, rgb: Image.Image) -> Image.Image:
    """Turn `rgb` as the metadata of `image` says; unreadable metadata says nothing."""
    turn = _turn(image)
    return rgb if turn is None else rgb.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # metadata are parsed as loosely as they are written
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """An RGB copy of the first frame, without metadata."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _grey(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        rgb = Image.new("RGB", image.size, "white")
        rgb.paste(rgba, mask=rgba.getchannel("A"))
    else:
        rgb = image.convert("RGB")
    rgb.info = {}
    return rgb


def _grey(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point greys as 8 bits, white being the smallest usual one that fits all values."""
    values = numpy.nan_to_num(numpy.asarray(image, dtype=numpy.float64))
    tops: list[float] = [255.0, 65535.0, 2.0**32 - 1, float(values.max())]
    if image.mode == "F":
        tops.insert(0, 1.0)
    top = 65535.0 if image.mode.startswith("I;16") else next(top for top in tops if values.max() <= top)
    return Image.fromarray((values * (255 / top)).round().clip(0, 255).astype(numpy.uint8))


def _is_plain(image: Any, data: bytes) -> bool:
    """Whether a decoded picture is an RGB JPEG without metadata and without data after its end."""
    return (
        image.format == "JPEG"
        and image.mode == "RGB"
        and set(image.info) <= _PLAIN_JPEG_INFO
        and all(name == "APP0" for name, _ in image.applist)
        and data.endswith(b"\xff\xd9")
    )


def _what_else(data: bytes) -> str:
    """What content that is no picture looks like."""
    head = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, what in _OTHER_CONTENT.items():
        if head.startswith(start):
            return f"holds {what}, no picture"
    if data[4:8] == b"ftyp":
        return "is a HEIC or AVIF picture or a film, which are not read"
    return "holds no picture"
