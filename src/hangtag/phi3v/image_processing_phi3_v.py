"""Pictures to crops: Phi-3-vision's HD transform, the CLIP normalisation, the global view and the tiles.

Written from recorded results of the published image_processing_phi3_v.py (MIT), to which it is equal bit for bit.
Pillow resizes, torch does the rest; torchvision is not needed.

Shapes: N pictures, H W canvas size in pixels, S crop side, T tiles of a canvas (H/S * W/S).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.processing_utils import ImagesKwargs

from hangtag.errors import ImageError

OPENAI_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
WHITE = (255, 255, 255)


class Phi3VImageProcessorKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]
    """What a call or `from_pretrained` may set beside the fields common to all image processors."""

    num_crops: int
    crop_size: int
    num_img_tokens: int
    pad_to_num_crops: bool


class Phi3VImageProcessor(BaseImageProcessor):
    """Turns pictures into `pixel_values`, `image_sizes` and token counts.

    Args:
        num_crops: the most tiles a canvas may have.
        crop_size: S, the side of a crop in pixels.
        image_mean, image_std: per channel, of values in 0..1.
        num_img_tokens: tokens per crop, a square number.
        pad_to_num_crops: give every picture `num_crops` + 1 slots as the reference does, rather than as many as the
            picture with most crops in the call needs.
    """

    model_input_names = ["pixel_values", "image_sizes"]  # noqa: RUF012
    valid_kwargs = Phi3VImageProcessorKwargs

    def __init__(
        self,
        num_crops: int = 4,
        crop_size: int = 336,
        image_mean: Sequence[float] = OPENAI_CLIP_MEAN,
        image_std: Sequence[float] = OPENAI_CLIP_STD,
        num_img_tokens: int = 144,
        pad_to_num_crops: bool = False,
        **kwargs: Any,
    ) -> None:
        for unused in ("auto_map", "image_processor_type", "do_convert_rgb"):
            kwargs.pop(unused, None)
        super().__init__(**kwargs)
        self.num_crops = num_crops
        self.crop_size = crop_size
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.num_img_tokens = num_img_tokens
        self.pad_to_num_crops = pad_to_num_crops

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Size (width, height) of a landscape picture after resizing, before padding; the width is a multiple of S."""
        ratio = width / height
        scale = 1
        while scale * math.ceil(scale / ratio) <= self.num_crops:
            scale += 1
        new_width = (scale - 1) * self.crop_size
        new_height = int(new_width / ratio)
        if new_height < 1:
            raise ImageError(
                f"a picture of {width}x{height} pixels is too flat: it would be {new_width}x0 after resizing; "
                f"crop it to at most {self.num_crops * self.crop_size}:1"
            )
        return new_width, new_height

    def size_after(self, width: int, height: int) -> tuple[int, int]:
        """Canvas size (H, W) in pixels, both multiples of S, of a picture of `width` x `height` pixels.

        Raises:
            ImageError: the picture is so flat that nothing would be left of its shorter side.
        """
        long_side, short_side = self._resized(max(width, height), min(width, height))
        short_side = math.ceil(short_side / self.crop_size) * self.crop_size
        return (long_side, short_side) if width < height else (short_side, long_side)

    def num_image_tokens(self, height: int, width: int) -> int:
        """Tokens of a canvas of H x W pixels: all crops, a newline per token row, and one separator."""
        grid = math.isqrt(self.num_img_tokens)
        rows, columns = height // self.crop_size, width // self.crop_size
        return (rows * columns + 1) * self.num_img_tokens + 1 + (rows + 1) * grid

    def hd_transform(self, image: Any) -> np.ndarray:
        """A picture resized and padded with white to whole tiles: uint8 [H, W, 3].

        Transparency is dropped, not blended, and EXIF rotation is not applied, as in the reference.

        Raises:
            ImageError: no picture, damaged, of wrong shape or range, or too flat.
        """
        picture = to_pil(image)
        upright = picture.width < picture.height
        if upright:
            picture = picture.transpose(Image.Transpose.TRANSPOSE)
        size = self._resized(*picture.size)
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        padded_height = math.ceil(size[1] / self.crop_size) * self.crop_size
        canvas = Image.new("RGB", (size[0], padded_height), WHITE)
        canvas.paste(picture, (0, (padded_height - size[1]) // 2))
        if upright:
            canvas = canvas.transpose(Image.Transpose.TRANSPOSE)
        return np.array(canvas)

    def canvas_to_pixel_values(self, canvas: torch.Tensor) -> torch.Tensor:
        """Normalised crops of a canvas, or of several of one size, on the canvas's device.

        Args:
            canvas: uint8 [H, W, 3] or [N, H, W, 3].

        Returns:
            float32 [1 + T, 3, S, S] or [N, 1 + T, 3, S, S]: the global view (bicubic, of the normalised canvas),
            then the tiles row by row.
        """
        if canvas.ndim == 3:
            return self.canvas_to_pixel_values(canvas[None])[0]
        side = self.crop_size
        # 255 as a tensor: CUDA would multiply by the reciprocal of a plain number and differ in the last bit.
        scale, mean, std = (
            torch.tensor(value, dtype=torch.float32, device=canvas.device).view(1, -1, 1, 1)
            for value in ([255.0], self.image_mean, self.image_std)
        )
        pixels_NCHW = canvas.permute(0, 3, 1, 2).contiguous().float().div_(scale).sub_(mean).div_(std)
        overview_NCSS = F.interpolate(pixels_NCHW, size=(side, side), mode="bicubic", align_corners=False)
        count, channels, height, width = pixels_NCHW.shape
        tiles = pixels_NCHW.view(count, channels, height // side, side, width // side, side)
        tiles_NTCSS = tiles.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels, side, side)
        return torch.cat([overview_NCSS[:, None], tiles_NTCSS], dim=1)

    def preprocess(
        self,
        images: Any,
        return_tensors: str | None = None,
        num_crops: int | None = None,
        pad_to_num_crops: bool | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Everything a model needs of some pictures.

        Args:
            images: a PIL picture, an array or tensor (see `to_pil`), or a list of these, nested or not.
            return_tensors: "pt" (also where absent) or "np".
            num_crops, pad_to_num_crops: override the processor's own.

        Returns:
            pixel_values: float32 [N, slots, 3, S, S], slots without a crop filled with zeros;
            image_sizes: int64 [N, 2], canvas height and width; num_img_tokens: list of N token counts.

        Raises:
            ImageError: a picture cannot be used; the message gives its place in the list.
        """
        if num_crops is not None and num_crops != self.num_crops:
            other = type(self)(**{**self.to_dict(), "num_crops": num_crops})
            return other.preprocess(images, return_tensors, None, pad_to_num_crops)
        crops, sizes = [], []
        for position, image in enumerate(flatten(images)):
            try:
                canvas = self.hd_transform(image)
            except ImageError as error:
                raise ImageError(f"picture {position + 1}: {error}") from error.__cause__
            sizes.append(canvas.shape[:2])
            crops.append(self.canvas_to_pixel_values(torch.from_numpy(canvas)))
        if not crops:
            raise ImageError("no picture was given; pass a picture or a list with at least one")
        reference = self.pad_to_num_crops if pad_to_num_crops is None else pad_to_num_crops
        slots = self.num_crops + 1 if reference else max(len(each) for each in crops)
        pixel_values = crops[0].new_zeros(len(crops), slots, *crops[0].shape[1:])
        for slot, each in zip(pixel_values, crops, strict=True):
            slot[: len(each)] = each
        data = {"pixel_values": pixel_values, "image_sizes": torch.tensor(sizes)}
        features = BatchFeature(data, tensor_type=return_tensors or "pt")
        features["num_img_tokens"] = [self.num_image_tokens(*size) for size in sizes]
        return features


def flatten(images: Any) -> Iterator[Any]:
    """The pictures of a list of any depth, in order; a single picture alone."""
    if isinstance(images, list | tuple):
        for each in images:
            yield from flatten(each)
    else:
        yield images


def to_pil(image: Any) -> Image.Image:
    """A picture as PIL RGB.

    Arrays and tensors are taken as uint8, or as floats in 0..1, of shape [H, W], [H, W, 3] or [3, H, W].

    Raises:
        ImageError: anything else, or a file that cannot be decoded.
    """
    if isinstance(image, Image.Image):
        try:
            return image.convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise ImageError(f"the picture cannot be decoded: {error}; save it again or leave it out") from error
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


__all__ = ["Phi3VImageProcessor"]
