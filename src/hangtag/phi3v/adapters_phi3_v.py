"""LoRA adapters (PEFT's) on Phi-3-vision: which layers there are, proof that each was adapted, and exact merging.

The decoder's projections are fused (`qkv_proj`, `gate_up_proj`); target lists written for other models miss them in
silence and adapt CLIP's `q_proj` and `v_proj` instead. Here the layers that should carry an adapter are known from the
configuration and counted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig
from transformers.utils import cached_file

from hangtag.errors import ModelError, first_line, first_names
from hangtag.phi3v.checkpoint_phi3_v import tensor_problems
from hangtag.phi3v.configuration_phi3_v import Phi3VConfig
from hangtag.phi3v.modeling_phi3_v import Phi3VForCausalLM

DECODER_LAYERS = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
PROJECTOR_LAYERS = ("img_projection.0", "img_projection.2")
CLIP_LAYERS = (*(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2")
PARTS = {"decoder": DECODER_LAYERS, "projector": PROJECTOR_LAYERS, "clip": CLIP_LAYERS}


def adaptable_layers(config: Phi3VConfig) -> dict[str, list[str]]:
    """Full names of the linear layers of each part: `decoder`, `projector`, `clip` (without its unused top)."""
    vision = "model.vision_embed_tokens"
    return {
        "decoder": [f"model.layers.{n}.{name}" for n in range(config.num_hidden_layers) for name in DECODER_LAYERS],
        "projector": [f"{vision}.{name}" for name in PROJECTOR_LAYERS],
        "clip": [
            f"{vision}.img_processor.vision_model.encoder.layers.{n}.{name}"
            for n in range(config.vision_layers)
            for name in CLIP_LAYERS
        ],
    }


def lora_config(
    config: Phi3VConfig,
    rank: int = 16,
    alpha: int | None = None,
    dropout: float = 0.0,
    parts: Iterable[str] = ("decoder", "projector"),
    **options: Any,
) -> LoraConfig:
    """A `LoraConfig` for the parts named, by the layers' last names, as other programs that read adapters expect.

    Args:
        config: the model's.
        rank: of the two matrices.
        alpha: the update is scaled by alpha / rank; absent, twice the rank.
        dropout: of an adapter's input, in training.
        parts: any of "decoder", "projector" and "clip".
        options: further fields of `LoraConfig`, such as `use_rslora` or `use_dora`.

    Raises:
        ModelError: no part, or one that does not exist.
    """
    chosen = dict.fromkeys(parts)
    unknown = [part for part in chosen if part not in PARTS]
    if unknown or not chosen:
        raise ModelError(f"there is no part {', '.join(unknown) or 'named'}; choose of {', '.join(PARTS)}")
    targets = [name.removeprefix("self_attn.").removeprefix("mlp.") for part in chosen for name in PARTS[part]]
    if "clip" in chosen:
        unused = range(config.vision_layers, config.vision_config.num_hidden_layers)
        options["exclude_modules"] = [f"encoder.layers.{n}.{name}" for n in unused for name in CLIP_LAYERS]
    if "modules_to_save" in options:  # PEFT goes by the name's end, and vision_embed_tokens ends so too
        options["modules_to_save"] = [
            "model.embed_tokens" if name == "embed_tokens" else name for name in options["modules_to_save"]
        ]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=targets,
        **options,
    )


@dataclass(frozen=True)
class AdaptedLayers:
    """How many layers of each part carry an adapter, of how many, and what is trained."""

    adapted: dict[str, int]
    layers: dict[str, int]
    trained: int
    parameters: int

    def __str__(self) -> str:
        parts = [f"{part} {self.adapted[part]} of {self.layers[part]}" for part in self.layers]
        share = self.trained / self.parameters
        return (
            f"adapters on {sum(self.adapted.values())} layers: {', '.join(parts)}; "
            f"{self.trained:,} of {self.parameters:,} parameters are trained ({share:.2%})"
        )


def adapted_layers(model: nn.Module) -> AdaptedLayers:
    """Count the layers that carry an adapter; `str` of the result says it in a line.

    Raises:
        ModelError: a part carries adapters on some of its layers only; the message names those that were missed.
    """
    carrying = set(_adapted(model))
    known = adaptable_layers(_phi3v(model).config)
    adapted = {part: [name for name in names if name in carrying] for part, names in known.items()}
    _refuse_missed({part: known[part] for part, names in adapted.items() if names}, carrying)
    weights = list(model.parameters())
    return AdaptedLayers(
        {part: len(names) for part, names in adapted.items()},
        {part: len(names) for part, names in known.items()},
        sum(weight.numel() for weight in weights if weight.requires_grad),
        sum(weight.numel() for weight in weights),
    )


def add_lora(
    model: Phi3VForCausalLM,
    rank: int = 16,
    alpha: int | None = None,
    dropout: float = 0.0,
    parts: Iterable[str] = ("decoder", "projector"),
    quiet: bool = False,
    **options: Any,
) -> PeftModel:
    """The model with a fresh adapter on every layer of `parts`, everything else frozen; arguments as `lora_config`.

    Says on stderr how many layers were adapted, unless `quiet`.

    Raises:
        ModelError: a layer that should carry an adapter does not.
    """
    parts = tuple(parts)
    adapted = get_peft_model(model, lora_config(model.config, rank, alpha, dropout, parts, **options))
    known = adaptable_layers(model.config)
    _refuse_missed({part: known[part] for part in parts}, set(_adapted(adapted)))
    if not quiet:
        print(adapted_layers(adapted), file=sys.stderr)
    return adapted


def load_adapter(folder: str | Path, base: str | Path | None = None, trainable: bool = False, **options: Any) -> Any:
    """The model that an adapter folder was made for, with the adapter on it.

    Args:
        folder: where `save_pretrained` of an adapted model wrote.
        base: the model's folder or hub name where it is not the one that the adapter names.
        trainable: whether training goes on with this adapter.
        options: of `AutoModelForImageTextToText.from_pretrained`, such as `dtype`.

    Raises:
        ModelError: the adapter's weights are not those of its layers, one missing or one too many, or are a pickle.
    """
    file = _adapter_file(folder)
    config = PeftConfig.from_pretrained(str(folder))
    model = AutoModelForImageTextToText.from_pretrained(base or config.base_model_name_or_path, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found missing adapter keys")  # an error below
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    _check_weights(adapted, file)
    return adapted


def merge_adapter(adapted: PeftModel) -> Phi3VForCausalLM:
    """The plain model with its active adapter worked in: computed in float32, layer by layer, then rounded once.

    PEFT alone rounds the update to the weights' dtype and then the sum again.

    Raises:
        ModelError: a layer is quantised, so that there is no weight to add to; the adapter is switched off; or the
            model is not PEFT's, as `AutoModelForImageTextToText` gives it for an adapter's folder.
    """
    if not isinstance(adapted, PeftModel):
        raise ModelError(f"{type(adapted).__name__} is no PeftModel; load the adapter with hangtag.load_adapter")
    layers = _adapted(adapted)
    if any(module.disable_adapters for module in layers.values()):
        raise ModelError("the adapter is switched off; merge it outside disable_adapter()")
    dtypes = {name: module.get_base_layer().weight.dtype for name, module in layers.items()}
    quantised = [f"{name} ({dtype})" for name, dtype in dtypes.items() if not dtype.is_floating_point]
    if quantised:
        raise ModelError(
            f"{len(quantised)} layers are quantised, such as {quantised[0]}; load the base in bfloat16 to merge into it"
        )
    for name, module in layers.items():
        module.float()
        module.merge(safe_merge=True)
        module.to(dtypes[name])
    merged: Phi3VForCausalLM = adapted.unload()
    return merged.requires_grad_(True)


def four_bits(dtype: torch.dtype) -> BitsAndBytesConfig:
    """How `from_pretrained` is to quantise the decoder's layers for QLoRA (Dettmers et al. 2023, arXiv 2305.14314).

    NF4 with double quantisation, computed in `dtype`. CLIP, the projector and `lm_head` stay as they are.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["vision_embed_tokens", "lm_head"],
    )


def _refuse_missed(expected: dict[str, list[str]], carrying: set[str]) -> None:
    problems = []
    for part, names in expected.items():
        missed = [name for name in names if name not in carrying]
        if missed:
            problems.append(f"{part}: {len(missed)} of {len(names)} layers carry no adapter ({first_names(missed)})")
    if problems:
        raise ModelError("; ".join(problems) + "; take target_modules from hangtag.lora_config")


def _adapter_file(folder: str | Path) -> str:
    """The adapter's weights, on this disk or from the hub."""
    try:
        return str(cached_file(str(folder), "adapter_model.safetensors"))
    except OSError as error:
        raise ModelError(
            f"{folder} has no adapter_model.safetensors ({first_line(error)}); a pickle file is not read: "
            "save the adapter again with safetensors"
        ) from None


def _check_weights(adapted: PeftModel, file: str) -> None:
    """Whether the adapter's file holds exactly the adapter's tensors."""
    with safe_open(file, framework="pt") as tensors:
        there = set(tensors.keys())
    expected = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))  # "auto" would ask the hub
    # PEFT itself adds whole embeddings to the file where the vocabulary was changed.
    whole = {name for name in there ^ expected if name.endswith(("embed_tokens.weight", "lm_head.weight"))}
    problems = tensor_problems(expected - there - whole, there - expected - whole)
    if problems:
        raise ModelError(f"{file} is no adapter of this model: {'; '.join(problems)}")


def _adapted(model: nn.Module) -> dict[str, Any]:
    """The layers that carry an adapter, by their name in the model itself, without PEFT's wrappers."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    return {name.removeprefix("base_model.model."): module for name, module in layers.items()}


def without_wrapper(model: nn.Module) -> Any:
    """The model inside PEFT's wrapper, if there is one; its adapters stay in it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _phi3v(model: nn.Module) -> Phi3VForCausalLM:
    inner = without_wrapper(model)
    if not isinstance(inner, Phi3VForCausalLM):
        raise ModelError(f"{type(inner).__name__} is no Phi-3-vision; load it with AutoModelForImageTextToText")
    return inner


__all__ = ["AdaptedLayers", "adaptable_layers", "adapted_layers", "add_lora", "four_bits", "load_adapter",
           "lora_config", "merge_adapter", "without_wrapper"]  # fmt: skip
