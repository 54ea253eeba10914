"""The tiny model of the recordings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers.utils import logging

from hangtag.phi3v import Phi3VForCausalLM

from .reference import GOLDEN, tiny_config

logging.disable_progress_bar()


@pytest.fixture(scope="session")
def recorded() -> dict[str, torch.Tensor]:
    """Every tensor of golden/forward.safetensors that holds for Phi-3.5, without the model's name."""
    tensors = load_file(GOLDEN / "forward.safetensors")
    return {name.split(".", 1)[1]: each for name, each in tensors.items() if not name.startswith("phi3.")}


@pytest.fixture(scope="session")
def build() -> Callable[..., Phi3VForCausalLM]:
    """Make the tiny model in float32: `build(attn="eager", weights=None, **changes to the configuration)`."""
    weights = load_file(GOLDEN / "tiny.safetensors")

    def make(attn: str = "eager", other: dict[str, torch.Tensor] | None = None, **changes: Any) -> Phi3VForCausalLM:
        model, info = Phi3VForCausalLM.from_pretrained(
            None,
            config=tiny_config(**changes),
            state_dict={**weights, **(other or {})},
            attn_implementation=attn,
            output_loading_info=True,
        )
        assert not any(info.values()), info
        return model.eval()

    return make


@pytest.fixture(scope="session")
def tiny(build: Callable[..., Phi3VForCausalLM]) -> Phi3VForCausalLM:
    return build()
