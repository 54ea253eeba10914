"""Nano trained as a first script with transformers' Trainer would, for `training_step.py` to compare with.

One example at a time through the processor, padded to the catalogue's longest, 16 accumulated; every slot for a crop
goes through CLIP, blank ones too, as in the published code; full logits; pictures decoded anew whenever they are
needed, by the process that trains. Its parts can be put right one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset, default_collate
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback, TrainerCallback

from hangtag.examples.chat import Chat
from hangtag.examples.examples import IGNORED
from hangtag.examples.rows import UsableRow
from hangtag.files import Run
from hangtag.phi3v import Phi3VForCausalLM, Phi3VProcessor
from hangtag.phi3v.adapters_phi3_v import add_lora
from hangtag.recipe import Recipe
from hangtag.training.arguments import arguments
from hangtag.training.loss import answer_loss
from hangtag.training.models import load_base
from hangtag.training.optimizers import make_optimizer
from hangtag.training.parts import freeze


@dataclass(frozen=True)
class Script:
    """A first script, and what of it is put right.

    Args:
        at_once: rows of a forward pass.
        blanks: whether the slots without a crop go through CLIP.
        full_logits: logits for all positions, not only for those that predict the answer.
        workers: processes that decode pictures.
    """

    attention: str = "sdpa"
    at_once: int = 1
    blanks: bool = True
    full_logits: bool = True
    workers: int = 0


class Padded(Dataset[dict[str, torch.Tensor]]):
    """The rows of all steps, in order, each a dictionary of model inputs of one length."""

    def __init__(self, rows: Sequence[UsableRow], recipe: Recipe, processor: Phi3VProcessor, length: int) -> None:
        self.rows, self.processor, self.length = rows, processor, length
        self.template, self.chat = recipe.task.template, Chat.of(recipe.task)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row = self.rows[index]
        inputs = self.processor(
            text=self.chat.prompt(1), images=Image.open(row.pictures[0]), pad_to_num_crops=True, return_tensors="pt"
        )
        prompt = inputs["input_ids"][0].tolist()
        answer_text = self.chat.answer(self.template.write(row.values))
        answer = self.processor.tokenizer(answer_text, add_special_tokens=False)["input_ids"]
        blank = self.length - len(prompt) - len(answer)
        padding = self.processor.tokenizer.pad_token_id
        return {
            "input_ids": torch.tensor(prompt + answer + [padding] * blank),
            "attention_mask": torch.tensor([1] * (len(prompt) + len(answer)) + [0] * blank),
            "labels": torch.tensor([IGNORED] * len(prompt) + answer + [IGNORED] * blank),
            "pixel_values": inputs["pixel_values"][0],
            "image_sizes": inputs["image_sizes"][0],
        }


class AllSlots(Phi3VForCausalLM):
    """All slots of `pixel_values` go through CLIP, as in the published code; the blank ones' features are dropped."""

    def forward(self, *, pixel_values: Any = None, image_sizes: Any = None, **inputs: Any) -> Any:  # type: ignore[override]
        vision = self.model.vision_embed_tokens
        slots = pixel_values.shape[1]
        features = vision.encode_crops(pixel_values.flatten(0, 1)).unflatten(0, (-1, slots))
        counts = [1 + rows * columns for rows, columns in vision.grids(image_sizes)]
        used = torch.cat([each[:count] for each, count in zip(features, counts, strict=True)])
        return super().forward(crop_features=used, image_sizes=image_sizes, **inputs)


class AnswerLogits(Trainer):
    """The loss from the answer's positions alone, as a sum over the step's labels."""

    def compute_loss(self, model: Any, inputs: Any, *_: Any, num_items_in_batch: Any = None, **__: Any) -> torch.Tensor:
        loss, _count = answer_loss(model, inputs)
        return loss / num_items_in_batch


def train_by_script(
    script: Script, recipe: Recipe, rows: Sequence[UsableRow], order: Sequence[int], length: int, out: Path,
    callback: TrainerCallback,
) -> list[float]:  # fmt: skip
    """Train on rows in this order; the loss of each optimizer step.

    Args:
        length: tokens that each row is padded to.
    """
    processor, model = load_base(recipe, rows)
    if script.blanks:
        model.__class__ = AllSlots
    model.set_attn_implementation(script.attention)
    if recipe.train.method == "full":
        freeze(model, model.config, recipe.train.part_rates())
    else:
        lora, learning = recipe.train.lora, [part for part, rate in recipe.train.part_rates().items() if rate]
        torch.manual_seed(recipe.train.seed)
        model = add_lora(model, lora.rank, lora.alpha, lora.dropout, learning, quiet=True)
    settings = arguments(recipe, Run(out), len(order) // recipe.train.batch_size, not torch.cuda.is_available())
    settings.max_steps = len(order) // recipe.train.batch_size
    settings.dataloader_num_workers = script.workers
    settings.gradient_checkpointing = recipe.train.checkpointing
    settings.per_device_train_batch_size = script.at_once
    settings.gradient_accumulation_steps = recipe.train.batch_size // script.at_once
    settings.train_sampling_strategy = "sequential"
    trainer = (Trainer if script.full_logits else AnswerLogits)(
        model=model,
        args=settings,
        train_dataset=Padded([rows[place] for place in order], recipe, processor, length),
        data_collator=default_collate,
        optimizers=(make_optimizer(model, recipe.train), None),
        callbacks=[callback],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [each["loss"] for each in trainer.state.log_history if "loss" in each]
