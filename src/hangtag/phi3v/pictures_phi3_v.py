"""Whatever a user calls a picture, as a flat list of PIL pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from hangtag.errors import ImageError


def flatten(images: Any) -> Iterator[Any]:
    """The pictures of a list of any depth or of a batch [N, ...], in order; a single picture alone."""
    if isinstance(images, list | tuple) or (isinstance(images, torch.Tensor | np.ndarray) and images.ndim == 4):
        for each in images:
            yield from flatten(each)
    else:
        yield images


def to_pil(image: Any) -> Image.Image:
    """A picture as PIL RGB.

    A path is opened; nothing is fetched from a URL. Arrays and tensors are taken as uint8, or as floats in 0..1, of
    shape [H, W], [H, W, 3] or [3, H, W].

    Raises:
        ImageError: anything else, or a file that cannot be decoded.
    """
    if isinstance(image, str | Path):
        try:
            with Image.open(image) as opened:
                return to_pil(opened)
        except (FileNotFoundError, IsADirectoryError, UnidentifiedImageError) as error:
            raise ImageError(f"{image!s:.200} is no picture file; give a path, or a picture opened with PIL") from error
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise ImageError(f"a picture of {image.width}x{image.height} pixels has none; leave it out")
        try:
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")
        except (OSError, ValueError, SyntaxError, AssertionError) as error:  # Pillow asserts that the file is open
            why = str(error) or "its file is closed"
            raise ImageError(f"the picture cannot be decoded: {why}; save it again or leave it out") from error
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
    if not isinstance(image, np.ndarray):
        raise ImageError(f"{type(image).__name__} is no picture; open it with PIL.Image.open")
    if image.ndim == 3 and image.shape[-1] != 3 and image.shape[0] == 3:
        image = image.transpose(1, 2, 0)
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)) or 0 in image.shape:
        raise ImageError(f"an array of shape {list(image.shape)} is no picture; give [H, W], [H, W, 3] or [3, H, W]")
    if np.issubdtype(image.dtype, np.floating) and image.min() >= 0 and image.max() <= 1:
        image = np.rint(image * 255.0).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ImageError(
            f"an array of {image.dtype} with values from {image.min()} to {image.max()} is no picture; "
            "give uint8, or floats from 0 to 1"
        )
    return Image.fromarray(np.ascontiguousarray(image)).convert("RGB")


__all__ = ["flatten", "to_pil"]
