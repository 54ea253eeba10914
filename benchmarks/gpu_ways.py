"""Ways to take the same training steps on a device: the engine, a plain path, TRL's SFTTrainer.

Each trains on the recipe's rows in the same order, tells each step's loss, and lets a `Clock` see when steps end.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from first_script import Script, train_by_script
from gpu_common import Machine, median
from gpu_profile import Profile
from transformers import AutoConfig, AutoProcessor, TrainerCallback
from transformers.trainer_callback import PrinterCallback

import hangtag
from hangtag.examples.examples import Examples
from hangtag.examples.rows import UsableRow
from hangtag.files import Run, read_jsonl
from hangtag.recipe import Recipe
from hangtag.training import train as engine
from hangtag.training.arguments import arguments
from hangtag.training.data import make_examples, make_plan, read_rows
from hangtag.training.models import load_base

WARM_UP = 2
STEPS = 7
PROFILED = 3  # the first of them is compiled anew, for the profiler


@dataclass
class Clock(TrainerCallback):
    """When each step ended on the device, and what the last ones did there."""

    machine: Machine
    profile: Profile | None = None
    ends: list[float] = field(default_factory=list)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.machine.wait()
        self.ends.append(time.perf_counter())
        if self.profile is not None and len(self.ends) >= STEPS:
            self.profile.step()

    def step(self) -> float:
        """Seconds of a step, the first ones and the profiled ones left out."""
        ends = self.ends[WARM_UP - 1 : STEPS]
        return median(after - before for before, after in itertools.pairwise(ends))


Way = Callable[[Machine, Recipe, Path, Clock], list[float]]
"""Trains, and tells each step's loss."""


def by_engine(compiled: bool, cached: bool = False) -> Way:
    """Training by `hangtag train`, without what it saves."""

    def run(machine: Machine, recipe: Recipe, out: Path, clock: Clock) -> list[float]:
        settings = recipe.train.model_copy(update={"compile": compiled, "vision_cache": cached})
        watch = engine.Watch.on_step_end

        def ended(own: Any, args: Any, state: Any, control: Any, **named: Any) -> None:
            clock.on_step_end()
            watch(own, args, state, control, **named)
            control.should_save = False

        with (
            mock.patch.object(engine.Watch, "on_step_end", ended),
            mock.patch.object(engine, "_save", return_value=None),
            mock.patch.dict("os.environ", HANGTAG_CACHE=str(out) + "-cache"),
        ):
            made = engine.train(recipe.model_copy(update={"train": settings}), out)
        return [each["loss"] for each in read_jsonl(made.log) if "loss" in each]

    return run


def plain(machine: Machine, recipe: Recipe, out: Path, clock: Clock) -> list[float]:
    """One row at a time, padded to the longest, full logits, sdpa; pictures decoded by workers."""
    rows, order, longest = _in_order(recipe)
    script = Script("sdpa", 1, blanks=False, workers=min(4, workers(machine)))
    return train_by_script(script, recipe, rows, order, longest, out, clock)


def by_trl(machine: Machine, recipe: Recipe, out: Path, clock: Clock) -> list[float]:
    """TRL's SFTTrainer, as many rows at once as the engine's pass has tokens for, padded, full logits.

    What its template writes behind an answer's end is masked, so that the same tokens are learned.
    """
    from trl import SFTConfig, SFTTrainer
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    fields = SFTConfig.__dataclass_fields__  # an older transformers shuffles, and its losses are then of other rows
    rows, order, longest = _in_order(recipe)
    processor, model = load_base(recipe, rows)
    batch = recipe.train.batch_size
    at_once = max(each for each in range(1, batch + 1) if batch % each == 0 and each * longest <= _trl_room(recipe))
    settings = arguments(recipe, Run(out), len(order) // batch, not machine.gpu)
    given = {
        name: getattr(settings, name)
        for name in ("output_dir", "max_steps", "learning_rate", "warmup_steps", "lr_scheduler_type", "bf16", "seed")
    }
    collator = hangtag.mask_pictures(
        DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True), processor
    )
    end = processor.tokenizer.convert_tokens_to_ids("<|end|>")

    def collate(examples: list[Any]) -> Any:
        batch = collator(examples)
        ends_BT = batch["input_ids"] == end
        batch["labels"].masked_fill_((ends_BT.cumsum(1) >= ends_BT.sum(1, keepdim=True)) & ~ends_BT, -100)
        return batch

    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **given,
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=batch // at_once,
            gradient_checkpointing=recipe.train.checkpointing,
            dataloader_num_workers=min(4, workers(machine)),
            max_length=None,
            use_cpu=not machine.gpu,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            **({"train_sampling_strategy": "sequential"} if "train_sampling_strategy" in fields else {}),
        ),
        train_dataset=_conversations(recipe, [rows[place] for place in order]),
        processing_class=processor,
        data_collator=collate,
        peft_config=hangtag.lora_config(model.config, rank=recipe.train.lora.rank, dropout=0.0)
        if recipe.train.method != "full"
        else None,
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [each["loss"] for each in trainer.state.log_history if "loss" in each]


WAYS: dict[str, Way] = {
    "plain": plain,
    "engine": by_engine(False),
    "compiled": by_engine(True),
    "cached": by_engine(True, cached=True),
    "trl": by_trl,
}


def workers(machine: Machine) -> int:
    return 8 if machine.gpu else 0


def _trl_room(recipe: Recipe) -> int:
    """Tokens at once for TRL: full logits in float32 and their gradient take as much again as activations."""
    return recipe.train.token_budget // 2


def _in_order(recipe: Recipe) -> tuple[list[UsableRow], list[int], int]:
    """The training rows, the order in which the engine takes them, and the longest's tokens."""
    examples = examples_of(recipe)
    plan = make_plan(examples, recipe, 1, shuffled=True)
    steps = round(recipe.train.epochs * plan.steps)
    return examples.rows, [row for step in range(steps) for row in plan.rows(step)], max(examples.lengths())


def examples_of(recipe: Recipe) -> Examples:
    """The recipe's training rows, without loading its model."""
    processor = AutoProcessor.from_pretrained(recipe.model.base, num_crops=recipe.model.num_crops)
    context = AutoConfig.from_pretrained(recipe.model.base).max_position_embeddings
    return make_examples(recipe, read_rows(recipe), processor, context)[0]


def _conversations(recipe: Recipe, rows: Sequence[UsableRow]) -> Any:
    """Rows as TRL takes them."""
    from datasets import Dataset
    from datasets import Image as ImageColumn

    template = recipe.task.template
    ask = [{"type": "image"}, {"type": "text", "text": recipe.task.prompt}]
    columns = {
        "images": [[str(row.pictures[0])] for row in rows],
        "prompt": [[{"role": "user", "content": ask}] for _ in rows],
        "completion": [
            [{"role": "assistant", "content": [{"type": "text", "text": template.write(row.values)}]}] for row in rows
        ],
    }
    return Dataset.from_dict(columns).cast_column("images", [ImageColumn()])
