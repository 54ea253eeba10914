"""Muon for the matrices inside layers, AdamW for everything else, as one optimizer.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) replaces a matrix's momentum by the nearest
matrix with all singular values near one. From scratch on a few thousand pictures it needs about half the steps
of AdamW (docs/log.md). Updates are scaled by 0.2 sqrt(max(rows, columns)), which gives them AdamW's usual size
(Liu et al. 2025, arXiv 2502.16982, eq. 4), so one learning rate serves both.

torch.optim.Muon computes in bfloat16, which processors without such instructions emulate: 15 times slower there
than this float32 form, which also takes matrices of one shape together.

A fused matrix (q, k, v; gate, up) is treated as the matrices it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from hangtag.training.parts import part_of

FUSED = {"qkv_proj": 3, "gate_up_proj": 2}
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz iteration towards the nearest orthogonal matrices; singular values end in about 0.7..1.2.

    Args:
        matrices: float [N, rows, columns].
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    each = matrices.mT if tall else matrices
    each = each / (each.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        square = each @ each.mT
        each = a * each + (b * square + c * square @ square) @ each
    return each.mT if tall else each


def muon_groups(model: nn.Module, weight_decay: float, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Layer matrices for Muon, by shape, number of fused parts and rate; the rest for AdamW, without decay.

    Embeddings, `lm_head`, convolutions, norms, biases and separators are AdamW's.

    Args:
        rates: of each part (see `parts`).
    """
    matrices: dict[tuple[torch.Size, int, float], list[nn.Parameter]] = {}
    others: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = rates[part_of(name)]
        if parameter.ndim == 2 and ("layers." in name or "img_projection" in name):
            parts = next((number for key, number in FUSED.items() if key in name), 1)
            matrices.setdefault((parameter.shape, parts, rate), []).append(parameter)
        else:
            others.setdefault(rate, []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": each, "parts": parts, "lr": rate, "weight_decay": weight_decay}
        for (_, parts, rate), each in matrices.items()
    ]
    return groups + [{"params": each, "parts": 0, "lr": rate, "weight_decay": 0.0} for rate, each in others.items()]


class Muon(torch.optim.Optimizer):
    """Groups with `parts` > 0 hold equally shaped matrices for Muon; `parts` 0 means AdamW.

    Args:
        lr: learning rate of both.
        momentum: Muon's (Nesterov's form).
        betas, eps: AdamW's.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            parameters = [each for each in group["params"] if each.grad is not None]
            if parameters:
                (self._muon if group["parts"] else self._adamw)(parameters, group)

    def _muon(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        updates = []
        for each in parameters:
            assert each.grad is not None
            state = self.state[each]
            if not state:
                state["momentum"] = torch.zeros_like(each)
            state["momentum"].lerp_(each.grad, 1 - group["momentum"])
            updates.append(each.grad.lerp(state["momentum"], group["momentum"]))
        rows, columns = parameters[0].shape
        stacked = torch.stack(updates).view(-1, rows // group["parts"], columns)
        scale = 0.2 * max(stacked.shape[-2:]) ** 0.5
        directions = orthogonalised(stacked).reshape(len(parameters), rows, columns)
        for each, direction in zip(parameters, directions, strict=True):
            each.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"] * scale)

    def _adamw(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        for each in parameters:
            assert each.grad is not None
            state = self.state[each]
            if not state:
                state.update(step=0, mean=torch.zeros_like(each), square=torch.zeros_like(each))
            state["step"] += 1
            state["mean"].lerp_(each.grad, 1 - beta1)
            state["square"].mul_(beta2).addcmul_(each.grad, each.grad, value=1 - beta2)
            size = group["lr"] / (1 - beta1 ** state["step"])
            spread = (state["square"] / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
            each.mul_(1 - group["lr"] * group["weight_decay"]).addcdiv_(state["mean"], spread, value=-size)
