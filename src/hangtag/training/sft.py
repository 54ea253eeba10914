"""Supervised fine-tuning: the answer's tokens alone are learned, through transformers' Trainer.

Only the hidden states at positions that predict an answer token go through `lm_head`, so the full
logits never exist. Shapes: B rows, T tokens, K positions that predict a label, V vocabulary.
"""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from hangtag.examples.examples import IGNORED, Augmentation, Collator, Examples
from hangtag.files import Run
from hangtag.progress import Progress
from hangtag.recipe import Recipe
from hangtag.training.environment import precision
from hangtag.training.log import Log
from hangtag.training.muon import Muon, parameter_groups


def answer_loss(
    model: torch.nn.Module, inputs: dict[str, torch.Tensor], label_smoothing: float = 0.0
) -> tuple[torch.Tensor, int]:
    """Summed cross-entropy over the answer's tokens, and how many they are.

    Args:
        inputs: a batch of `Collator`; `labels` BT are -100 outside the answer.
    """
    inputs = dict(inputs)
    labels_BT = inputs.pop("labels")
    next_BT = functional.pad(labels_BT[:, 1:], (0, 1), value=IGNORED)
    predicts_BT = next_BT != IGNORED
    logits_KV = model(**inputs, logits_to_keep=predicts_BT, use_cache=False).logits
    targets_K = next_BT[predicts_BT]
    loss = functional.cross_entropy(logits_KV.float(), targets_K, reduction="sum", label_smoothing=label_smoothing)
    return loss, targets_K.numel()


class SftTrainer(Trainer):
    """transformers' Trainer with the loss above, exact validation loss, and checkpoints that appear whole."""

    def __init__(self, recipe: Recipe, run: Run, **kwargs: Any) -> None:
        self.recipe = recipe
        self.run = run
        self.optimizer: torch.optim.Optimizer | None
        self.control: TrainerControl
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = True  # so that the Trainer counts the labels of an optimizer step for us
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Loss of one micro-batch: its sum over the labels of the whole optimizer step."""
        assert not return_outputs
        loss, labels = answer_loss(model, inputs, self.recipe.train.label_smoothing)
        return loss / (labels if num_items_in_batch is None else num_items_in_batch)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Muon where the recipe asks for it, else the Trainer's own AdamW."""
        if self.recipe.train.optimizer == "adamw":
            return super().create_optimizer(model)
        if self.optimizer is None:
            settings = self.recipe.train
            groups = parameter_groups(self.model if model is None else model, settings.weight_decay)
            self.optimizer = Muon(groups, settings.rate, betas=(0.9, settings.adam_beta2))
        return self.optimizer

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Validation loss: the mean over all answer tokens of the split, without smoothing or augmentation."""
        model = self.model
        collator = Collator(self.data_collator.image_processor, self.data_collator.pad_token_id)
        loader = torch.utils.data.DataLoader(
            self.eval_dataset, batch_size=self.args.per_device_eval_batch_size, collate_fn=collator
        )
        model.eval()
        total, labels = 0.0, 0
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in loader:
                loss, count = answer_loss(model, {name: each.to(model.device) for name, each in batch.items()})
                total, labels = total + loss.item(), labels + count
        model.train()
        metrics = {"validation_loss": total / labels}
        self.log(metrics)
        # Without this the Trainer would evaluate the same step once more at the epoch's end.
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.run.checkpoints / ".partial")

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Let the Trainer write into a hidden folder, then rename: a checkpoint is whole or not there."""
        partial = Path(self._get_output_dir(trial))
        shutil.rmtree(partial, ignore_errors=True)
        super()._save_checkpoint(model, trial)
        target = self.run.checkpoints / f"step-{self.state.global_step}"
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial / f"checkpoint-{self.state.global_step}", target)
        shutil.rmtree(partial, ignore_errors=True)
        for old in checkpoints(self.run)[: -self.recipe.train.keep_checkpoints]:
            shutil.rmtree(old)


def checkpoints(run: Run) -> list[Path]:
    """A run's checkpoints, oldest first."""
    found = [each for each in run.checkpoints.glob("step-*") if each.name.removeprefix("step-").isdecimal()]
    return sorted(found, key=lambda each: int(each.name.removeprefix("step-")))


class Watch(TrainerCallback):
    """Writes log.jsonl and moves the progress bar."""

    def __init__(self, log: Log, progress: Progress) -> None:
        self.log = log
        self.progress = progress
        self.note = ""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.progress(state.global_step, state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.progress(state.global_step, state.max_steps, self.note)
        # A loss is a mean since the last record: one at each checkpoint lets a resumed run log the same means.
        control.should_log |= control.should_save

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        kept = ("loss", "grad_norm", "learning_rate", "validation_loss")
        record = {name: value for name, value in (logs or {}).items() if name in kept}
        if record:
            self.log.add(step=state.global_step, epoch=round(state.epoch or 0.0, 4), **record)
        if "loss" in record:
            self.note = f"loss {record['loss']:.3f}"


def make_trainer(
    recipe: Recipe,
    run: Run,
    model: PreTrainedModel,
    train: Examples,
    validation: Examples | None,
    log: Log,
    progress: Progress,
) -> SftTrainer:
    """A Trainer set up as the recipe says, ready for `.train()`."""
    settings = recipe.train
    steps_per_epoch = math.ceil(len(train) / settings.batch_size)
    steps = max(1, math.ceil(settings.epochs * steps_per_epoch))
    every = max(1, round(settings.checkpoint_epochs * steps_per_epoch))
    processor = train.processor
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.rate,
        warmup_steps=round(settings.warmup * steps),
        lr_scheduler_type="cosine",
        weight_decay=settings.weight_decay,
        adam_beta2=settings.adam_beta2,
        max_grad_norm=settings.clip_norm,
        optim="adamw_torch_fused",
        bf16=precision(settings.precision) == torch.bfloat16,
        logging_steps=min(10, steps),
        eval_strategy="steps" if validation is not None else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        report_to=_trackers(recipe),
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=settings.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    augmentation = Augmentation(settings.flip, settings.shift, settings.zoom, settings.light)
    collator = Collator(
        processor.image_processor,
        processor.tokenizer.pad_token_id,
        None if augmentation == Augmentation() else augmentation,
    )
    return SftTrainer(
        recipe,
        run,
        model=model,
        args=arguments,
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation,
        callbacks=[Watch(log, progress)],
    )


def _trackers(recipe: Recipe) -> list[str]:
    chosen = []
    if recipe.track.wandb != "off":
        os.environ["WANDB_MODE"] = recipe.track.wandb
        chosen.append("wandb")
    if recipe.track.tensorboard:
        chosen.append("tensorboard")
    return chosen or ["none"]
