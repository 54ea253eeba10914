"""How many rows' answers can be written at once beside the weights of a model."""

from __future__ import annotations

from hangtag.memory.expected import picture_cost
from hangtag.memory.sizes import Sizes
from hangtag.recipe import Recipe

MOST_ROWS = 64
TEXT_TOKENS = 600
"""Of question, answer, and the branches that tell a number's distribution."""
_SHARE = 0.4
"""Of the room beside the weights; the rest is for the copy that branches grow from, and for what is computed."""


def tokens_at_once(recipe: Recipe, room: int, bytes_each: int = 2) -> int:
    """Tokens whose keys and values, held twice, leave a fifth of the room.

    Args:
        room: bytes that the device has beside the weights.
        bytes_each: of a cached number.
    """
    sizes = Sizes.of(recipe)
    return max(int(_SHARE * room / (2 * sizes.layers * sizes.hidden * bytes_each)), 0)


def rows_at_once(recipe: Recipe, tokens: int) -> int:
    """The largest power of two, from 1 to MOST_ROWS, of rows of square pictures that so many tokens hold."""
    row = TEXT_TOKENS + len(recipe.data.pictures) * picture_cost(Sizes.of(recipe), recipe.model.num_crops)[0]
    rows = 1
    while rows < MOST_ROWS and 2 * rows * row <= tokens:
        rows *= 2
    return rows
