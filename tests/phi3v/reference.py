"""The recorded reference: where its numbers lie, and the formulas of its inputs (golden/index.json says all)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from hangtag.phi3v import Phi3VConfig

GOLDEN = Path(__file__).parent / "golden"
PUBLISHED = Path(__file__).parents[3] / "shared" / "reference"
INDEX: dict[str, Any] = json.loads((GOLDEN / "index.json").read_text())
IMAGE = 32044
TOLERANCE = 3e-5


def tids(count: int, seed: int) -> list[int]:
    """`count` token ids by the reference's formula."""
    return [3 + ((7 * i * i + 13 * i + 5 * seed) % 290) for i in range(count)]


def text(length: int, seed: int) -> dict[str, torch.Tensor]:
    """A prompt without pictures, by the reference's formula."""
    return {"input_ids": torch.tensor([[1, *tids(length - 1, seed)]])}


def fpix(pictures: int, slots: int, used: Sequence[int]) -> torch.Tensor:
    """pixel_values [pictures, slots, 3, 336, 336] by the reference's formula, zero from crop `used[i]` on."""
    i, k, c, y, x = (
        torch.arange(size, dtype=torch.float64).view([-1 if axis == own else 1 for axis in range(5)])
        for own, size in enumerate((pictures, slots, 3, 336, 336))
    )
    waves = 1.7 * torch.sin(0.013 * (x + 1) * (k + 1) + 0.7 * c + i) * torch.cos(0.021 * (y + 1) + 0.3 * k)
    for picture, count in enumerate(used):
        waves[picture, count:] = 0
    return waves.float()


def image1(answer: Sequence[int] = ()) -> dict[str, torch.Tensor]:
    """A prompt with one picture of two tiles, one above the other."""
    ids = [1, *tids(3, 0), *[IMAGE] * 469, 1, *tids(8, 1), *answer]
    return {
        "input_ids": torch.tensor([ids]),
        "pixel_values": fpix(1, 5, [3]),
        "image_sizes": torch.tensor([[672, 336]]),
    }


def padded(rows: Sequence[Sequence[int]], side: str) -> dict[str, torch.Tensor]:
    """input_ids and attention_mask of rows padded with the tiny model's 300."""
    longest = max(map(len, rows))
    ids, mask = [], []
    for row in rows:
        pad = longest - len(row)
        before, after = (pad, 0) if side == "left" else (0, pad)
        ids.append([300] * before + list(row) + [300] * after)
        mask.append([0] * before + [1] * len(row) + [0] * after)
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def batch_image() -> dict[str, torch.Tensor]:
    """A picture a row, padded on the left."""
    cases = INDEX["forward"]["cases"]["batch_image"]["rows"]
    rows = [[*row["prefix"], *[IMAGE] * row["n"], *row["suffix"]] for row in cases]
    pixels, sizes = fpix(2, 3, [2, 3]), torch.tensor([[336, 336], [672, 336]])
    return {**padded(rows, "left"), "pixel_values": pixels, "image_sizes": sizes}


def tiny_config(**changes: Any) -> Phi3VConfig:
    """The tiny configuration of the recordings, with `changes`."""
    fields = json.loads((GOLDEN / "tiny_config.json").read_text())
    fields["vision_config"] = fields.pop("clip")
    return Phi3VConfig(**{**fields, **changes})


def picture(name: str) -> Image.Image:
    """A recorded input picture."""
    with Image.open(GOLDEN / "images" / f"{name}.png") as image:
        image.load()
    return image


def rope32(kind: str = "su") -> dict[str, Any]:
    """Changes to the tiny configuration: an original context of 32."""
    rope = json.loads((GOLDEN / "tiny_config.json").read_text())["rope_scaling"]
    return {
        "original_max_position_embeddings": 32,
        "max_position_embeddings": 1024,
        "rope_scaling": {**rope, "type": kind},
    }


def assert_near(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    worst = (actual.float() - expected).abs().max().item()
    assert worst <= tolerance, f"differs by {worst:.2e}"
