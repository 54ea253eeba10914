"""A run folder, or an exported one, as a tagger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig, PreTrainedModel

from hangtag.answer import known_categories
from hangtag.calibration import Calibration
from hangtag.catalogue.store import open_catalogue
from hangtag.errors import DataError, RunError, first_line
from hangtag.examples.rows import sort_rows
from hangtag.files import Run, read_json
from hangtag.machine import memory
from hangtag.memory.generation import rows_at_once, tokens_at_once
from hangtag.phi3v import Phi3VProcessor
from hangtag.phi3v.adapters_phi3_v import four_bits, load_adapter, without_wrapper
from hangtag.prediction.tagger import Tagger
from hangtag.recipe import Recipe, load_recipe
from hangtag.schema import known_of

Model: TypeAlias = PreTrainedModel | PeftModel


def load(run: str | Path, batch_size: int | None = None) -> Tagger:
    """The tagger of a run folder or an exported one, on the accelerator where there is one.

    Args:
        batch_size: rows whose answers are written at once; by default as many as there is memory for, at most 64.

    Raises:
        RunError: no run folder, no model in it, or one that cannot be loaded.
        DataError: schema.json or calibration.json is damaged.
    """
    folder = Run(Path(run)).require_model()
    recipe = load_recipe(folder.recipe)
    known, calibration = read_known(folder, recipe), read_calibration(folder)
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    model, processor = load_model(folder, recipe, dtype)
    tokens = tokens_at_once(recipe, _room_beside(model), dtype.itemsize)
    on_device = cuda and not is_quantised(folder, recipe)  # a quantised base is put there as it is loaded
    return Tagger(
        model.to("cuda") if on_device else model,
        processor,
        recipe,
        batch_size or rows_at_once(recipe, tokens),
        known,
        calibration,
        tokens,
    )


def is_quantised(run: Run, recipe: Recipe) -> bool:
    """Whether the run computes with a base in four bits, as QLoRA trained it."""
    return run.has_adapter() and recipe.train.method == "qlora"


def load_model(run: Run, recipe: Recipe, dtype: torch.dtype) -> tuple[Model, Phi3VProcessor]:
    """A run's own model, its adapter beside its base, and its processor.

    Args:
        dtype: to compute in.

    Raises:
        RunError: one of them cannot be loaded.
    """
    options: dict[str, Any] = {"dtype": dtype}
    if is_quantised(run, recipe):
        options["quantization_config"] = four_bits(dtype)
    with told(run.model, "train the run again"):
        if run.has_adapter():
            model = with_generation(load_adapter(run.model, recipe.model.base, **options), run.model)
        else:
            model = AutoModelForImageTextToText.from_pretrained(run.model, **options)
        return model, AutoProcessor.from_pretrained(run.model)


@contextmanager
def told(what: Path | str, way_out: str) -> Iterator[None]:
    """Turn what transformers, PEFT and safetensors raise about a folder into one line.

    Raises:
        RunError: `what` cannot be loaded.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise RunError(f"{what} cannot be loaded: {first_line(error)}; {way_out}") from None


def with_generation(model: Any, folder: Path) -> Any:
    """The model with the generation config of a folder, also inside PEFT's wrapper."""
    config = GenerationConfig.from_pretrained(folder)
    model.generation_config = without_wrapper(model).generation_config = config
    return model


def _room_beside(model: torch.nn.Module) -> int:
    """Bytes that the device has beside the weights; of main memory all, so that batches are always the same."""
    whole = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else memory()
    return int(whole - sum(each.numel() * each.element_size() for each in model.parameters()))


def read_known(run: Run, recipe: Recipe) -> dict[str, list[str]]:
    """The category values that the run was trained on; of a run without schema.json, those of its catalogue.

    A field without an entry may hold any value: the run has no schema, and its catalogue is gone.

    Raises:
        DataError: schema.json is damaged.
    """
    template = recipe.task.template
    if run.schema.is_file():
        try:
            return known_of(read_json(run.schema), template)
        except DataError as error:
            raise DataError(f"{run.schema} cannot be used: {error}; remove it to do without") from None
    try:
        rows, _ = sort_rows(open_catalogue(recipe.data.path), "train", template, recipe.data.pictures)
    except DataError:
        return {}
    return known_categories(template, [row.values for row in rows]) if rows else {}


def read_calibration(run: Run) -> Calibration | None:
    """What `hangtag evaluate` found out on the validation rows; None before it was run.

    Raises:
        DataError: calibration.json is damaged.
    """
    if not run.calibration.is_file():
        return None
    try:
        return Calibration.parse(read_json(run.calibration))
    except DataError as error:
        raise DataError(f"{run.calibration} cannot be used: {error}; run `hangtag evaluate {run.path}` again") from None
