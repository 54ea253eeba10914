"""Every attention gives the recorded logits; compiled layers give equal ones."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import StaticCache, modeling_flash_attention_utils

from hangtag.phi3v import Phi3VForCausalLM

from .reference import INDEX, assert_near, batch_image, image1, rope32, text

Build = Callable[..., Phi3VForCausalLM]
Recorded = dict[str, torch.Tensor]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, g++")
inductor_warns = pytest.mark.filterwarnings("ignore")  # an error inside the compiler would end it


def packed() -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Two rows of several examples each, and the examples alone."""
    rows = [[text(20, 1), text(40, 2), text(31, 3)], [text(50, 4), text(41, 5)]]
    ids = torch.cat([torch.cat([each["input_ids"] for each in row], dim=1) for row in rows])
    positions = torch.stack([torch.cat([torch.arange(each["input_ids"].shape[1]) for each in row]) for row in rows])
    return {"input_ids": ids, "position_ids": positions}, [each for row in rows for each in row]


@torch.no_grad()
@needs_compiler
@inductor_warns
def test_flex_attention(build: Build, recorded: Recorded) -> None:
    model = build({"": "flex_attention", "vision_config": "sdpa"})
    assert model.config._attn_implementation == "flex_attention"
    assert_near(model(**batch_image()).logits[:, -8:], recorded["batch_image.logits_last8"])


def test_flash_attention_says_what_it_lacks(build: Build) -> None:
    with pytest.raises(ImportError, match="FlashAttention2"):
        build("flash_attention_2")


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, scale: float) -> torch.Tensor:
    """Attention of one example [T, heads, head_dim], written out; as flash attention, causal from the end."""
    scores = torch.einsum("qhd,khd->hqk", query, key) * scale
    if causal:
        late = torch.ones(scores.shape[1:]).triu(1 + len(key) - len(query)).bool()
        scores = scores.masked_fill(late, -torch.inf)
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), value)


def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, softmax_scale: float, **_: Any) -> Any:
    return torch.stack([attend(*each, causal, softmax_scale) for each in zip(q, k, v, strict=True)])


def flash_varlen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    causal: bool,
    softmax_scale: float,
    **_: Any,
) -> torch.Tensor:
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert (cu_seqlens_q.diff().max(), cu_seqlens_k.diff().max()) == (max_seqlen_q, max_seqlen_k)
    parts = zip(
        q.split(cu_seqlens_q.diff().tolist()),
        k.split(cu_seqlens_k.diff().tolist()),
        v.split(cu_seqlens_k.diff().tolist()),
        strict=True,
    )
    return torch.cat([attend(*each, causal, softmax_scale) for each in parts])


@pytest.fixture
def flash_model(build: Build, monkeypatch: pytest.MonkeyPatch) -> Build:
    """The tiny model on transformers' real flash attention path, its kernels (CUDA's alone) written out in torch."""
    module = modeling_flash_attention_utils
    kernels = (flash, flash_varlen, None, module._pad_input, module._unpad_input)
    monkeypatch.setattr(module, "_lazy_imports", lambda *arguments, **options: kernels)
    monkeypatch.setattr(module, "_loaded_implementation", None)

    def make(**changes: Any) -> Phi3VForCausalLM:
        model = build(**changes)
        model.config._attn_implementation_internal = "flash_attention_2"
        model.config.vision_config._attn_implementation_internal = "flash_attention_2"
        return model

    return make


@torch.no_grad()
def test_the_flash_path(flash_model: Build, recorded: Recorded) -> None:
    model = flash_model()
    selected = INDEX["forward"]["cases"]["image1"]["sel"]
    assert_near(model(**image1()).logits[0, selected], recorded["image1.logits_sel"])
    assert_near(model(**batch_image()).logits[:, -8:], recorded["batch_image.logits_last8"])
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 300, "max_new_tokens": 20}
    generated = model.generate(**image1(), **options)
    assert generated[0, -20:].tolist() == INDEX["generate"]["phi35.image1"]["new"][0]


@torch.no_grad()
def test_packed_rows_stay_apart_on_the_flash_path(build: Build, flash_model: Build) -> None:
    """In several rows at once, where transformers alone would let the examples see each other."""
    batch, examples = packed()
    alone = build(**rope32())
    expected = torch.cat([alone(**each).logits for each in examples], dim=1)
    for model in (flash_model(**rope32()), build("sdpa", **rope32())):
        assert_near(model(**batch).logits.flatten(0, 1), expected[0])


@needs_compiler
@inductor_warns
def test_compiled_decoder_layers_give_equal_logits_and_gradients(build: Build) -> None:
    plain, compiled = build("sdpa").train(), build("sdpa").train()
    for layer in compiled.model.layers:
        layer.compile()
    outputs = []
    for model in (plain, compiled):
        inputs = image1((7, 8, 9))
        output = model(**inputs, labels=inputs["input_ids"])
        output.loss.backward()
        outputs.append(output.logits.detach())
    assert_near(outputs[1], outputs[0])
    for own, other in zip(compiled.parameters(), plain.parameters(), strict=True):
        assert own.grad is None or torch.allclose(own.grad, other.grad, atol=3e-6)


@torch.no_grad()
def test_a_decoding_step_is_one_whole_graph(tiny: Phi3VForCausalLM) -> None:
    """With a static cache nothing in the step falls back to Python; `fullgraph` raises where something would."""
    inputs = image1()
    length = inputs["input_ids"].shape[1]
    expected = tiny(torch.cat([inputs["input_ids"], torch.tensor([[7]])], dim=1), **without_ids(inputs)).logits[:, -1]
    cache = StaticCache(config=tiny.config, max_cache_len=length + 4)
    tiny(**inputs, past_key_values=cache, use_cache=True)
    step = torch.compile(tiny.__call__, backend="eager", fullgraph=True)
    logits = step(
        input_ids=torch.tensor([[7]]), past_key_values=cache, position_ids=torch.tensor([[length]]), use_cache=True
    ).logits
    assert_near(logits[:, -1], expected, 1e-5)


def without_ids(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in inputs.items() if name != "input_ids"}
