"""Pictures to crops: Phi-3-vision's HD transform, the CLIP normalisation, the global view and the tiles.

Written from recorded results of the published image_processing_phi3_v.py (MIT), to which it is equal bit for bit.
Pillow resizes, `pixels_phi3_v` does the rest; torchvision is not needed.

Shapes: N pictures, H W canvas size in pixels, S crop side, T tiles of a canvas (H/S * W/S).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.processing_utils import ImagesKwargs

from hangtag.errors import ImageError, ModelError
from hangtag.machine import cores
from hangtag.phi3v.pictures_phi3_v import flatten, to_pil
from hangtag.phi3v.pixels_phi3_v import (
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
    ViewSources,
    canvas_to_crops,
    canvases_to_crops,
    canvases_to_tiles,
    fill_normalised_tiles,
    fill_tiles,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
WHITE = (255, 255, 255)
# Pixels of a call, and of each of its pictures, below which threads wait for Python more than they work (docs/log.md).
FEW_PIXELS, SMALL_PICTURE = 400_000, 50_000


class Phi3VImageProcessorKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]
    """What a call or `from_pretrained` may set beside the fields common to all image processors."""

    num_crops: int
    crop_size: int
    num_img_tokens: int
    pad_to_num_crops: bool
    names: list[str]


OWN_SETTINGS = ("num_crops", "crop_size", "image_mean", "image_std", "num_img_tokens", "pad_to_num_crops")
# What other image processors may be told to leave out or to do otherwise, and what this one always does.
ALWAYS = {"do_resize": True, "do_rescale": True, "do_convert_rgb": True, "do_center_crop": False, "size": None}


class Phi3VImageProcessor(BaseImageProcessor):
    """Turns pictures into `pixel_values`, `image_sizes` and token counts.

    Args:
        num_crops: the most tiles a canvas may have.
        crop_size: S, the side of a crop in pixels.
        image_mean, image_std: per channel, of values in 0..1.
        num_img_tokens: tokens per crop, a square number.
        pad_to_num_crops: give every picture `num_crops` + 1 slots as the reference does, rather than as many as the
            picture with most crops in the call needs.
        do_normalize: False for bytes, which the model normalises on its device (see `preprocess`).

    Raises:
        ModelError: a size below 1.
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
        do_normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        for unused in ("auto_map", "image_processor_type", "do_convert_rgb"):
            kwargs.pop(unused, None)
        super().__init__(**kwargs)
        if num_crops < 1 or crop_size < 1:
            raise ModelError(f"num_crops {num_crops} and crop_size {crop_size} must be at least 1")
        self.num_crops = num_crops
        self.crop_size = crop_size
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.num_img_tokens = num_img_tokens
        self.pad_to_num_crops = pad_to_num_crops
        self.do_normalize = do_normalize

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
        return np.array(self._canvas(to_pil(image)))

    def reduced(self, picture: Image.Image) -> Image.Image:
        """A picture that is preprocessed to the same pixels and is no larger than its canvas: to keep in its place.

        The canvas itself, but for a few shapes of more than 16 crops, whose side ratio is rounded to another size:
        then the picture as it is.

        Raises:
            ImageError: as `hd_transform`.
        """
        canvas = Image.fromarray(self.hd_transform(picture))
        longer, shorter = max(canvas.size), min(canvas.size)
        return canvas if self._resized(longer, shorter) == (longer, shorter) else picture

    def _canvas(self, picture: Image.Image) -> Image.Image:
        upright = picture.width < picture.height
        size = self._resized(max(picture.size), min(picture.size))
        if upright:
            # The reference resizes a portrait lying on its side, so its longer side first; the order counts, because
            # Pillow rounds to bytes in between.
            size = size[::-1]
            picture = _resize(picture, (picture.width, size[1]))
        picture = _resize(picture, size)
        width, height = (math.ceil(length / self.crop_size) * self.crop_size for length in size)
        if picture.size == (width, height):
            return picture
        canvas = Image.new("RGB", (width, height), WHITE)
        canvas.paste(picture, ((width - size[0]) // 2, (height - size[1]) // 2))
        return canvas

    def canvas_to_pixel_values(self, canvas: torch.Tensor) -> torch.Tensor:
        """Normalised crops of a canvas, or of several of one size, on the canvas's device.

        Args:
            canvas: uint8 [H, W, 3] or [N, H, W, 3].

        Returns:
            float32 [1 + T, 3, S, S] or [N, 1 + T, 3, S, S]: the global view (bicubic, of the normalised canvas),
            then the tiles row by row.
        """
        canvas_N3HW = canvas.view(-1, *canvas.shape[-3:]).permute(0, 3, 1, 2)
        crops = canvas_to_crops(canvas_N3HW, self.crop_size, self.image_mean, self.image_std)
        return crops if canvas.ndim == 4 else crops[0]

    def canvases_to_pixel_values(self, canvases: Sequence[torch.Tensor]) -> torch.Tensor:
        """As `canvas_to_pixel_values` of canvases [H, W, 3] of any sizes, one after another: float32 [C, 3, S, S]."""
        canvases_3HW = [canvas.permute(2, 0, 1) for canvas in canvases]
        return canvases_to_crops(canvases_3HW, self.crop_size, self.image_mean, self.image_std)

    def canvases_to_bytes(self, canvases: Sequence[torch.Tensor]) -> torch.Tensor:
        """Tiles of canvases [H, W, 3] as bytes, for the model to normalise on its device: uint8 [tiles, 3, S, S].

        Raises:
            ModelError: mean or deviation are not CLIP's own (see `model_normalises`).
        """
        self._require_model_normalises()
        return canvases_to_tiles(canvases, self.crop_size)

    @property
    def model_normalises(self) -> bool:
        """Whether the model can be given bytes: it knows CLIP's own mean and deviation, and no others."""
        return (tuple(self.image_mean), tuple(self.image_std)) == (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)

    def _require_model_normalises(self) -> None:
        if not self.model_normalises:
            raise ModelError("do_normalize=False needs CLIP's own image_mean and image_std; the model knows no others")

    def preprocess(
        self,
        images: Any,
        return_tensors: str | None = None,
        do_normalize: bool | None = None,
        names: Sequence[str] | None = None,
        **settings: Any,
    ) -> BatchFeature:
        """Everything a model needs of some pictures; several are worked on at once, on all processor cores.

        Args:
            images: a PIL picture, an array or tensor (see `to_pil`), or a list of these, nested or not, of any sizes.
            return_tensors: "pt" (also where absent) or "np".
            do_normalize: absent, the processor's own. False leaves normalising and the global view to the model, on
                its device: `pixel_values` then are bytes, a quarter of the memory or less to keep and to move, and the
                logits are the same.
            names: what errors call the pictures; absent, "picture 1" and so on.
            settings: the processor's own fields, for this call: num_crops, pad_to_num_crops, crop_size, ...

        Returns:
            pixel_values: float32 [N, slots, 3, S, S], the global view and then the tiles, or uint8, the tiles alone;
            slots without a crop are filled with zeros.
            image_sizes: int64 [N, 2], canvas height and width; num_img_tokens: list of N token counts.

        Raises:
            ImageError: pictures cannot be used; the message gives the place of each in the list.
            ModelError: do_normalize=False with a mean or deviation other than CLIP's, which the model cannot know; or a
                setting that the model's input does not allow.
        """
        do_normalize = self.do_normalize if do_normalize is None else do_normalize
        refused = [f"{key}={settings[key]}" for key in ALWAYS if settings.get(key) not in (None, ALWAYS[key])]
        if refused:
            raise ModelError(f"{', '.join(refused)}: the model's input is resized, rescaled and RGB; leave it out")
        own = {key: settings[key] for key in OWN_SETTINGS if settings.get(key) is not None}
        if any(value != getattr(self, key) for key, value in own.items()):
            return type(self)(**{**self.to_dict(), **own}).preprocess(images, return_tensors, do_normalize, names)
        if not do_normalize:
            self._require_model_normalises()
        pictures, sizes = self._pictures(list(flatten(images)), names)
        pixels = self._crops(pictures, sizes, do_normalize)
        data = {"pixel_values": pixels, "image_sizes": torch.tensor(sizes)}
        features = BatchFeature(data, tensor_type=return_tensors or "pt")
        features["num_img_tokens"] = [self.num_image_tokens(*size) for size in sizes]
        return features

    def _pictures(
        self, images: list[Any], names: Sequence[str] | None
    ) -> tuple[list[Image.Image], list[tuple[int, int]]]:
        """Every picture decoded, with its canvas size (H, W); or one error that names all that cannot be used."""

        def decoded(image: Any) -> tuple[Image.Image, tuple[int, int]] | ImageError:
            try:
                picture = to_pil(image)
                return picture, self.size_after(*picture.size)
            except ImageError as error:
                return error

        if not images:
            raise ImageError("no picture was given; pass a picture or a list with at least one")
        distinct = {id(image): image for image in images}  # a file that is opened once must not be read by two threads
        opened = [image for image in distinct.values() if isinstance(image, Image.Image)]
        pixels = sum(each.width * each.height for each in opened) if len(opened) == len(distinct) else None
        results = dict(zip(distinct, in_threads(decoded, list(distinct.values()), pixels), strict=True))
        pictures, sizes, problems = [], [], []
        for place, each in enumerate(results[id(image)] for image in images):
            if isinstance(each, ImageError):
                problems.append(f"{names[place] if names else f'picture {place + 1}'}: {each}")
            else:
                pictures.append(each[0])
                sizes.append(each[1])
        if problems:
            raise ImageError("; ".join(problems))
        return pictures, sizes

    def _crops(self, pictures: list[Image.Image], sizes: list[tuple[int, int]], normalised: bool) -> torch.Tensor:
        """pixel_values (see `preprocess`); each picture is resized and cut into its place in one go, by one thread."""
        side, first = self.crop_size, int(normalised)
        counts = [first + (height // side) * (width // side) for height, width in sizes]
        slots = first + self.num_crops if self.pad_to_num_crops else max(counts)
        # numpy's memory, not torch's: numpy asks the kernel for huge pages, whose first touch costs a fifth.
        pixels = np.empty((len(pictures), slots, 3, side, side), np.float32 if normalised else np.uint8)
        views = ViewSources(sizes if normalised else [], side, self.image_mean, self.image_std)

        def fill(place: int) -> None:
            planes = [np.asarray(band) for band in self._canvas(pictures[place]).split()]
            mine = pixels[place]
            mine[counts[place] :] = 0
            if normalised:
                fill_normalised_tiles(planes, side, self.image_mean, self.image_std, mine[1 : counts[place]])
                views.fill(place, planes)
            else:
                fill_tiles(planes, side, mine[: counts[place]])

        list(in_threads(fill, range(len(pictures)), sum(height * width for height, width in sizes)))
        for place, view in views.views():
            pixels[place, 0] = view
        return torch.from_numpy(pixels)


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], pixels: int | None = None) -> Iterator[Result]:
    """`work` done for each item, in order, by as many threads as there are free processor cores.

    Args:
        pixels: of all items together, where that is known; for few of them one thread is sooner done.
    """
    alone = torch.utils.data.get_worker_info() is not None  # the loader's other workers have the other cores
    few = pixels is not None and pixels < max(FEW_PIXELS, SMALL_PICTURE * len(items))
    workers = 1 if alone or few else min(len(items), cores())
    if workers < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, items)


def _resize(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)


__all__ = ["Phi3VImageProcessor"]
