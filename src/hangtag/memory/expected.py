"""What training by a recipe is expected to take of a device, part by part.

Activations are counted ones (`activations`); only the allowance is an assumption. Parts do not all reach their largest
at one moment, so the total is an upper bound. GB are 10^9 bytes.

How training holds things: `full` weights in float32, cast to bfloat16 for products (autocast keeps the copies); a base
under adapters in bfloat16, or its decoder layers in 4 bits (NF4, double quantisation); adapters, gradients and AdamW
in float32; frozen parts without gradients or optimizer state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from hangtag.cost import ANSWER_TOKENS, PROMPT_TOKENS, tiles
from hangtag.memory.activations import clip_peak, decoder_peak, projector_saved
from hangtag.memory.sizes import Sizes
from hangtag.recipe import Recipe

CONTEXT_BYTES = 1.5e9
"""Assumed: CUDA's context and the libraries' workspaces."""
SLACK = 0.10
"""Assumed: what the allocator holds and cannot use, as a share of the rest."""
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""4 bits a weight; for 64 weights a scale in 8 bits, for 256 of these one in float32."""
ADAM_BYTES, ADAM_8BIT_BYTES, MUON_BYTES = 8, 2 + 2 * 4 / 256, 4
LOGIT_BYTES = 14
"""Of one logit at the loss: log-probability, its gradient and the logit's in float32, that in bfloat16 too."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one device. `decoder` and `pictures` are activations: the latter of CLIP and the projector, with the
    pixels or cached features; `allowance` is assumed."""

    weights: float
    adapters: float
    gradients: float
    optimizer: float
    decoder: float
    pictures: float
    logits: float
    allowance: float

    @property
    def total(self) -> float:
        return math.fsum(getattr(self, each.name) for each in fields(self))

    def __str__(self) -> str:
        parts = [f"{each.name} {getattr(self, each.name) / 1e9:.1f}" for each in fields(self)]
        return f"{self.total / 1e9:.1f} GB ({', '.join(parts)})"


@dataclass(frozen=True)
class Pass:
    """What one forward and backward pass holds: tokens, those of them that are labels, pictures' crops."""

    tokens: int
    label_tokens: int
    crops: int


def picture_cost(sizes: Sizes, num_crops: int) -> tuple[int, int]:
    """Tokens and crops, the overview among them, of a square picture."""
    rows, columns = tiles(1, 1, num_crops) or (1, 1)
    crops = rows * columns + 1
    return crops * sizes.grid**2 + 1 + (rows + 1) * sizes.grid, crops


def fullest_pass(recipe: Recipe, processes: int = 1) -> Pass:
    """A pass that fills `token_budget` with rows of one square photo and a tag of usual length."""
    picture, crops = picture_cost(Sizes.of(recipe), recipe.model.num_crops)
    length = picture + PROMPT_TOKENS + ANSWER_TOKENS
    step = math.ceil(recipe.train.batch_size / processes)
    fitting = min(step, max(1, recipe.train.token_budget // length))
    return Pass(min(step * length, recipe.train.token_budget), fitting * ANSWER_TOKENS, fitting * crops)


def expected_memory(
    recipe: Recipe,
    one: Pass | None = None,
    processes: int = 1,
    sharded: bool = False,
    bfloat16: bool | None = None,
    sizes: Sizes | None = None,
) -> Memory:
    """What training by `recipe` is expected to take on each device.

    Args:
        one: the largest pass; absent, `fullest_pass`.
        processes: how many train together, one a device.
        sharded: weights, gradients and optimizer state are divided among them (FSDP2); else each has its own (DDP).
        bfloat16: whether products are computed in it; absent, unless the recipe's precision is float32.
        sizes: the model's; absent, those of the recipe's base.
    """
    train, sizes = recipe.train, sizes or Sizes.of(recipe)
    one = one or fullest_pass(recipe, processes)
    compute = 2 if (train.precision != "float32" if bfloat16 is None else bfloat16) else 4
    trained = [part for part, rate in train.part_rates().items() if rate > 0]
    shards = processes if sharded else 1
    counts = {"clip": sizes.clip, "projector": sizes.projector, "decoder": sizes.decoder}
    adapters = 0 if train.method == "full" else sum(sizes.adapters(train.lora.rank, part) for part in trained)
    learned = adapters or sum(counts[part] for part in trained)
    gradients = 4 * learned / shards * (2 if processes > 1 and not sharded else 1)  # DDP's buckets are a second copy
    exact = {
        "weights": _weights(recipe, sizes, compute, shards),
        "adapters": 4 * adapters / shards,
        "gradients": gradients,
        "optimizer": _optimizer(recipe, sizes, learned, trained) / shards,
        "decoder": one.tokens * decoder_peak(recipe, sizes, compute),
        "pictures": _pictures(recipe, sizes, compute, one, trained),
        "logits": one.label_tokens * sizes.vocabulary * LOGIT_BYTES,
    }
    return Memory(**exact, allowance=CONTEXT_BYTES + SLACK * math.fsum(exact.values()))


def _weights(recipe: Recipe, sizes: Sizes, compute: int, shards: int) -> float:
    everything = sizes.decoder + sizes.projector + sizes.clip
    in_layers = sizes.layers * sizes.layer_weights
    if recipe.train.method == "lora":
        whole: float = compute * everything
    elif recipe.train.method == "qlora":  # and one matrix, unpacked for its product
        whole = NF4_BYTES * in_layers + compute * (everything - in_layers + 2 * sizes.hidden * sizes.intermediate)
    else:
        whole = 4 * everything
    if shards > 1:
        # Two layers gathered, one ahead of the other; what stands outside the layers stays gathered.
        return whole / shards + compute * (2 * sizes.layer_weights + everything - in_layers)
    copies = everything - sizes.embedding if recipe.train.method == "full" and compute == 2 else 0
    return whole + 2 * copies


def _optimizer(recipe: Recipe, sizes: Sizes, learned: int, trained: list[str]) -> float:
    if recipe.train.optimizer == "adamw_8bit" and recipe.train.method == "full":
        embedding = sizes.embedding if "decoder" in trained else 0  # the Trainer keeps it in 32 bits
        return ADAM_8BIT_BYTES * (learned - embedding) + ADAM_BYTES * embedding
    if recipe.train.optimizer == "adamw_8bit":
        return ADAM_8BIT_BYTES * learned
    if recipe.train.optimizer == "muon":
        outside = 2 * sizes.embedding if "decoder" in trained else 0
        return MUON_BYTES * (learned - outside) + ADAM_BYTES * outside
    return ADAM_BYTES * learned


def _pictures(recipe: Recipe, sizes: Sizes, compute: int, one: Pass, trained: list[str]) -> float:
    features = sizes.grid**2 * 4 * sizes.clip_hidden
    if recipe.train.vision_cache and "clip" not in trained and not recipe.train.augments:
        clip: float = one.crops * features * compute
    else:
        pixels = 3 * sizes.crop_side**2 * (4 + compute)  # and the patch embedding's copy
        clip = one.crops * (pixels + sizes.patches * clip_peak(recipe, sizes, compute))
    places = min(one.tokens, one.crops * (sizes.grid**2 + sizes.grid + 1))
    return clip + places * projector_saved(recipe, sizes, compute)
