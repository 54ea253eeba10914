"""The model that a recipe trains: nano from scratch, or a published base whole, with adapters, or in four bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from hangtag.errors import ModelError, first_line
from hangtag.examples.chat import Chat
from hangtag.examples.rows import UsableRow
from hangtag.phi3v import Phi3VConfig, Phi3VProcessor
from hangtag.phi3v.adapters_phi3_v import add_lora, four_bits
from hangtag.recipe import Recipe
from hangtag.training.environment import precision
from hangtag.training.nano import nano_model, nano_processor
from hangtag.training.parts import freeze

Trainable: TypeAlias = PreTrainedModel | PeftModel


def load_base(recipe: Recipe, rows: Sequence[UsableRow]) -> tuple[Phi3VProcessor, PreTrainedModel]:
    """The recipe's base model with its processor.

    Weights that are trained are float32; those under adapters have the format that is computed in, or four bits.

    Args:
        rows: nano's tokenizer is learned from them.

    Raises:
        UsageError: a library that the method needs is not installed.
        ModelError: the base cannot be loaded.
    """
    if recipe.model.base == "nano":
        template, chat = recipe.task.template, Chat.of(recipe.task)
        texts = [text for row in rows for text in (chat.prompt(len(row.pictures)), template.write(row.values))]
        processor = nano_processor(texts, recipe.model)
        return processor, nano_model(processor, recipe.model.nano, recipe.train.seed)
    options: dict[str, Any] = {"dtype": torch.float32}
    if recipe.train.method != "full":
        options["dtype"] = precision(recipe.train.precision)
    if recipe.train.method == "qlora":
        options["quantization_config"] = four_bits(options["dtype"])
    try:
        processor = AutoProcessor.from_pretrained(recipe.model.base, num_crops=recipe.model.num_crops)
        model = AutoModelForImageTextToText.from_pretrained(recipe.model.base, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"model.base {recipe.model.base!r} cannot be loaded: {first_line(error)}") from None
    if not isinstance(model.config, Phi3VConfig) or not isinstance(processor, Phi3VProcessor):
        raise ModelError(
            f"model.base {recipe.model.base!r} is a {type(model).__name__} with a {type(processor).__name__}; "
            "only Phi-3-vision and its kin can be trained, such as microsoft/Phi-3.5-vision-instruct"
        )
    return processor, model


def prepare(model: PreTrainedModel, recipe: Recipe) -> Trainable:
    """The model with adapters where the recipe asks for them, its frozen parts frozen, ready to be trained."""
    settings, config = recipe.train, model.config
    assert isinstance(config, Phi3VConfig)
    rates = settings.part_rates()
    model.set_attn_implementation("packed")
    if settings.checkpointing:
        _keep_layer_inputs_only(model)
    if settings.compile:
        _compile_layers(model, settings.checkpointing)
    if settings.method == "full":
        freeze(model, config, rates)
        return model
    torch.manual_seed(settings.seed)  # adapters begin at random
    lora, learning = settings.lora, [part for part, rate in rates.items() if rate]
    return add_lora(model, lora.rank, lora.alpha, lora.dropout, learning, quiet=True)


def _compile_layers(model: PreTrainedModel, checkpointing: bool) -> None:
    """Layers that are compiled at their first pass, one graph for all of them and for passes of any length.

    In place, so that parameters keep their names; adapters that are added later are inside. A layer that is
    checkpointed is compiled module by module: what is computed again cannot be part of a graph with a break in it.
    """
    for layer in model.model.layers:
        for module in layer.children() if checkpointing else [layer]:
            module.compile(dynamic=True)


def _keep_layer_inputs_only(model: PreTrainedModel) -> None:
    """Activation checkpointing that is not re-entrant: re-entrant, a frozen input silently ends every gradient."""
    kwargs = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=kwargs)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=kwargs)
