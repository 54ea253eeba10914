"""From a recipe to a run folder with a trained model; run again, it resumes."""

from __future__ import annotations

import importlib.util
import os
import tomllib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from hangtag.catalogue.store import REJECTED_COLUMNS, csv_text, open_catalogue
from hangtag.errors import ModelError, OutputNotEmpty, RunError, TableError, UsageError, first_line
from hangtag.examples.examples import Examples, UsableRow, chat_prompt, usable_rows
from hangtag.files import Run, require_new_folder, whole_folder, write_json, write_whole
from hangtag.phi3v import Phi3VProcessor
from hangtag.progress import Stages, silent
from hangtag.recipe import Recipe, check_recipe
from hangtag.training.environment import environment
from hangtag.training.log import Log
from hangtag.training.nano import nano_model, nano_processor
from hangtag.training.sft import checkpoints, make_trainer


def train(recipe: Recipe, out: str | Path, stages: Stages = silent) -> Run:
    """Train as the recipe says and leave a run folder at `out`.

    A folder left by an interrupted run of the same recipe is taken up at its newest checkpoint; a finished
    one is returned as it is.

    Raises:
        TableError: the catalogue is missing, damaged, lacks a column, or has no usable training row.
        OutputNotEmpty, RunError: `out` holds something else, or a run of another recipe.
        UsageError: a tracker that is not installed.
        ModelError: the base model cannot be loaded.
    """
    run = Run(Path(out))
    started_before = _check_output(run, recipe)
    _check_trackers(recipe)
    if (run.model / "config.json").is_file():
        return run
    rows, validation_rows, rejected = _rows(recipe)
    processor, model = _base(recipe, rows)
    if not started_before:
        _start(run, recipe, rejected)
    train_set, validation_set = (
        Examples(each, processor, recipe.task.template, recipe.task.prompt) for each in (rows, validation_rows)
    )
    with stages("reading pictures") as progress:
        train_set.read_ahead(os.cpu_count() or 1, progress)
    found = checkpoints(run)
    log = Log(run.log, int(found[-1].name.removeprefix("step-")) if found else 0)
    with stages("training") as progress:
        trainer = make_trainer(
            recipe, run, model, train_set, validation_set if validation_rows else None, log, progress
        )
        trainer.train(resume_from_checkpoint=str(found[-1]) if found else None)
    _save(run, model, processor, train_set.longest_answer())
    return run


def _check_output(run: Run, recipe: Recipe) -> bool:
    """Whether `run` was begun before with this very recipe; other content is refused."""
    if not run.recipe.is_file():
        require_new_folder(run.path, "choose another --out, or remove it first")
        return False
    try:
        old = check_recipe(tomllib.loads(run.recipe.read_text(encoding="utf-8"))).model_dump()
    except (UsageError, ValueError) as error:
        raise OutputNotEmpty(f"{run.recipe} is no readable recipe ({error}); choose another --out") from None
    changed = _differences(old, recipe.model_dump())
    if changed:
        raise RunError(
            f"{run.path} was begun with another recipe ({'; '.join(changed)}); "
            "choose another --out, or remove it to start again"
        )
    return True


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    changed = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            changed += _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            changed.append(f"{prefix}{key} was {before!r}, is {now!r}")
    return changed


def _check_trackers(recipe: Recipe) -> None:
    wanted = {"wandb": recipe.track.wandb != "off", "tensorboard": recipe.track.tensorboard}
    missing = [name for name, asked in wanted.items() if asked and importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"the recipe's [track] asks for {' and '.join(missing)}; pip install {' '.join(missing)}")


def _rows(recipe: Recipe) -> tuple[list[UsableRow], list[UsableRow], list[dict[str, str]]]:
    catalogue = open_catalogue(recipe.data.path)
    template = recipe.task.template
    rows, rejected = usable_rows(catalogue, "train", template)
    try:
        validation, more = usable_rows(catalogue, "validation", template)
    except TableError:
        validation, more = [], []
    return rows, validation, rejected + more


def _base(recipe: Recipe, rows: list[UsableRow]) -> tuple[Phi3VProcessor, PreTrainedModel]:
    if recipe.model.base == "nano":
        template = recipe.task.template
        prompt = chat_prompt(recipe.task.prompt)
        texts = [text for row in rows for text in (prompt, template.write(row.values))]
        processor = nano_processor(texts, recipe.model)
        return processor, nano_model(processor, recipe.model.nano, recipe.train.seed)
    try:
        processor = AutoProcessor.from_pretrained(recipe.model.base, num_crops=recipe.model.num_crops)
        model = AutoModelForImageTextToText.from_pretrained(recipe.model.base, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"model.base {recipe.model.base!r} cannot be loaded: {first_line(error)}") from None
    return processor, model


def _start(run: Run, recipe: Recipe, rejected: list[dict[str, str]]) -> None:
    """Make the run folder whole: recipe, environment and rejected rows appear together."""
    with whole_folder(run.path) as folder:
        new = Run(folder)
        write_whole(new.recipe, recipe.dump())
        write_json(new.environment, environment())
        write_whole(new.rejected, csv_text(REJECTED_COLUMNS, rejected))


def _save(run: Run, model: PreTrainedModel, processor: Phi3VProcessor, longest_answer: int) -> None:
    """The model folder, whole. Answers may be half as long again as the longest that was learned."""
    model.generation_config.max_new_tokens = longest_answer * 3 // 2 + 4
    with whole_folder(run.model) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
