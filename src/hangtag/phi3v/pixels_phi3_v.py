"""From a canvas to crops: scaling, CLIP's normalisation, the global view and the tiles, bit for bit as published.

The same numbers three ways: torch operations on any device over whole canvases (`canvas_to_crops`), the same over uint8
tiles (`tiles_to_crops`), and numpy in the processor's cache, a tile at a time, for float crops made on the CPU.

Shapes: N pictures, H W canvas size in pixels, S crop side, R C rows and columns of tiles, T = R * C.
"""

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


def global_view(pixels_N3HW: torch.Tensor, side: int) -> torch.Tensor:
    """The whole canvas as one crop [N, 3, S, S]: bicubic, not antialiased, not clamped."""
    return F.interpolate(pixels_N3HW, size=(side, side), mode="bicubic", align_corners=False)


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
    crops: list[torch.Tensor] = [tiles_T3SS] * len(grids)
    for rows, columns in set(grids):
        same = [index for index, grid in enumerate(grids) if grid == (rows, columns)]
        tiles = torch.stack([by_picture[index] for index in same]).view(len(same), rows, columns, 3, side, side)
        canvases = tiles.permute(0, 3, 1, 4, 2, 5).reshape(len(same), 3, rows * side, columns * side)
        for index, each in zip(same, canvas_to_crops(canvases, side), strict=True):
            crops[index] = each
    return torch.cat(crops)


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


def view_source_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of what `fill_view_source` writes of a canvas."""
    return side * _pixels_read(height // side)[1], side * _pixels_read(width // side)[1]


def fill_view_source(
    planes: Sequence[Bytes], side: int, mean: Sequence[float], std: Sequence[float], out_3HW: Floats
) -> None:
    """Of a canvas, the normalised pixels that `global_view` reads, and no others: a smaller canvas with an equal view.

    Shrinking k times, bicubic sampling falls on one pixel of k where k is odd, and half-way between two where it is
    even: then it reads 4 of k. The kept pixels give the same weights and so the same bits as the whole canvas.
    """
    height, width = planes[0].shape
    (row, rows), (column, columns) = _pixels_read(height // side), _pixels_read(width // side)
    for channel, plane in enumerate(planes):
        cells = plane.reshape(side, height // side, side, width // side)
        read = cells[:, row : row + rows, :, column : column + columns]
        out = out_3HW[channel].reshape(read.shape)
        for start in range(0, side, IN_CACHE):
            block = slice(start, start + IN_CACHE)
            _normalise(read[block], mean[channel], std[channel], out[block])


class ViewSources:
    """Room for what the global views of some canvases are made of; those of one size lie together, to be made at once.

    Args:
        sizes: the canvases' height and width.
        side: S.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], side: int) -> None:
        self.side = side
        self.places: dict[tuple[int, int], list[int]] = {}
        for place, (height, width) in enumerate(sizes):
            self.places.setdefault(view_source_size(height, width, side), []).append(place)
        self.groups = {size: np.empty((len(same), 3, *size), np.float32) for size, same in self.places.items()}
        self.sources = {
            place: self.groups[size][index] for size, same in self.places.items() for index, place in enumerate(same)
        }

    def views(self) -> Iterator[tuple[int, Floats]]:
        """Place and global view [3, S, S] of every canvas, once the sources are filled."""
        for size, same in self.places.items():
            yield from zip(same, global_view(torch.from_numpy(self.groups[size]), self.side).numpy(), strict=True)


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
