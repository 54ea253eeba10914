"""How the cost of attention and of packing grows: 2^8 to 2^14 tokens, nano's heads, forward and backward, on the CPU.

    python benchmarks/growth_tokens.py [--smallest 256] [--largest 16384] [--rounds 5]

packed, 64 / 256   one packed row of examples of that length ("packed", attention_phi3_v.py)
masked, 64         the same examples of 64 by sdpa with a mask of all tokens by all
sdpa               one sequence of all tokens, causal
eager              the same, softmax(QK)V written out
packing            best_fit of rows of 30 to 120 tokens into passes of 4,096 (packing.py), up to 2^20 tokens

Outputs and gradients are compared first, at sizes where all run: packed with masked, sdpa with eager, within 1e-5. A
path whose scores would take over a quarter of the memory is left out. "Fixed" is what one token takes. Prints tables
and, last, one JSON line. Why the curves bend stands in docs/log.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import torch
from growth import grown, measured, seconds, show
from torch import nn

from hangtag.examples.packing import best_fit
from hangtag.machine import memory
from hangtag.phi3v.attention_phi3_v import find_packing, packed_attention
from hangtag.recipe import NanoSizes
from hangtag.training.environment import environment

SIZES = NanoSizes()
WIDTH = SIZES.head_size
HEADS = SIZES.hidden // WIDTH
SCALING = WIDTH**-0.5
LEAST_SECONDS = 0.05
COMPARED = 2048
BUDGET, MOST_PACKED = 4096, 1 << 20
Heads = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Attention = Callable[[Heads], torch.Tensor]


def packed(tokens: int, length: int) -> Attention:
    """Attention of [1, H, T, D] within examples of `length`."""
    position_ids = (torch.arange(tokens) % length)[None]
    packing = find_packing(position_ids, torch.float32, None)

    def attend(heads: Heads) -> torch.Tensor:
        output, _ = packed_attention(nn.Identity(), *heads, None, packing=packing, scaling=SCALING, sliding_window=None)
        return output.transpose(1, 2)

    return attend


def masked(tokens: int, length: int) -> Attention:
    """The same by a mask of all by all."""
    place = torch.arange(tokens)
    seen = (place[:, None] >= place) & (place[:, None] // length == place // length)
    return lambda heads: nn.functional.scaled_dot_product_attention(*heads, attn_mask=seen, scale=SCALING)


def sdpa(tokens: int) -> Attention:
    """One causal sequence."""
    return lambda heads: nn.functional.scaled_dot_product_attention(*heads, is_causal=True, scale=SCALING)


def eager(tokens: int) -> Attention:
    """The same, written out as transformers does."""
    bias = torch.full((tokens, tokens), -torch.inf).triu(1)

    def attend(heads: Heads) -> torch.Tensor:
        query, key, value = heads
        return (query @ key.transpose(-1, -2) * SCALING + bias).softmax(-1) @ value

    return attend


PATHS: dict[str, Callable[[int], Attention]] = {
    "packed, 64": partial(packed, length=64),
    "packed, 256": partial(packed, length=256),
    "masked, 64": partial(masked, length=64),
    "sdpa": sdpa,
    "eager": eager,
}
SCORES = {"masked, 64": 1, "eager": 4}
"""How many times the scores [H, T, T] are held at once, of paths that hold them."""


def draw(tokens: int) -> Heads:
    """Queries, keys and values of as many tokens."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, HEADS, tokens, WIDTH, requires_grad=True) for _ in range(3))
    return query, key, value


def step(attend: Attention, heads: Heads, gradient: torch.Tensor) -> list[torch.Tensor]:
    """One forward and backward: the output, and the gradients of queries, keys and values."""
    output = attend(heads)
    return [output, *torch.autograd.grad(output, heads, gradient)]


def compare(tokens: int) -> None:
    """Paths to the same must have the same output and gradients."""
    heads = draw(tokens)
    gradient = torch.randn_like(heads[0])
    for one, other in (("packed, 64", "masked, 64"), ("sdpa", "eager")):
        results = [step(PATHS[name](tokens), heads, gradient) for name in (one, other)]
        for first, second in zip(*results, strict=True):
            assert torch.allclose(first, second, atol=1e-5), (one, other, tokens, (first - second).abs().max())


def fits(name: str, tokens: int) -> bool:
    """Whether a path's scores take at most a quarter of the memory."""
    return SCORES.get(name, 0) * HEADS * tokens**2 * 4 <= memory() / 4


def attention_point(name: str, tokens: int, rounds: int) -> dict[str, Any]:
    """Seconds of one forward and backward."""
    heads, attend = draw(tokens), PATHS[name](tokens)
    gradient = torch.randn_like(heads[0])
    return measured(lambda: seconds(lambda: step(attend, heads, gradient), LEAST_SECONDS), rounds)


def packing_point(tokens: int, rounds: int) -> dict[str, Any]:
    """Seconds of packing rows of so many tokens in all."""
    lengths: list[int] = torch.randint(
        30, 121, (-(-tokens // 75),), generator=torch.Generator().manual_seed(0)
    ).tolist()
    assert sorted(chain(*best_fit(lengths, BUDGET))) == list(range(len(lengths)))
    return measured(lambda: seconds(lambda: best_fit(lengths, BUDGET), LEAST_SECONDS), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smallest", type=int, default=256)
    parser.add_argument("--largest", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=5, help="at most, of a point")
    options = parser.parse_args()
    sizes = [size for power in range(30) if (size := options.smallest << power) <= options.largest]
    for size in sizes:
        if size <= COMPARED:
            compare(size)
    curves = {}
    for name in PATHS:
        points = {size: attention_point(name, size, options.rounds) for size in [1, *sizes] if fits(name, size)}
        curves[name] = grown(points, points.pop(1)["seconds"])
        print(f"{name}: " + ", ".join(f"{each:.3g} s" for each in curves[name]["seconds"]), flush=True)
    longer = sizes + [size for power in range(1, 9) if (size := sizes[-1] << power) <= MOST_PACKED]
    points = {size: packing_point(size, options.rounds) for size in [1, *longer]}
    curves["packing"] = grown(points, points.pop(1)["seconds"])
    print()
    show(curves, lambda size: f"2^{size.bit_length() - 1}")
    named = {name.replace(", ", "_"): each for name, each in curves.items()}
    found = {"benchmark": "growth_tokens", "environment": environment(), "heads": [HEADS, WIDTH], **named}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
