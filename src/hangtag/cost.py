"""What a picture costs Phi-3-vision: crops and tokens by its size, and the arithmetic of an epoch. No torch.

The tiling is the image processor's own rule, written once more so that a table can be judged without loading the
model's room; a test holds the two equal. The arithmetic counts products with the published model's weights alone
(two operations for each weight and token), so a real step does more: attention, embeddings, the optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

CROP_SIDE = 336
TOKENS_PER_CROP = 144
TOKEN_ROWS = 12
NUM_CROPS = (1, 4, 16)
"""One tile, and what the two published models are set to."""

DECODER_WEIGHTS = 32 * 3072 * (9216 + 3072 + 16384 + 8192)
"""Of 32 layers: fused query, key and value; output; fused gate and up; down."""
CLIP_WEIGHTS = 23 * (4 * 1024 * 1024 + 2 * 1024 * 4096)
"""Of the 23 layers that reach the loss: four of attention, two of the perceptron."""
CLIP_TOKENS = 577
PROMPT_TOKENS, ANSWER_TOKENS = 20, 45
"""A short question in the chat format, and a tag of title, category and price."""
H200_FLOPS = 790e12
"""Operations a second of dense bfloat16, measured on one H200."""


def tiles(width: int, height: int, num_crops: int) -> tuple[int, int] | None:
    """Rows and columns of crops that a picture is cut into; None where it is too flat to be resized.

    A picture is scaled to as many crops along its longer side as `num_crops` allows, and padded to whole ones.
    """
    ratio = max(width, height) / min(width, height)
    along = 1
    while (along + 1) * math.ceil((along + 1) / ratio) <= num_crops:
        along += 1
    resized = int(along * CROP_SIDE / ratio)
    if resized < 1:
        return None
    across = math.ceil(resized / CROP_SIDE)
    return (along, across) if width < height else (across, along)


def image_tokens(rows: int, columns: int) -> int:
    """Tokens of a picture of rows x columns crops: these and the overview, a newline a token row, one separator."""
    return (rows * columns + 1) * TOKENS_PER_CROP + 1 + (rows + 1) * TOKEN_ROWS


def decoder_flop(tokens: int) -> int:
    """Of a LoRA step: forward, and backward for activations; the weights themselves are frozen."""
    return 4 * DECODER_WEIGHTS * tokens


def clip_flop(crops: int) -> int:
    """Of the frozen tower's forward pass."""
    return 2 * CLIP_WEIGHTS * CLIP_TOKENS * crops


@dataclass(frozen=True)
class EpochCost:
    """One pass over some pictures with LoRA at one `num_crops`.

    `least`, `median` and `most` are image tokens of one picture; `tokens` counts prompt and answer too; `unusable`
    pictures are too flat; `seconds` are what one H200 needs at the very least.
    """

    num_crops: int
    pictures: int
    unusable: int
    least: int
    median: int
    most: int
    tokens: int
    crops: int
    decoder_flop: int
    clip_flop: int
    seconds: float


def epoch_cost(sizes: Mapping[tuple[int, int], int], num_crops: int) -> EpochCost:
    """The cost of an epoch from how often each size (width, height) occurs."""
    counts: dict[int, int] = {}
    crops = unusable = 0
    for (width, height), count in sizes.items():
        grid = tiles(width, height, num_crops)
        if grid is None:
            unusable += count
            continue
        counts[image_tokens(*grid)] = counts.get(image_tokens(*grid), 0) + count
        crops += (grid[0] * grid[1] + 1) * count
    pictures = sum(counts.values())
    tokens = sum(each * count for each, count in counts.items()) + pictures * (PROMPT_TOKENS + ANSWER_TOKENS)
    work = decoder_flop(tokens), clip_flop(crops)
    least, most = min(counts, default=0), max(counts, default=0)
    seconds = sum(work) / H200_FLOPS
    return EpochCost(num_crops, pictures, unusable, least, _median(counts), most, tokens, crops, *work, seconds)


def _median(counts: Mapping[int, int]) -> int:
    """The lower median of values that occur so often."""
    half, seen = (sum(counts.values()) + 1) // 2, 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= half:
            return value
    return 0
