"""Pictures to crops: the processor beside the plain path of the published code, one picture at a time.

    python benchmarks/image_processor.py [--pictures 16] [--repeats 7] [--num-crops 16] [--size 960x1280]

Results are compared bit for bit first. Prints a table and, last, one JSON line; a ratio is the median over the rounds
of the plain path's time in a round to the other's in the same round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from hangtag.phi3v import Phi3VImageProcessor
from hangtag.phi3v.image_processing_phi3_v import in_threads
from hangtag.phi3v.pixels_phi3_v import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, tiles_to_crops
from hangtag.training.environment import environment


def plain(image: Image.Image, num_crops: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """One picture as the published code takes it, step by step, in Pillow and torch: [slots, 3, S, S] and the size."""
    image = image.convert("RGB")
    upright = image.width < image.height
    if upright:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    ratio, scale = image.width / image.height, 1
    while scale * np.ceil(scale / ratio) <= num_crops:
        scale += 1
    width = (scale - 1) * 336
    height = int(width / ratio)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    padded = int(np.ceil(height / 336) * 336)
    canvas = Image.new("RGB", (width, padded), (255, 255, 255))
    canvas.paste(image, (0, (padded - height) // 2))
    if upright:
        canvas = canvas.transpose(Image.Transpose.TRANSPOSE)

    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    pixels = torch.from_numpy(np.array(canvas)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    pixels = (pixels - mean) / std
    overview = F.interpolate(pixels[None], size=(336, 336), mode="bicubic", align_corners=False)
    rows, columns = pixels.shape[1] // 336, pixels.shape[2] // 336
    tiles = pixels.reshape(3, rows, 336, columns, 336).permute(1, 3, 0, 2, 4).reshape(-1, 3, 336, 336)
    crops = torch.cat([overview, tiles])
    return torch.cat([crops, torch.zeros(num_crops + 1 - len(crops), 3, 336, 336)]), (rows * 336, columns * 336)


def photos(count: int, width: int, height: int) -> list[Image.Image]:
    """Invented photos: smooth shapes and a little noise. The time does not depend on what a picture shows."""
    generator = np.random.default_rng(0)
    made = []
    for _ in range(count):
        small = Image.fromarray(generator.integers(0, 256, (16, 12, 3), np.uint8))
        smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        noise = generator.integers(-8, 9, smooth.shape, np.int16)
        made.append(Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8)))
    return made


def in_rounds(paths: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every path in every round; a round runs each once, so that a slow minute slows them all."""
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    for count in range(rounds + 1):
        for name, work in paths.items():
            start = time.perf_counter()
            work()
            if count:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--num-crops", type=int, default=16)
    parser.add_argument("--size", default="960x1280")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    crops, repeats = arguments.num_crops, arguments.repeats
    pictures = photos(arguments.pictures, width, height)
    processor = Phi3VImageProcessor(num_crops=crops)

    together = processor(pictures, pad_to_num_crops=True)
    as_bytes = processor(pictures, do_normalize=False)
    grids = [(rows // 336, columns // 336) for rows, columns in as_bytes["image_sizes"].tolist()]
    tiles = torch.cat([each[: r * c] for each, (r, c) in zip(as_bytes["pixel_values"], grids, strict=True)])
    on_device = tiles_to_crops(tiles, grids).split([1 + r * c for r, c in grids])
    for place, picture in enumerate(pictures):
        pixels, size = plain(picture, crops)
        assert torch.equal(together["pixel_values"][place], pixels)
        assert torch.equal(on_device[place], pixels[: len(on_device[place])])
        assert together["image_sizes"][place].tolist() == list(size)

    paths: dict[str, Callable[[], Any]] = {
        "plain": lambda: torch.stack([plain(each, crops)[0] for each in pictures]),
        "processor, one at a time": lambda: [processor(each, pad_to_num_crops=True) for each in pictures],
        "processor, a list": lambda: processor(pictures, pad_to_num_crops=True),
        "processor, a list, no empty slots": lambda: processor(pictures),
        "processor, a list, bytes": lambda: processor(pictures, do_normalize=False),
        "  of it Pillow's resize, padding": lambda: list(in_threads(processor._canvas, pictures)),
        "  of it memory for the crops": lambda: torch.empty_like(together["pixel_values"]).zero_(),
    }
    threads = torch.get_num_threads()
    rounds = in_rounds(paths, repeats)
    seconds = {name: statistics.median(values) for name, values in rounds.items()}
    ratios = {
        name: statistics.median(plain / own for plain, own in zip(rounds["plain"], values, strict=True))
        for name, values in rounds.items()
    }

    print(f"{len(pictures)} pictures of {width}x{height}, num_crops {crops}; {repeats} rounds, {threads} threads")
    print(f"{'path':36} {'ms/picture':>10} {'pictures/s':>10} {'faster':>7}")
    for name, value in seconds.items():
        each = value / len(pictures)
        print(f"{name:36} {1000 * each:10.1f} {1 / each:10.1f} {ratios[name]:6.1f}x")
    print(
        json.dumps(
            {
                "benchmark": "image_processor",
                "environment": environment(),
                "pictures": len(pictures),
                "size": [width, height],
                "num_crops": crops,
                "ms_per_picture": {name: round(1000 * value / len(pictures), 2) for name, value in seconds.items()},
                "ratios": {name: round(value, 2) for name, value in ratios.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
