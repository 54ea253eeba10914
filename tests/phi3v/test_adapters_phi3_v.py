"""LoRA on the model's own layers: counted, trained, saved, loaded, merged, and once more on top."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from hangtag.errors import ModelError
from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM
from hangtag.phi3v.adapters_phi3_v import (
    adaptable_layers,
    adapted_layers,
    add_lora,
    load_adapter,
    lora_config,
    merge_adapter,
)

from .reference import GOLDEN, assert_near, image1

Build = Callable[..., Phi3VForCausalLM]
ALL = ("decoder", "projector", "clip")


def trained(model: Any, steps: int = 3) -> Any:
    """A few steps, so that no adapter is at its first weights, which change nothing."""
    model.train()
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    inputs = image1((7, 8, 9))
    for _ in range(steps):
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(**image1(), logits_to_keep=8).logits


@pytest.fixture
def base(tiny: Phi3VForCausalLM, tmp_path: Path) -> Path:
    tiny.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize(
    ("parts", "counts"),
    [
        (("decoder",), {"decoder": 8, "projector": 0, "clip": 0}),
        (("decoder", "projector"), {"decoder": 8, "projector": 2, "clip": 0}),
        (ALL, {"decoder": 8, "projector": 2, "clip": 12}),
        (("clip",), {"decoder": 0, "projector": 0, "clip": 12}),
    ],
)
def test_every_layer_of_the_parts_is_adapted_and_gets_a_gradient(
    build: Build, capsys: pytest.CaptureFixture[str], parts: Any, counts: Any
) -> None:
    model = add_lora(build(), rank=4, parts=parts)
    found = adapted_layers(model)
    assert str(found) in capsys.readouterr().err
    assert found.adapted == counts
    assert found.layers == {"decoder": 8, "projector": 2, "clip": 12}
    assert f"adapters on {sum(counts.values())} layers: decoder {counts['decoder']} of 8" in str(found)
    model.train()
    inputs = image1((7, 8, 9))
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    for name, weight in model.named_parameters():
        assert weight.requires_grad == ("lora_" in name)
        if "lora_B" in name:  # lora_A begins without one: B is zero
            assert weight.grad is not None, name
            assert weight.grad.abs().max() > 0, name


def test_the_full_model_has_128_fused_layers_and_23_layers_of_clip() -> None:
    published = json.loads((GOLDEN / "real_configs.json").read_text())
    with torch.device("meta"):
        model = Phi3VForCausalLM(Phi3VConfig(**published["microsoft/Phi-3.5-vision-instruct"]["config.json"]))
        found = adapted_layers(add_lora(model, rank=16, parts=ALL))
    assert found.adapted == found.layers == {"decoder": 128, "projector": 2, "clip": 138}
    by_hand = 32 * (16 * (3072 + 9216) + 16 * (3072 + 3072) + 16 * (3072 + 16384) + 16 * (8192 + 3072))
    by_hand += 16 * (4096 + 3072) + 16 * (3072 + 3072) + 23 * 16 * (4 * 2048 + 2 * 5120)
    assert found.trained == by_hand
    assert found.parameters == 4_146_621_440 + by_hand


def test_names_of_layers_are_those_of_the_model(tiny: Phi3VForCausalLM) -> None:
    modules = dict(tiny.named_modules())
    for names in adaptable_layers(tiny.config).values():
        assert all(isinstance(modules[name], torch.nn.Linear) for name in names)


def test_a_missed_layer_is_an_error(build: Build) -> None:
    """The list that oumi uses: it misses the fused projections and adapts CLIP's; and one that stops half-way."""
    foreign = get_peft_model(build(), LoraConfig(target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]))
    with pytest.raises(ModelError, match=r"decoder: 4 of 8 layers carry no adapter \(model.layers.0.self_attn.qkv_"):
        adapted_layers(foreign)
    half = get_peft_model(build(), lora_config(build().config, layers_to_transform=[0], layers_pattern="layers"))
    with pytest.raises(ModelError, match=r"decoder: 4 of 8 layers .*model\.layers\.1\.self_attn\.qkv_proj"):
        adapted_layers(half)
    with pytest.raises(ModelError, match=r"decoder: 4 of 8 layers .*; projector: 2 of 2"):
        add_lora(build(), layers_to_transform=[0], layers_pattern="layers")


@pytest.mark.parametrize("parts", [(), ("encoder",)])
def test_parts_that_do_not_exist(tiny: Phi3VForCausalLM, parts: Any) -> None:
    with pytest.raises(ModelError, match="choose of decoder, projector, clip"):
        lora_config(tiny.config, parts=parts)


def test_saved_and_loaded_again(build: Build, base: Path, tmp_path: Path) -> None:
    model = trained(add_lora(AutoModelForImageTextToText.from_pretrained(base), rank=4, parts=ALL))
    expected = logits(model)
    assert not torch.allclose(expected, logits(build("sdpa")), atol=1e-2)
    model.save_pretrained(tmp_path / "adapter")
    for again in (
        load_adapter(tmp_path / "adapter"),
        PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), tmp_path / "adapter"),
        AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter"),
        AutoModelForImageTextToText.from_pretrained(tmp_path / "adapter"),
    ):
        assert torch.equal(logits(again.eval()), expected)
    assert adapted_layers(load_adapter(tmp_path / "adapter")).trained == 0
    assert adapted_layers(load_adapter(tmp_path / "adapter", trainable=True)).trained > 0


@pytest.mark.parametrize("kind", ["missing", "unknown"])
def test_an_adapter_file_that_does_not_fit(build: Build, base: Path, tmp_path: Path, kind: str) -> None:
    model = add_lora(AutoModelForImageTextToText.from_pretrained(base), rank=4)
    model.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    if kind == "missing":
        tensors.pop(next(name for name in tensors if "qkv_proj.lora_B" in name))
    else:
        tensors["base_model.model.stray.lora_A.weight"] = torch.zeros(4, 4)
    save_file(tensors, file)
    with pytest.raises(ModelError, match=f"is no adapter of this model: 1 tensors {kind}: base_model"):
        load_adapter(tmp_path / "adapter")


def test_no_pickled_adapter_is_read(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    add_lora(AutoModelForImageTextToText.from_pretrained(base), rank=4).save_pretrained(folder)
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors .*pickle"):
        load_adapter(folder)
    with pytest.raises(OSError, match=r"adapter_model\.safetensors"):
        AutoModelForImageTextToText.from_pretrained(folder)


@pytest.mark.parametrize("whole", ["lm_head", "embed_tokens"])
def test_whole_modules_trained_beside_the_adapter(base: Path, tmp_path: Path, whole: str) -> None:
    """PEFT goes by the end of a name, and `vision_embed_tokens` must not be taken for `embed_tokens`."""
    model = add_lora(AutoModelForImageTextToText.from_pretrained(base), rank=4, modules_to_save=[whole])
    free = {name for name, weight in model.named_parameters() if weight.requires_grad and "lora_" not in name}
    assert len(free) == 1
    assert next(iter(free)).endswith(f"{whole}.modules_to_save.default.weight")
    assert "vision" not in next(iter(free))
    trained(model).save_pretrained(tmp_path / "adapter")
    again = load_adapter(tmp_path / "adapter")
    assert torch.equal(logits(again), logits(model))
    assert_near(logits(merge_adapter(again)), logits(model), 1e-4)


def test_what_cannot_be_merged(base: Path, tmp_path: Path) -> None:
    model = trained(add_lora(AutoModelForImageTextToText.from_pretrained(base), rank=4))
    model.save_pretrained(tmp_path / "adapter")
    with model.disable_adapter(), pytest.raises(ModelError, match="switched off"):
        merge_adapter(model)
    injected = AutoModelForImageTextToText.from_pretrained(tmp_path / "adapter")
    expected = logits(injected)
    with pytest.raises(ModelError, match="is no PeftModel; load the adapter with hangtag.load_adapter"):
        merge_adapter(injected)
    assert torch.equal(logits(injected), expected)


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_merged_is_the_plain_model_with_equal_logits(build: Build, tmp_path: Path, options: Any) -> None:
    model = trained(add_lora(build(), rank=4, parts=ALL, **options))
    expected = logits(model)
    merged = merge_adapter(model)
    assert type(merged) is Phi3VForCausalLM
    assert not any(isinstance(module, LoraLayer) for module in merged.modules())
    assert all(weight.requires_grad for weight in merged.parameters())
    assert_near(logits(merged), expected, 1e-4)
    merged.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == set(load_file(GOLDEN / "tiny.safetensors"))
    again = AutoModelForImageTextToText.from_pretrained(tmp_path, attn_implementation="eager")
    assert torch.equal(logits(again), logits(merged))


def test_merging_rounds_once(build: Build) -> None:
    """bf16 weights: float32 sum, one rounding. PEFT's own merge differs in the last bit of some weights."""
    merged, by_peft = (trained(add_lora(build().to(torch.bfloat16), rank=4)) for _ in range(2))
    by_hand = {}
    for name, module in merged.named_modules():
        if isinstance(module, LoraLayer):
            down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
            assert down.dtype == torch.float32
            update = module.scaling["default"] * (up @ down)
            by_hand[re.sub(r"^base_model\.model\.", "", name)] = (module.weight.float() + update).to(torch.bfloat16)
    plain = merge_adapter(merged)
    other = dict(by_peft.merge_and_unload().named_modules())
    differing = 0
    for name, module in plain.named_modules():
        assert not hasattr(module, "weight") or module.weight.dtype == torch.bfloat16
        if name in by_hand:
            assert torch.equal(module.weight, by_hand[name])
            differing += int((module.weight != other[name].weight).sum())
    assert len(by_hand) == 10
    assert differing > 0


def test_quantised_layers_cannot_be_merged_into(build: Build) -> None:
    model = add_lora(build(), rank=4)
    layer = model.base_model.model.model.layers[0].mlp.down_proj.base_layer
    layer.weight = torch.nn.Parameter(layer.weight.to(torch.uint8), requires_grad=False)
    with pytest.raises(
        ModelError, match=r"1 layers are quantised, such as model\.layers\.0\.mlp\.down_proj \(torch.uint8\)"
    ):
        merge_adapter(model)


def test_a_second_round_on_top(base: Path, tmp_path: Path) -> None:
    """Merge, save, adapt again, merge again; and going on with a loaded adapter."""
    first = trained(add_lora(AutoModelForImageTextToText.from_pretrained(base), rank=4))
    first.save_pretrained(tmp_path / "first")
    going_on = trained(load_adapter(tmp_path / "first", trainable=True))
    assert not torch.allclose(logits(going_on), logits(first), atol=1e-3)
    merge_adapter(first).save_pretrained(tmp_path / "merged")

    second = add_lora(AutoModelForImageTextToText.from_pretrained(tmp_path / "merged"), rank=2, parts=ALL)
    assert torch.equal(logits(second), logits(AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")))
    trained(second).save_pretrained(tmp_path / "second")
    again = load_adapter(tmp_path / "second")
    assert torch.equal(logits(again), logits(second))
    assert_near(logits(merge_adapter(again)), logits(second), 1e-4)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # said of the frozen tower, rightly
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("parts", [("decoder",), ALL, ("clip",)])
def test_checkpointing_keeps_every_adapters_gradient(build: Build, parts: Any, reentrant: bool) -> None:
    """Re-entrant checkpointing drops the gradients of layers whose input has none, without a word."""
    inputs = image1((7, 8, 9))
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = add_lora(build(), rank=4, parts=parts, init_lora_weights=False).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad})
    for name, expected in gradients[0].items():
        assert expected.abs().max() > 0, name
        assert_near(gradients[1][name], expected, 1e-6)
