"""The model's parts - CLIP, projector, decoder - and what of each is trained."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from hangtag.errors import RunError, first_names
from hangtag.phi3v import Phi3VConfig
from hangtag.recipe.sections import PART_NAMES

_CLIP_LAYER = re.compile(r"img_processor\.vision_model\.encoder\.layers\.(\d+)\.")


def part_of(name: str) -> str:
    """The part that a parameter belongs to, by its name: clip, projector (separators included) or decoder."""
    if "img_processor." in name:
        return "clip"
    return "projector" if "vision_embed_tokens." in name else "decoder"


def freeze(model: nn.Module, config: Phi3VConfig, rates: Mapping[str, float]) -> None:
    """Let the parts with a rate learn and no other. What CLIP never uses - its last layer and norm - stays frozen."""
    for name, parameter in model.named_parameters():
        layer = _CLIP_LAYER.search(name)
        unused = "post_layernorm" in name or (layer is not None and int(layer[1]) >= config.vision_layers)
        parameter.requires_grad_(rates[part_of(name)] > 0 and not unused)


@dataclass(frozen=True)
class Trained:
    """What is trained of a part: tensors and parameters, out of how many parameters, and its highest rate."""

    part: str
    tensors: int
    parameters: int
    of: int
    rate: float

    def __str__(self) -> str:
        if not self.tensors:
            return f"{self.part}: frozen ({self.of:,} parameters)"
        return (
            f"{self.part}: {self.tensors} tensors, {self.parameters:,} of {self.of:,} parameters "
            f"({self.parameters / self.of:.2%}), learning rate {self.rate:g}"
        )


def trained_parts(model: nn.Module, rates: Mapping[str, float]) -> list[Trained]:
    """What is trained of each part.

    Raises:
        RunError: a part that has a rate has nothing to train.
    """
    found = []
    for part in PART_NAMES:
        mine = [each for name, each in model.named_parameters() if part_of(name) == part]
        learning = [each for each in mine if each.requires_grad]
        found.append(Trained(part, len(learning), sum(map(_count, learning)), sum(map(_count, mine)), rates[part]))
    idle = [each.part for each in found if each.rate and not each.tensors]
    if idle:
        raise RunError(f"{' and '.join(idle)} should learn, but no tensor of it is trained; set its rate to 0")
    return found


def _count(parameter: nn.Parameter) -> int:
    """Parameters, not the packed halves that a quantised tensor counts."""
    state = getattr(parameter, "quant_state", None)
    return int(torch.Size(state.shape).numel()) if state is not None else parameter.numel()


def _mine(tensor: torch.Tensor) -> torch.Tensor:
    """This process's share of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class GradientCheck:
    """Whether every part that is to learn gets a gradient, seen in a run's first steps with pictures.

    A gradient of zero is forgiven for `PATIENCE` steps: nano's layers begin as nothing and pass none on, and the first
    step of a warm-up has a rate of zero.
    """

    PATIENCE = 4

    def __init__(self, rates: Mapping[str, float]) -> None:
        self.waiting = {part for part, rate in rates.items() if rate}
        self.seen = 0

    def __call__(
        self, named: Iterable[tuple[str, nn.Parameter]], anywhere: Callable[[list[bool]], list[bool]] = list
    ) -> None:
        """Look at the gradients of one step.

        Args:
            anywhere: makes of a flag whether it is set in any process: a share of a sharded gradient may be all zeros.

        Raises:
            RunError: a trained tensor was not reached, or a part has had nothing but zeros.
        """
        if not self.waiting:
            return
        self.seen += 1
        learning = [(name, each) for name, each in named if each.requires_grad]
        missed = [name for name, each in learning if each.grad is None]
        if missed:
            raise RunError(
                f"{len(missed)} of {len(learning)} trained tensors got no gradient: {first_names(missed)}; "
                "freeze their part with train.rates, or report a bug"
            )
        moved = {part_of(name) for name, each in learning if each.grad is not None and bool(_mine(each.grad).any())}
        reached = anywhere([part in moved for part in PART_NAMES])
        self.waiting -= {part for part, is_so in zip(PART_NAMES, reached, strict=True) if is_so}
        if self.waiting and self.seen >= self.PATIENCE:
            raise RunError(
                f"{' and '.join(sorted(self.waiting))} should learn, but every gradient of it was zero in "
                f"{self.seen} steps; the pictures do not reach the answer, or the model's weights are zero"
            )
