"""A tiny model of random weights for tests of decoding, and the signs that its numbers are made of."""

import json
from pathlib import Path

import torch

from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM

SIGNS = [3, 5, 40]


def tiny_model(limit):
    fields = json.loads((Path(__file__).parent / "phi3v" / "golden" / "tiny_config.json").read_text())
    fields["vision_config"] = fields.pop("clip")
    torch.manual_seed(0)
    config = Phi3VConfig(**fields | {"original_max_position_embeddings": limit, "max_position_embeddings": 1024})
    model = Phi3VForCausalLM(config).eval()
    for each in model.parameters():
        torch.nn.init.normal_(each, std=0.3 if each.ndim > 1 else 0.1)
    return model
