"""The floating-point operations of a training step and of generation, from a model's numbers alone. No torch.

These are model operations, as a share of a device's peak is commonly reckoned by them: two for each multiply-add of a
matrix product, causal attention by its lower triangle with the diagonal, whatever a kernel computes of the rest, and
nothing for padding or for what checkpointing computes again. Left out: token embeddings, norms, softmax, rotary,
activation functions, biases, the loss and the optimiser (Muon's products too).

Backward counts the gradients that autograd computes. A trained matrix has one for its weights, and each matrix one for
its input where something below learns: a part's own tensors under its matrices (token embedding, separators, CLIP's
embeddings) where it is trained in full, an adapter, or a part beneath. So under a frozen CLIP and projector, adapters
on the decoder need none for the input of the first layer's `qkv_proj`, and a frozen CLIP has no backward at all.

Taken for granted: as many heads of keys as of queries, and a sliding window longer than any example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from hangtag.memory.sizes import Sizes


@dataclass(frozen=True)
class Lora:
    """A part that is frozen but for adapters on all its matrices (see `hangtag.phi3v.adapters_phi3_v`)."""

    rank: int


How = Literal["frozen", "full"] | Lora


@dataclass(frozen=True)
class Training:
    """What is trained of each part. The token embedding is the decoder's, the separators are the projector's."""

    clip: How = "frozen"
    projector: How = "frozen"
    decoder: How = "frozen"
    lm_head: How = "frozen"


@dataclass(frozen=True)
class Example:
    """A sequence that attends to itself alone.

    `tokens` are all of it; of these `logits` go through `lm_head` and `picture_tokens`, separators included, come from
    the projector. `crops` go through CLIP: the overviews too, and none where features are cached.
    """

    tokens: int
    logits: int
    crops: int = 0
    picture_tokens: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.logits <= self.tokens or not 0 <= self.crops <= self.picture_tokens <= self.tokens:
            raise ValueError(
                f"{self}: logits and picture tokens are among the tokens, and each crop has picture tokens"
            )


@dataclass(frozen=True)
class Operations:
    """Floating-point operations by part.

    `clip` includes CLIP's attention and patch embedding, `matrices` are those of the decoder's layers, `attention` is
    the decoder's; adapters on any part are `adapters`.
    """

    clip: int
    projector: int
    matrices: int
    attention: int
    lm_head: int
    adapters: int

    @property
    def total(self) -> int:
        return sum(getattr(self, each.name) for each in fields(self))

    def __sub__(self, other: Operations) -> Operations:
        return Operations(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True)
class StepOperations:
    """Floating-point operations of one forward and backward pass."""

    forward: Operations
    backward: Operations

    @property
    def total(self) -> int:
        return self.forward.total + self.backward.total


@dataclass(frozen=True)
class GenerationOperations:
    """Floating-point operations of the prompts up to the first token, and of the steps after it."""

    prefill: Operations
    decoding: Operations

    @property
    def total(self) -> int:
        return self.prefill.total + self.decoding.total


def step_operations(sizes: Sizes, examples: Sequence[Example], training: Training = Training()) -> StepOperations:
    """Of one pass over examples computed together; nothing trained is a forward pass alone.

    A gradient that goes to the embeddings of one example goes to all: they are one tensor.
    """
    crops = sum(each.crops for each in examples)
    positions = {
        "clip": crops * sizes.patches,
        "projector": sum(each.picture_tokens for each in examples),
        "decoder": sum(each.tokens for each in examples),
        "lm_head": sum(each.logits for each in examples),
    }
    inside, to_input = _gradients(training, positions)
    forward, backward, adapters, adapters_backward = {}, {}, 0, 0
    for part, matrices in _matrices(sizes).items():
        how: How = getattr(training, part)
        forward[part] = positions[part] * 2 * matrices.weights
        backward[part] = positions[part] * matrices.backward(how, to_input[part])
        adapters += positions[part] * matrices.adapters_forward(how)
        adapters_backward += positions[part] * matrices.adapters_backward(how, to_input[part])
    patches, clip_attention = crops * _patch_embedding(sizes), crops * _clip_attention(sizes)
    attention = sum(_attention(sizes, each.tokens) for each in examples)
    forward["clip"] += patches + clip_attention
    backward["clip"] += patches * (training.clip == "full") + 2 * clip_attention * inside["clip"]
    return StepOperations(
        _operations(forward, attention, adapters),
        _operations(backward, 2 * attention * inside["decoder"], adapters_backward),
    )


def generation_operations(
    sizes: Sizes, prompts: Sequence[Example], steps: int, adapters: Training = Training()
) -> GenerationOperations:
    """Of a row for each prompt: its one pass, then `steps` tokens, each attending to all before it and to itself.

    Args:
        prompts: each with the logits that its pass computes, usually 1.
        steps: of every row, a logit each; an answer of n tokens takes n - 1 beside the prompt's pass.
        adapters: the parts whose adapters were not merged; absent, none.
    """
    ends = [Example(each.tokens + steps, each.logits + steps, each.crops, each.picture_tokens) for each in prompts]
    prefill = step_operations(sizes, prompts, adapters).forward
    # Causal attention of a longer sequence is that of a shorter one and a row of scores for each further token.
    return GenerationOperations(prefill, step_operations(sizes, ends, adapters).forward - prefill)


@dataclass(frozen=True)
class _Matrices:
    """A part's matrices, counted in weights; `first` are those that see the part's input, of `inputs` together.

    `each_rank` are the parameters of adapters of rank 1. The methods give operations a position.
    """

    weights: int
    first: int
    inputs: int
    each_rank: int

    def backward(self, how: How, to_input: bool) -> int:
        """`to_input`: whether the part's input needs a gradient."""
        if how == "frozen" and not to_input:
            return 0
        passed_on = self.weights - (0 if to_input else self.first)
        return 2 * passed_on + (2 * self.weights if how == "full" else 0)

    def adapters_forward(self, how: How) -> int:
        return 2 * how.rank * self.each_rank if isinstance(how, Lora) else 0

    def adapters_backward(self, how: How, to_input: bool) -> int:
        if not isinstance(how, Lora):
            return 0
        return 2 * how.rank * (2 * self.each_rank - (0 if to_input else self.inputs))


def _gradients(training: Training, positions: Mapping[str, int]) -> tuple[dict[str, bool], dict[str, bool]]:
    """Whether a gradient is needed inside each part, and whether for the input of its first matrices."""
    inside, to_input, learns = {}, {}, False
    for part in positions:  # from the bottom up
        how: How = getattr(training, part)
        to_input[part] = learns or (how == "full" and part != "lm_head")  # the head has no tensor under its matrix
        learns = inside[part] = positions[part] > 0 and (learns or how != "frozen")
    return inside, to_input


def _matrices(sizes: Sizes) -> dict[str, _Matrices]:
    """Of each part; first are the first layer's query, key and value, or the first matrix."""
    hidden, clip = sizes.hidden, sizes.clip_hidden
    ranks = {part: sizes.adapters(1, part) for part in ("clip", "projector", "decoder")}
    clip_weights = (sizes.clip_layers - 1) * sizes.clip_layer_weights
    return {
        "clip": _Matrices(clip_weights, 3 * clip * clip, 3 * clip, ranks["clip"]),
        "projector": _Matrices(sizes.projector_weights, 4 * clip * hidden, 4 * clip, ranks["projector"]),
        "decoder": _Matrices(sizes.layers * sizes.layer_weights, 3 * hidden * hidden, hidden, ranks["decoder"]),
        "lm_head": _Matrices(sizes.embedding, sizes.embedding, hidden, hidden + sizes.vocabulary),
    }


def _attention(sizes: Sizes, tokens: int) -> int:
    """Of one example's queries with keys, and of weights with values: pairs that see each other, all layers."""
    return sizes.layers * 4 * sizes.hidden * (tokens * (tokens + 1) // 2)


def _clip_attention(sizes: Sizes) -> int:
    """Of one crop: all positions see each other."""
    return (sizes.clip_layers - 1) * 4 * sizes.clip_hidden * sizes.patches**2


def _patch_embedding(sizes: Sizes) -> int:
    """Of one crop; the class token has none."""
    return 2 * sizes.patch_weights * (sizes.patches - 1)


def _operations(parts: Mapping[str, int], attention: int, adapters: int) -> Operations:
    return Operations(parts["clip"], parts["projector"], parts["decoder"], attention, parts["lm_head"], adapters)
