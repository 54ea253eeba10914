"""Tokens and crops equal the image processor's own; the arithmetic gives the published model's known figures."""

import random

import pytest

from hangtag.cost import (
    CROP_SIDE,
    PROMPT_TOKENS,
    clip_flop,
    decoder_flop,
    epoch_cost,
    image_tokens,
    tiles,
)
from hangtag.errors import ImageError

SIZES = [(width, height) for width in range(1, 41) for height in range(1, 41)]
GENERATOR = random.Random(0)
SIZES += [(GENERATOR.randint(1, 6000), GENERATOR.randint(1, 6000)) for _ in range(1500)]
SIZES += [(336 * across + off, 336 * down) for across in range(1, 9) for down in range(1, 9) for off in (-1, 0, 1)]
SIZES += [(6000, 1), (1, 6000), (5377, 1), (1344, 1), (1345, 1), (80_000, 1000)]


@pytest.mark.parametrize("num_crops", [1, 2, 3, 4, 7, 16])
def test_tiles_and_tokens_are_the_processors(num_crops):
    from hangtag.phi3v import Phi3VImageProcessor

    processor = Phi3VImageProcessor(num_crops=num_crops)
    for size in SIZES:
        try:
            height, width = processor.size_after(*size)
        except ImageError:
            assert tiles(*size, num_crops) is None, size
            continue
        assert tiles(*size, num_crops) == (height // CROP_SIDE, width // CROP_SIDE), size
        assert image_tokens(*tiles(*size, num_crops)) == processor.num_image_tokens(height, width), size


@pytest.mark.parametrize(("num_crops", "tokens"), [(1, 313), (4, 757), (16, 2509)])
def test_a_square_photo_has_the_published_number_of_tokens(num_crops, tokens):
    assert epoch_cost({(800, 800): 1}, num_crops).median == tokens


def test_a_square_photo_at_four_crops_costs_what_is_known():
    cost = epoch_cost({(336, 336): 1}, 4)
    assert cost.crops == 5
    assert cost.decoder_flop == pytest.approx(12e12, rel=0.02)
    assert cost.clip_flop == pytest.approx(1.7e12, rel=0.02)
    assert 1 / cost.seconds == pytest.approx(58, rel=0.01)


def test_an_epoch_is_the_sum_of_its_pictures():
    sizes = {(640, 480): 3, (480, 640): 2, (333, 1234): 1, (9000, 1): 4}
    cost = epoch_cost(sizes, 16)
    singles = sorted(
        epoch_cost({size: 1}, 16).median for size, count in sizes.items() for _ in range(count) if size != (9000, 1)
    )
    assert (cost.pictures, cost.unusable) == (6, 4)
    assert (cost.least, cost.median, cost.most) == (1921, singles[2], 2257)
    assert cost.tokens == sum(singles) + 6 * (PROMPT_TOKENS + 45)
    assert cost.decoder_flop == decoder_flop(cost.tokens)
    assert cost.clip_flop == clip_flop(cost.crops)
    assert epoch_cost({}, 4).tokens == epoch_cost({}, 4).most == 0
