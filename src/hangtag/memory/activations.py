"""Bytes of activations for each token (or CLIP position), by what autograd keeps of each operation.

Written down operation by operation, and held to a count on small models (tests/test_memory.py): bytes saved, and bytes
alive at the peak, both within a tenth. `compute` is the bytes of a computed number: 2 under bfloat16 autocast, else 4.
Attention never holds scores (flash, flex or varlen). Letters: D and I the decoder's width and inner width, V and W
CLIP's.
"""

from __future__ import annotations

from hangtag.memory.sizes import Sizes
from hangtag.recipe import Recipe


def decoder_saved(recipe: Recipe, sizes: Sizes, compute: int) -> float:
    """Bytes a token that autograd keeps from the decoder's forward pass, final norm included."""
    layer, stream = _decoder_layer(recipe, sizes, compute)
    final = (8 if _full_decoder(recipe) else 4) * sizes.hidden
    return sizes.layers * (stream if recipe.train.checkpointing else layer) + final


def decoder_peak(recipe: Recipe, sizes: Sizes, compute: int) -> float:
    """Bytes a token alive at the peak: what is kept, and what the backward pass of one layer needs beside it.

    That is the gradients inside the perceptron and of the residual stream; an adapter with dropout hands its input's
    gradient on in float32. The multiples of D and I were found by counting.
    """
    layer, stream = _decoder_layer(recipe, sizes, compute)
    if recipe.train.method == "full":
        work = 2 * compute * sizes.intermediate + 1.5 * compute * sizes.hidden + stream
    else:
        inner, outer = (6, 5) if not recipe.train.lora.dropout else (10, 9) if compute == 2 else (7, 6)
        work = inner * sizes.intermediate + outer * sizes.hidden + stream
    if recipe.train.checkpointing:
        return (sizes.layers - 1) * stream + layer + work
    return decoder_saved(recipe, sizes, compute) + work


def _full_decoder(recipe: Recipe) -> bool:
    return recipe.train.method == "full" and recipe.train.part_rates()["decoder"] > 0


def _decoder_layer(recipe: Recipe, sizes: Sizes, compute: int) -> tuple[float, int]:
    """Bytes a token that autograd keeps of one decoder layer, and those of the residual stream at its input."""
    full = recipe.train.method == "full"
    stream = 4 * sizes.hidden if full else compute * sizes.hidden
    # Two norms keep their input in float32; attention keeps q, k, the fused qkv (through v), its output and a
    # logarithm for each head; the perceptron keeps gate and up, and the gate's activation.
    attention = 6 * compute * sizes.hidden + 4 * sizes.heads
    kept = 2 * 4 * sizes.hidden + attention + 3 * compute * sizes.intermediate
    if recipe.train.part_rates()["decoder"] == 0:
        return kept, stream
    inputs = 3 * sizes.hidden + sizes.intermediate  # of the four matrices
    if full:  # a trained norm keeps its normalised input; in float32 three of the inputs are not copies
        return kept + 2 * 4 * sizes.hidden + compute * inputs, stream
    mask = 1 if recipe.train.lora.dropout else 0
    return kept + (compute + mask) * inputs + 4 * compute * recipe.train.lora.rank, stream


def clip_saved(recipe: Recipe, sizes: Sizes, compute: int) -> float:
    """Bytes a CLIP position that autograd keeps; nothing where CLIP is frozen."""
    if recipe.train.part_rates()["clip"] == 0:
        return 0
    layer, stream = _clip_layer(recipe, sizes, compute)
    first_norm = stream if recipe.train.method == "full" else 0
    return (sizes.clip_layers - 1) * (stream if recipe.train.checkpointing else layer) + first_norm


def clip_peak(recipe: Recipe, sizes: Sizes, compute: int) -> float:
    """Bytes a CLIP position alive at the peak: what is kept, and one layer's work beside it, found by counting."""
    width, inner = sizes.clip_hidden, sizes.clip_intermediate
    if recipe.train.part_rates()["clip"] == 0:  # forward alone: quick GELU's input, sigmoid and product, two norms
        return 3 * compute * inner + 12 * width
    if recipe.train.method == "full":
        work = (2 * compute * inner if compute == 2 else 0) + compute * width
    else:
        work = 10 * inner + 6 * width
    layer, _ = _clip_layer(recipe, sizes, compute)
    return clip_saved(recipe, sizes, compute) + work + (layer if recipe.train.checkpointing else 0)


def _clip_layer(recipe: Recipe, sizes: Sizes, compute: int) -> tuple[float, int]:
    """As `_decoder_layer`, for a trained CLIP layer of width V and inner width W."""
    width, inner = sizes.clip_hidden, sizes.clip_intermediate
    full = recipe.train.method == "full"
    stream = 4 * width if full else compute * width
    # Two norms keep input, mean and deviation; attention q, k, v, output and a logarithm a head; quick GELU its input
    # and sigmoid.
    kept = 8 * width + 16 + 4 * compute * width + 4 * sizes.clip_heads + 2 * compute * inner
    if full:  # of six matrices; autocast casts the input of q, k and v three times, and the attention's output is one
        return kept + compute * ((4 if compute == 2 else 2) * width + inner), stream
    mask = 1 if recipe.train.lora.dropout else 0
    return kept + (compute + mask) * (5 * width + inner) + 6 * compute * recipe.train.lora.rank, stream


def projector_saved(recipe: Recipe, sizes: Sizes, compute: int) -> float:
    """Bytes a picture token that autograd keeps of the projector: its inputs, and what GELU is given."""
    width, train = 4 * sizes.clip_hidden, recipe.train
    kept = compute * (width + 2 * sizes.hidden)
    if train.method == "full":
        return kept
    # A mask is kept only where a gradient goes on: of the features only if CLIP is trained.
    masks = sizes.hidden + (width if train.part_rates()["clip"] else 0) if train.lora.dropout else 0
    return kept + masks + 2 * compute * train.lora.rank
