"""Models that are saved and loaded again, and a small one that learns from scratch."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    CLIPVisionModel,
    Phi3Config,
    Phi3ForCausalLM,
)

from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM

from .reference import GOLDEN, image1, rope32, text


def nano_config() -> Phi3VConfig:
    """Crops of 112 pixels, four by four tokens each."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return Phi3VConfig(
        vocab_size=64,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
        pad_token_id=0,
        eos_token_id=5,
        image_token_id=9,
        vision_config={**vision, "image_size": 112, "patch_size": 14, "projection_dim": 32},
    )


def nano_batch() -> dict[str, torch.Tensor]:
    """Two rows that differ in their picture alone, which decides the answer."""
    generator = torch.Generator().manual_seed(0)
    places = 5 * 16 + 1 + 3 * 4
    ids = [[1, *[9] * places, 1, 20, 21, answer, 5] for answer in (30, 31)]
    labels = [[-100] * (places + 4) + row[-2:] for row in ids]
    return {
        "input_ids": torch.tensor(ids),
        "labels": torch.tensor(labels),
        "pixel_values": torch.randn(2, 5, 3, 112, 112, generator=generator),
        "image_sizes": torch.tensor([[224, 224], [224, 224]]),
    }


@torch.no_grad()
@pytest.mark.parametrize("auto", [AutoModelForImageTextToText, AutoModelForCausalLM])
def test_saved_and_loaded_again_bit_for_bit(tiny: Phi3VForCausalLM, tmp_path: Path, auto: type) -> None:
    tiny.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == set(load_file(GOLDEN / "tiny.safetensors"))
    again = auto.from_pretrained(tmp_path, attn_implementation="eager")
    assert isinstance(again, Phi3VForCausalLM)
    assert torch.equal(again(**image1()).logits, tiny(**image1()).logits)
    assert json.loads((tmp_path / "config.json").read_text())["rope_scaling"]["type"] == "su"


@pytest.mark.parametrize("eos", [2, 32000, None])
def test_published_stop_tokens_replace_the_published_mistake(tmp_path: Path, eos: int | None) -> None:
    """Both with the published generation_config.json (EOS 2) and without one, as in the two revisions."""
    config = nano_config()
    config.update({"vocab_size": 32064, "image_token_id": 32044, "eos_token_id": eos or 2, "pad_token_id": 32000})
    Phi3VForCausalLM(config).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    if eos is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": eos, "pad_token_id": 32000}))
    model = Phi3VForCausalLM.from_pretrained(tmp_path)
    assert model.generation_config.eos_token_id == [32007, 32000]
    assert model.config.eos_token_id == (eos or 2)


@torch.no_grad()
def test_the_long_factors_are_saved_too(build, tmp_path: Path) -> None:
    model = build(**rope32("yarn"), sliding_window=20)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = Phi3VForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    assert torch.equal(again(**text(40, 9)).logits, model(**text(40, 9)).logits)


@torch.no_grad()
def test_tied_embeddings_are_saved_once(tmp_path: Path) -> None:
    config = nano_config()
    config.tie_word_embeddings = True
    model = Phi3VForCausalLM(config).eval()
    assert model.lm_head.weight is model.model.embed_tokens.weight
    model.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    again = Phi3VForCausalLM.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert torch.equal(again(**nano_batch()).logits, model(**nano_batch()).logits)


@torch.no_grad()
def test_the_decoder_is_transformers_own_bit_for_bit(tiny: Phi3VForCausalLM) -> None:
    fields = tiny.config.to_dict()
    rope = {**tiny.config.rope_parameters}
    shared = set(Phi3Config().to_dict()) & set(fields) - {"rope_parameters", "sliding_window"}
    config = Phi3Config(**{key: fields[key] for key in shared}, rope_parameters=rope, sliding_window=None)
    config._attn_implementation = "eager"
    phi3 = Phi3ForCausalLM(config).eval()
    phi3.load_state_dict({key: value for key, value in tiny.state_dict().items() if "vision" not in key})
    assert torch.equal(phi3(**text(50, 4)).logits, tiny(**text(50, 4)).logits)


def test_a_model_from_scratch_is_initialised_sanely() -> None:
    torch.manual_seed(0)
    model = Phi3VForCausalLM(nano_config())
    vision = model.model.vision_embed_tokens
    assert not vision.glb_GN.any()
    assert not vision.sub_GN.any()
    for weight in (
        model.lm_head.weight,
        model.model.layers[0].mlp.gate_up_proj.weight,
        vision.img_projection[0].weight,
    ):
        assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert vision.img_processor.vision_model.embeddings.class_embedding.std().item() == pytest.approx(32**-0.5, rel=0.4)
    reference = CLIPVisionModel._from_config(nano_config().vision_config).state_dict()
    for name, weight in vision.img_processor.vision_model.state_dict().items():
        assert weight.std().item() == pytest.approx(reference[name].std().item(), rel=0.4), name
    assert model.generation_config.eos_token_id == 5
    loss = model(**nano_batch()).loss.item()
    assert loss == pytest.approx(torch.log(torch.tensor(64.0)).item(), rel=0.1)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_small_model_learns_to_tell_pictures_apart(checkpointing: bool) -> None:
    torch.manual_seed(0)
    model = Phi3VForCausalLM(nano_config()).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    batch = nano_batch()
    losses = []
    for _ in range(40):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < losses[0]
    prompt = {**batch, "input_ids": batch["input_ids"][:, :-2]}
    del prompt["labels"]
    answers = model.eval().generate(**prompt, max_new_tokens=4, do_sample=False)[:, -2:]
    assert answers.tolist() == [[30, 5], [31, 5]]


def test_a_frozen_tower_gets_no_gradient_and_the_rest_an_equal_one(build) -> None:
    free, frozen = build().train(), build().train()
    frozen.model.vision_embed_tokens.img_processor.requires_grad_(False)
    frozen.gradient_checkpointing_enable()
    for model in (free, frozen):
        model(**image1(), labels=image1()["input_ids"]).loss.backward()
    for (name, own), other in zip(frozen.named_parameters(), free.parameters(), strict=True):
        if "img_processor" in name:
            assert own.grad is None
        else:
            assert torch.allclose(own.grad, other.grad, atol=1e-6)
