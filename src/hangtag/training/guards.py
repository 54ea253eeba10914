"""What stops a run that learns nothing, or nothing good."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from hangtag.errors import RunError, first_names
from hangtag.recipe.sections import PART_NAMES
from hangtag.training.parts import part_of

# Numbers that must be finite for a step to be kept.
CHECKED = {"loss": "loss", "grad_norm": "gradient's norm", "validation_loss": "validation loss"}


def check_number(name: str, value: float, step: int) -> None:
    """Raises a RunError where training has gone wrong; nothing of this step is kept."""
    if not math.isfinite(value) and step == 1:
        raise RunError(
            f"the {CHECKED[name]} is {value} at the first step: model.base's weights are damaged, or too large for "
            'train.precision; try "float32", in a new --out'
        )
    if not math.isfinite(value):
        raise RunError(
            f"the {CHECKED[name]} is {value} at step {step}; lower train.learning_rate, or set train.precision = "
            '"float32", and start again in a new --out'
        )
    if name == "loss" and value == 0:
        raise RunError(f"the loss is exactly 0 at step {step}: there is nothing to learn; are all answers the same?")


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


def _mine(tensor: torch.Tensor) -> torch.Tensor:
    """This process's share of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
