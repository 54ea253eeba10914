"""What to lower when memory runs out, and by how much: figures of `hangtag.memory` for the pass that failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError

from hangtag.memory import Memory, Pass, Sizes, expected_memory, picture_cost
from hangtag.recipe import Recipe

CPU_ALLOCATOR = ("can't allocate memory", "not enough memory")
CUDA_LIBRARIES = ("out of memory", "_STATUS_ALLOC_FAILED")
WORTH_SAYING = 0.01
"""Least share of the whole, but for the allowance, that a change must save."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of a GPU or of the machine: neither torch nor its libraries have one class for it."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in (*CPU_ALLOCATOR, *CUDA_LIBRARIES))


@dataclass(frozen=True)
class Device:
    """How training ran: processes, whether they share weights (FSDP2) and whether they compute in bfloat16."""

    processes: int = 1
    sharded: bool = False
    bfloat16: bool = True


def advice(recipe: Recipe, one: Pass, device: Device | None = None, longest: int = 0) -> str:
    """What a pass was expected to take, and the settings that lower it, most effective first.

    Args:
        one: the pass that failed.
        device: absent, one process in bfloat16.
        longest: tokens of the longest row; token_budget can go no lower.
    """
    device = device or Device()
    now = _reckoned(recipe, one, device)
    found = [
        (now.total - after.total, f"{setting} (about -{_size(now.total - after.total)}{remark})")
        for setting, after, remark in _changes(recipe, one, device, longest)
        if now.total - after.total > WORTH_SAYING * (now.total - now.allowance)
    ]
    told = [text for _, text in sorted(found, key=lambda each: -each[0])]
    return (
        f"out of memory in a pass of {one.tokens:,} tokens and {one.crops} crops (train.token_budget "
        f"{recipe.train.token_budget}), expected to need about {_size(now.total)}. "
        + (f"Set, most effective first: {'; '.join(told)}" if told else "No setting lowers it; take a larger device")
    )


def _changes(recipe: Recipe, one: Pass, device: Device, longest: int) -> Iterator[tuple[str, Memory, str]]:
    """Each change that the recipe does not have yet: as a setting, the memory after it, and a remark."""
    train = recipe.train
    lower: dict[str, Any] = {"train.checkpointing": True, "train.vision_cache": True}
    if train.part_rates()["clip"]:
        lower["train.rates.clip"] = 0.0
    if train.method == "full":
        lower["train.method"] = "lora"
    elif not device.sharded:
        lower["train.method"] = "qlora"
    if train.optimizer == "adamw" and not device.sharded:  # what packs weights or state needs whole matrices
        lower["train.optimizer"] = "adamw_8bit"
    for key, value in lower.items():
        changed = _with(recipe, key, value)
        if changed is not None and changed != recipe:
            yield f"{key}={_toml(value)}", _reckoned(changed, one, device), ""
    half = max(one.tokens // 2, longest, 64)
    fewer = Pass(half, one.label_tokens * half // one.tokens, -(-one.crops * half // one.tokens))
    yield f"train.token_budget={half}", _reckoned(recipe, fewer, device), ""
    if recipe.model.num_crops > 1:
        yield _one_crop(recipe, one, device)
    whole = device.processes > 1 and not device.sharded
    if whole and train.method == "full" and train.optimizer == "adamw" and recipe.model.base != "nano":
        shared = _reckoned(recipe, one, Device(device.processes, True, device.bfloat16))
        yield "accelerate launch --use_fsdp, as the recipe full-8gpu shows", shared, ""


def _one_crop(recipe: Recipe, one: Pass, device: Device) -> tuple[str, Memory, str]:
    """The same rows, a square picture in each, with one tile and the overview."""
    sizes = Sizes.of(recipe)
    tokens, crops = picture_cost(sizes, recipe.model.num_crops)
    fewer_tokens, fewer_crops = picture_cost(sizes, 1)
    pictures = one.crops // crops
    after = Pass(
        max(one.label_tokens, one.tokens - pictures * (tokens - fewer_tokens)),
        one.label_tokens,
        pictures * fewer_crops,
    )
    remark = f" for these rows: a square picture takes {fewer_tokens} tokens instead of {tokens}"
    return "model.num_crops=1", _reckoned(recipe, after, device), remark + ", and token_budget can follow"


def _reckoned(recipe: Recipe, one: Pass, device: Device) -> Memory:
    return expected_memory(recipe, one, device.processes, device.sharded, device.bfloat16)


def _with(recipe: Recipe, key: str, value: Any) -> Recipe | None:
    """The recipe with one key changed; None where it does not go with the others."""
    values = recipe.model_dump()
    *sections, last = key.split(".")
    section = values
    for name in sections:
        section = section[name]
    section[last] = value
    try:
        return Recipe.model_validate(values)
    except ValidationError:
        return None


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
