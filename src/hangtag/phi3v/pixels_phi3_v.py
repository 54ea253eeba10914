"""From a canvas to crops: scaling, CLIP's normalisation, the global view and the tiles, bit for bit as published.

The same numbers three ways: torch operations on any device over whole canvases (`canvas_to_crops`), the same over uint8
tiles (`tiles_to_crops`), and numpy in the processor's cache, a tile at a time, for float crops made on the CPU.

Shapes: N pictures, H W canvas size in pixels, S crop side, R C rows and columns of tiles, T = R * C.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

OPENAI_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
IN_CACHE = 64  # rows of cells normalised at a time
NEAR, FAR = 0.59375, -0.09375  # bicubic weights (a = -0.75) half a pixel and one and a half pixels away


def canvas_to_crops(
    canvas_N3HW: torch.Tensor,
    side: int,
    mean: Sequence[float] = OPENAI_CLIP_MEAN,
    std: Sequence[float] = OPENAI_CLIP_STD,
) -> torch.Tensor:
    """Normalised crops of canvases of one size, on their device.

    Args:
        canvas_N3HW: uint8, H and W multiples of `side`.

    Returns:
        float32 [N, 1 + T, 3, S, S]: the global view (bicubic, of the normalised canvas), then the tiles row by row.
    """
    # 255 as a tensor: CUDA would multiply by the reciprocal of a plain number and differ in the last bit.
    scale, means, stds = (
        torch.tensor(value, dtype=torch.float32, device=canvas_N3HW.device).view(1, -1, 1, 1)
        for value in ([255.0], mean, std)
    )
    pixels_N3HW = canvas_N3HW.contiguous().float().div_(scale).sub_(means).div_(stds)
    overview_N3SS = global_view(pixels_N3HW, side)
    count, channels, height, width = pixels_N3HW.shape
    tiles = pixels_N3HW.view(count, channels, height // side, side, width // side, side)
    tiles_NT3SS = tiles.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels, side, side)
    return torch.cat([overview_N3SS[:, None], tiles_NT3SS], dim=1)


def canvases_to_crops(
    canvases_3HW: Sequence[torch.Tensor],
    side: int,
    mean: Sequence[float] = OPENAI_CLIP_MEAN,
    std: Sequence[float] = OPENAI_CLIP_STD,
) -> torch.Tensor:
    """Normalised crops of canvases of any sizes, one after another [C, 3, S, S]; those of one size are cut together."""
    by_size: dict[torch.Size, list[int]] = {}
    for index, canvas in enumerate(canvases_3HW):
        by_size.setdefault(canvas.shape, []).append(index)
    crops = list(canvases_3HW)
    for same in by_size.values():
        together = canvas_to_crops(torch.stack([canvases_3HW[index] for index in same]), side, mean, std)
        for index, each in zip(same, together, strict=True):
            crops[index] = each
    return torch.cat(crops)


def global_view(pixels_N3HW: torch.Tensor, side: int) -> torch.Tensor:
    """The whole canvas as one crop [N, 3, S, S]: bicubic, not antialiased, not clamped."""
    return F.interpolate(pixels_N3HW, size=(side, side), mode="bicubic", align_corners=False)


def canvases_to_tiles(canvases_HW3: Sequence[torch.Tensor], side: int) -> torch.Tensor:
    """The tiles of canvases of any sizes, row by row, one canvas after another: uint8 [T, 3, S, S]."""
    cut = [
        canvas.view(canvas.shape[0] // side, side, canvas.shape[1] // side, side, 3)
        .permute(0, 2, 4, 1, 3)
        .reshape(-1, 3, side, side)
        for canvas in canvases_HW3
    ]
    return torch.cat(cut)


def tiles_to_crops(tiles_T3SS: torch.Tensor, grids: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Normalised crops of pictures one after another, global views included, from their uint8 tiles, on their device.

    Args:
        tiles_T3SS: uint8, the tiles of all pictures in order.
        grids: rows and columns of every picture.

    Returns:
        float32 [C, 3, S, S], C = the sum of 1 + R * C over the pictures; CLIP's own mean and deviation.
    """
    side = tiles_T3SS.shape[-1]
    by_picture = tiles_T3SS.split([rows * columns for rows, columns in grids])
    canvases = [
        tiles.view(rows, columns, 3, side, side).permute(2, 0, 3, 1, 4).reshape(3, rows * side, columns * side)
        for tiles, (rows, columns) in zip(by_picture, grids, strict=True)
    ]
    return canvases_to_crops(canvases, side)


def fill_tiles(planes: Sequence[Bytes], side: int, out_T3SS: Bytes) -> None:
    """The tiles of a canvas, given as three planes [H, W], row by row, as bytes."""
    for channel, plane in enumerate(planes):
        for tile, part in enumerate(_tiles(plane, side)):
            out_T3SS[tile, channel] = part


def fill_normalised_tiles(
    planes: Sequence[Bytes], side: int, mean: Sequence[float], std: Sequence[float], out_T3SS: Floats
) -> None:
    """As `fill_tiles`, normalised. A tile's plane stays in the processor's cache from one operation to the next."""
    for channel, plane in enumerate(planes):
        for tile, part in enumerate(_tiles(plane, side)):
            _normalise(part, mean[channel], std[channel], out_T3SS[tile, channel])


class ViewSources:
    """The pixels that the global views of some canvases are made of, and no others; those of one shape lie together.

    Shrinking k times, bicubic sampling falls on one pixel of k where k is odd, and half-way between two where it is
    even: then it reads 4 of k. What is kept gives the same weights, and so the same bits, as the whole canvas.

    Args:
        sizes: the canvases' height and width.
        side: S.
        mean, std: of the normalisation.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], side: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        self.side, self.mean, self.std = side, mean, std
        self.places: dict[tuple[int, ...], list[int]] = {}
        for place, (height, width) in enumerate(sizes):
            self.places.setdefault(self._shape(height // side, width // side), []).append(place)
        self.groups = {shape: np.empty((len(same), *shape), np.float32) for shape, same in self.places.items()}
        self.sources = {
            place: self.groups[shape][index] for shape, same in self.places.items() for index, place in enumerate(same)
        }

    def _shape(self, rows: int, columns: int) -> tuple[int, ...]:
        """Of a source: [3, 1, S, S] or [3, 4, S, S], the pixels that are added, or [3, h, w], a smaller canvas."""
        read = _pixels_read(rows)[1], _pixels_read(columns)[1]
        if read == (1, 1) or (sorted(read) == [1, 4] and half_way_is_bicubic()):
            return (3, read[0] * read[1], self.side, self.side)
        return (3, self.side * read[0], self.side * read[1])

    def fill(self, place: int, planes: Sequence[Bytes]) -> None:
        """Normalise what is read of a canvas, given as three planes [H, W]."""
        side, (height, width) = self.side, planes[0].shape
        (row, rows), (column, columns) = _pixels_read(height // side), _pixels_read(width // side)
        for channel, plane in enumerate(planes):
            cells = plane.reshape(side, height // side, side, width // side)
            read = cells[:, row : row + rows, :, column : column + columns]
            out = self.sources[place][channel]
            if out.ndim == 3:
                read, step = read.transpose(1, 3, 0, 2).reshape(out.shape), 1
            else:
                out, step = out.reshape(read.shape), IN_CACHE
            for start in range(0, len(read), step):
                block = slice(start, start + step)
                _normalise(read[block], self.mean[channel], self.std[channel], out[block])

    def views(self) -> Iterator[tuple[int, Floats]]:
        """Place and global view [3, S, S] of every canvas, once the sources are filled."""
        for shape, same in self.places.items():
            source = torch.from_numpy(self.groups[shape])
            if len(shape) == 3:
                views = global_view(source, self.side)
            else:
                views = source[:, :, 0] if shape[1] == 1 else half_way(source.unbind(2))
            yield from zip(same, views.numpy(), strict=True)


def half_way(pixels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Bicubic half-way between the second and third of four pixels; a product and its sum are rounded once together."""
    second = pixels[1] * NEAR
    return second.add_(pixels[0], alpha=FAR).add_(pixels[2], alpha=NEAR).add_(pixels[3], alpha=FAR)


@functools.cache
def half_way_is_bicubic() -> bool:
    """Whether `half_way` gives the bits of torch's own bicubic, whose order nobody promises: tried out here."""
    random = torch.Generator("cpu").manual_seed(0)
    source = torch.rand(1, 3, 4 * 24, 24, generator=random, device="cpu", dtype=torch.float32) * 5 - 2
    return torch.equal(half_way(source.view(1, 3, 24, 4, 24).unbind(3)), global_view(source, 24))


def _pixels_read(shrink: int) -> tuple[int, int]:
    """Of every `shrink` pixels in a row the first that bicubic sampling reads, and how many."""
    if shrink % 2:
        return shrink // 2, 1
    return (0, 2) if shrink == 2 else (shrink // 2 - 2, 4)


def _tiles(plane: Bytes, side: int) -> list[Bytes]:
    """Views of the tiles [S, S] of a plane [H, W], row by row."""
    height, width = plane.shape
    cells = plane.reshape(height // side, side, width // side, side)
    return [cells[row, :, column] for row in range(height // side) for column in range(width // side)]


def _normalise(values: Bytes, mean: float, std: float, out: Floats) -> None:
    """(values / 255 - mean) / std, every step rounded to float32 as in the reference."""
    np.divide(values, np.float32(255), out=out, dtype=np.float32)
    np.subtract(out, np.float32(mean), out=out)
    np.divide(out, np.float32(std), out=out)
