"""Optimizers over the model's parts, each with its own rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hangtag.recipe import Train
from hangtag.training.muon import Muon, muon_groups
from hangtag.training.parts import part_of


def make_optimizer(model: nn.Module, settings: Train) -> torch.optim.Optimizer:
    """The recipe's optimizer over what is trained: AdamW (fused), AdamW with 8-bit state, or Muon."""
    rates = settings.part_rates()
    if settings.optimizer == "muon":
        return Muon(muon_groups(model, settings.weight_decay, rates), settings.rate, betas=(0.9, settings.adam_beta2))
    groups = adamw_groups(model, settings.weight_decay, rates)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=(0.9, settings.adam_beta2), fused=True)
    return _adamw_8bit(model, groups, settings.adam_beta2)


def adamw_groups(model: nn.Module, weight_decay: float, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """A group for each part with and without decay; matrices decay, norms, biases and separators do not."""
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((part_of(name), parameter.ndim == 2), []).append(parameter)
    return [
        {"params": each, "lr": rates[part], "weight_decay": weight_decay if decays else 0.0}
        for (part, decays), each in groups.items()
    ]


def _adamw_8bit(model: nn.Module, groups: list[dict[str, Any]], beta2: float) -> torch.optim.Optimizer:
    """bitsandbytes' AdamW (Dettmers et al. 2021, arXiv 2110.02861); embeddings keep 32-bit state, as advised there."""
    from bitsandbytes import optim

    manager = optim.GlobalOptimManager.get_instance()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})
    optimizer: torch.optim.Optimizer = optim.AdamW8bit(groups, betas=(0.9, beta2))
    return optimizer
