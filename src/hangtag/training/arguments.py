"""A recipe as the settings of transformers' Trainer."""

from __future__ import annotations

import math

import torch
from transformers import TrainingArguments

from hangtag.files import Run
from hangtag.recipe import Recipe
from hangtag.training.environment import precision


def arguments(recipe: Recipe, run: Run, steps_per_epoch: int, on_cpu: bool = False) -> TrainingArguments:
    """The Trainer's settings; when to validate and to save is decided in `watch`.

    Args:
        on_cpu: leave accelerators alone.
    """
    settings = recipe.train
    steps = max(1, math.ceil(settings.epochs * steps_per_epoch))
    made = TrainingArguments(
        output_dir=str(run.checkpoints),
        max_steps=steps,
        per_device_train_batch_size=1,
        learning_rate=settings.rate,
        warmup_steps=round(settings.warmup * steps),
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(settings.schedule, settings.schedule),
        max_grad_norm=settings.clip_norm,
        bf16=precision(settings.precision) == torch.bfloat16,
        logging_steps=1,
        eval_strategy="no",
        save_strategy="no",
        report_to=["none"],
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=settings.seed,
        use_cpu=on_cpu or not torch.accelerator.is_available(),  # without it, bfloat16 is refused
        ddp_find_unused_parameters=False,  # every pass runs every part (see `Plan`)
    )
    made.mixed_precision = "bf16" if made.bf16 else "no"  # the recipe says it, not the launcher
    return made
