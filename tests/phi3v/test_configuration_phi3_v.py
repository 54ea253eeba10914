"""The published configurations, read unmodified and written back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, CLIPVisionConfig

from hangtag.errors import ModelError
from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM

from .reference import GOLDEN, rope32, tiny_config

PUBLISHED = json.loads((GOLDEN / "real_configs.json").read_text())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_are_read(name: str, tmp_path: Path) -> None:
    fields = {**PUBLISHED[name]["config.json"], "_attn_implementation": "flash_attention_2", "model_type": "phi3_v"}
    fields["auto_map"] = {"AutoConfig": "configuration_phi3_v.Phi3VConfig"}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, Phi3VConfig)
    assert config._attn_implementation is None
    assert not hasattr(config, "auto_map")
    vision = config.vision_config
    assert (vision.hidden_size, vision.num_hidden_layers, vision.image_size, vision.patch_size) == (1024, 24, 336, 14)
    assert (config.crop_size, config.crop_grid, config.vision_layers) == (336, 12, 23)
    assert config.rope_parameters["rope_type"] == "longrope"
    assert config.rope_parameters["long_factor"] == fields["rope_scaling"]["long_factor"]
    config.save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    for field in ("rope_scaling", "rope_theta", "sliding_window", "embd_layer", "img_processor", "eos_token_id"):
        assert written[field] == fields[field]
    again = AutoConfig.from_pretrained(tmp_path / "again")
    assert {**again.to_dict(), "_name_or_path": ""} == {**config.to_dict(), "_name_or_path": ""}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_models_have_every_published_tensor(name: str) -> None:
    with torch.device("meta"):
        model = Phi3VForCausalLM(Phi3VConfig(**PUBLISHED[name]["config.json"]))
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert len(shapes) == 592
    assert shapes == json.loads((GOLDEN / "real_state_dict_shapes.json").read_text())
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_146_621_440
    assert model.generation_config.eos_token_id == [32007, 32000]


@pytest.mark.parametrize("changes", [{}, {"sliding_window": 6}, rope32("yarn"), {"rope_scaling": None}])
def test_small_configurations_survive_being_written(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    again = Phi3VConfig(**json.loads(config.to_json_string()))
    assert again.to_dict() == config.to_dict()
    assert again.rope_parameters == config.rope_parameters
    assert again.sliding_window == config.sliding_window
    assert isinstance(again.vision_config, CLIPVisionConfig)
    if changes.get("rope_scaling"):
        assert config.to_dict()["rope_scaling"] == changes["rope_scaling"]


def test_the_callers_dictionaries_are_left_alone() -> None:
    rope = rope32()["rope_scaling"]
    before = json.dumps(rope)
    tiny_config(rope_scaling=rope)
    assert json.dumps(rope) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embd_layer": {"hd_transform_order": "glb_sub"}}, "hd_transform_order is 'glb_sub'"),
        ({"img_processor": {"image_dim_out": 7}}, "image_dim_out is 7, vision_config makes it 32"),
        ({"img_processor": {"num_img_tokens": 16}}, "num_img_tokens is 16, vision_config makes it 144"),
        ({"img_processor": {"layer_idx": -9}}, "layer_idx is -9"),
        ({"vision_config": {"image_size": 100, "patch_size": 14}, "img_processor": None}, "100 is no multiple"),
    ],
)
def test_what_is_not_implemented_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tiny_config(**changes)
