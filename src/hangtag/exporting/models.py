"""The models of an export: the run's own as it is used, the one to be saved, and the one that was saved."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, GenerationConfig, PreTrainedModel

from hangtag.errors import ModelError, RunError
from hangtag.files import Run, read_json, write_json
from hangtag.phi3v import Phi3VConfig, Phi3VProcessor
from hangtag.phi3v.adapters_phi3_v import four_bits, load_adapter, merge_adapter
from hangtag.prediction.loading import Model, is_quantised, load_model, told, with_generation
from hangtag.prediction.writing import ends_of
from hangtag.recipe import Recipe
from hangtag.recipe.sections import END

ADAPTER_CONFIG = "adapter_config.json"
BOUNDARY = 64
"""Bytes; where torch's own tensors begin in a CPU's memory."""


def configuration(run: Run, recipe: Recipe) -> Phi3VConfig:
    """Of the run's model, or of the base under its adapter.

    Raises:
        RunError: it cannot be read.
    """
    place = recipe.model.base if run.has_adapter() else str(run.model)
    with told(place, "put it back where the run was trained with it" if run.has_adapter() else "train the run again"):
        config = AutoConfig.from_pretrained(place)
    if not isinstance(config, Phi3VConfig):
        raise RunError(f"{place} holds a {config.model_type}; only Phi-3-vision and its kin can be exported")
    return config


def own(run: Run, recipe: Recipe, dtype: torch.dtype) -> tuple[Model, Phi3VProcessor]:
    """The run's own model and processor, its adapter beside its base, computing in `dtype`."""
    model, processor = load_model(run, recipe, dtype)
    return on_device(model, is_quantised(run, recipe)), processor


def merged(run: Run, recipe: Recipe, dtype: torch.dtype) -> tuple[PreTrainedModel, Phi3VProcessor]:
    """The model to be saved: whole, its adapter worked in, each weight rounded once to `dtype`.

    After QLoRA the base is what its four bits say: the numbers the adapter was trained beside, and the run was scored
    with. The base as published would answer otherwise.

    Raises:
        ModelError: a weight is too large for `dtype`.
    """
    with told(run.model, "train the run again"):
        if run.has_adapter():
            base = recipe.model.base
            # Rounded to the dtype the base is stored in; so that is either the one asked for, or float32.
            stored = dtype if AutoConfig.from_pretrained(base).dtype == dtype else torch.float32
            adapted = (
                _unpacked(run, base) if recipe.train.method == "qlora" else load_adapter(run.model, base, dtype=stored)
            )
            model: PreTrainedModel = merge_adapter(adapted).to(dtype)
            model = with_generation(model, run.model)
        else:
            model = AutoModelForImageTextToText.from_pretrained(run.model, dtype=dtype)
        processor = AutoProcessor.from_pretrained(run.model)
    infinite = [name for name, each in model.named_parameters() if not bool(each.isfinite().all())]
    if infinite:
        raise ModelError(
            f"{len(infinite)} tensors do not fit in {name_of(dtype)}, such as {infinite[0]}; take another --dtype"
        )
    assert model.generation_config is not None
    model.generation_config.eos_token_id = stops(model, processor)
    return model, processor


def _unpacked(run: Run, base: str) -> PeftModel:
    """The run's adapter on its base, quantised as in training and unpacked again to float32."""
    quantised = AutoModelForImageTextToText.from_pretrained(
        base, dtype=torch.float32, quantization_config=four_bits(torch.float32)
    )
    return PeftModel.from_pretrained(quantised.dequantize(), str(run.model))


def saved(folder: Path, dtype: torch.dtype, quantised: bool) -> tuple[Model, Phi3VProcessor]:
    """What was exported, as anybody loads it: by the Auto classes, an adapter on the base that it names itself."""
    with told(folder, "this is a bug: report it"):
        if (folder / ADAPTER_CONFIG).is_file():
            options: dict[str, Any] = {"quantization_config": four_bits(dtype)} if quantised else {}
            model = with_generation(load_adapter(folder, dtype=dtype, **options), folder)
        else:
            model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)
        return on_device(model, quantised), AutoProcessor.from_pretrained(folder)


def stops(model: PreTrainedModel, processor: Phi3VProcessor) -> list[int]:
    """Ids that end an answer: `<|end|>` first, then the tokenizer's own end and what the run stops at."""
    assert model.generation_config is not None
    tokenizer = processor.tokenizer
    ids = [tokenizer.convert_tokens_to_ids(END), tokenizer.eos_token_id]
    ids += ends_of(model)
    return list(dict.fromkeys(each for each in ids if each is not None))


def on_device(model: Model, quantised: bool) -> Model:
    """The model on the accelerator, if there is one, ready to be asked; a quantised base is there already.

    On a CPU its weights lie where their file put them; products of numbers that lie otherwise in memory differ in
    their last bits, so those off the boundary that torch itself keeps are moved to it.
    """
    model = model.eval()
    if torch.cuda.is_available() and not quantised:
        return model.to("cuda")
    for each in model.parameters():
        if each.data_ptr() % BOUNDARY:
            each.data = each.data.clone()
    return model


def name_of(dtype: torch.dtype) -> str:
    """`bfloat16` for torch.bfloat16."""
    return str(dtype).removeprefix("torch.")


def longest(run: Run) -> int:
    """Most tokens the run writes for an answer."""
    with told(run.model, "train the run again"):
        return int(GenerationConfig.from_pretrained(run.model).max_new_tokens or 0)


def copy_adapter(run: Run, recipe: Recipe, folder: Path) -> None:
    """The run's adapter, its processor and generation config, and the name of the base it lies on."""
    for file in run.model.iterdir():
        if file.is_file() and file.name != "README.md":
            shutil.copyfile(file, folder / file.name)
    config = read_json(folder / ADAPTER_CONFIG)
    base = recipe.model.base
    config["base_model_name_or_path"] = str(Path(base).absolute()) if Path(base).is_dir() else base
    write_json(folder / ADAPTER_CONFIG, config)
