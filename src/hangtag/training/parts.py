"""The model's parts - CLIP, projector, decoder - and what of each is trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from hangtag.errors import RunError
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
