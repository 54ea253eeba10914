"""Packed rows under attn_implementation="packed": every example as if it were alone, and never a mask of all by all."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from hangtag.errors import ModelError
from hangtag.phi3v import Phi3VForCausalLM, attention_phi3_v
from hangtag.phi3v.attention_phi3_v import find_packing, packed_attention

from .reference import IMAGE, assert_near, batch_image, fpix, image1, padded, rope32, text, tids

Build = Callable[..., Phi3VForCausalLM]
Example = dict[str, torch.Tensor]
IGNORED = -100


@pytest.fixture(scope="module")
def pair(build: Build) -> Callable[..., tuple[Phi3VForCausalLM, Phi3VForCausalLM]]:
    """The tiny model twice, packed and eager, both with an original context of 32."""
    weights = build().state_dict()

    @cache
    def make(heads: int = 4, window: int = 131072) -> tuple[Phi3VForCausalLM, Phi3VForCausalLM]:
        fused = {name: each[: 64 + 32 * heads] for name, each in weights.items() if "self_attn.qkv_proj" in name}
        changes = {**rope32(), "num_key_value_heads": heads, "sliding_window": window}
        return build("packed", fused, **changes), build("eager", fused, **changes)

    return make


def pack(examples: list[Example]) -> Example:
    """One row of all, positions anew at each; the first token of each is no target."""
    row = {"input_ids": torch.cat([each["input_ids"] for each in examples], 1)}
    row["position_ids"] = torch.cat([torch.arange(each["input_ids"].shape[1]) for each in examples])[None]
    row["labels"] = row["input_ids"].masked_fill(row["position_ids"] == 0, IGNORED)
    for name in ("pixel_values", "image_sizes"):
        parts = [each[name] for each in examples if name in each]
        if parts:
            row[name] = torch.cat(parts)
    return row


def results(model: Phi3VForCausalLM, rows: list[Example]) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Loss over all rows' targets, logits of all tokens [tokens, vocabulary], gradients."""
    model.zero_grad()
    targets = sum(int(((row["labels"][:, 1:] != IGNORED) & (row["labels"][:, 1:] != IMAGE)).sum()) for row in rows)
    outputs = [model(**row, num_items_in_batch=max(targets, 1)) for row in rows]
    loss = torch.stack([output.loss for output in outputs]).sum()
    loss.backward()
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    return loss.detach(), torch.cat([each.logits.detach()[0] for each in outputs]), gradients


def assert_as_if_alone(packed: Phi3VForCausalLM, alone: Phi3VForCausalLM, examples: list[Example]) -> None:
    assert (packed.config._attn_implementation, alone.config._attn_implementation) == ("packed", "eager")
    own = results(packed, [pack(examples)])
    other = results(alone, [pack([each]) for each in examples])
    assert_near(own[0], other[0], 5e-6)
    assert_near(own[1], other[1])
    assert len(own[2]) == len(other[2]) > 10
    for gradient, expected in zip(own[2], other[2], strict=True):
        assert_near(gradient, expected, 1e-5)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=9),
    heads=st.sampled_from([4, 2, 1]),
    window=st.sampled_from([131072, 7]),
)
@example(lengths=[1], heads=4, window=131072)
@example(lengths=[1, 1, 1], heads=2, window=7)
@example(lengths=[7, 8, 1, 40], heads=1, window=7)
@example(lengths=[40, 1, 40, 33, 32], heads=4, window=131072)
@example(lengths=[250, 3, 230], heads=2, window=131072)
@example(lengths=[250, 3, 230], heads=4, window=7)
def test_packed_equals_alone(pair: Any, lengths: list[int], heads: int, window: int) -> None:
    """Loss, logits and gradients; lengths on both sides of the rotary switch, of the window, and of sdpa's turn."""
    assert_as_if_alone(*pair(heads, window), [text(length, seed) for seed, length in enumerate(lengths)])


def pictures() -> list[Example]:
    small = [1, *[IMAGE] * 313, 1, *tids(5, 3)]
    one = {"pixel_values": fpix(1, 5, [2]), "image_sizes": torch.tensor([[336, 336]])}
    return [text(20, 1), image1((7, 8)), text(1, 2), {"input_ids": torch.tensor([small]), **one}, text(33, 3)]


def test_with_pictures(pair: Any) -> None:
    assert_as_if_alone(*pair(), pictures())


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(build: Build, pair: Any, reentrant: bool) -> None:
    packed = build("packed", **rope32()).train()
    packed.gradient_checkpointing_enable({"use_reentrant": reentrant})
    assert_as_if_alone(packed, pair()[1], pictures())


def test_several_packed_rows(pair: Any) -> None:
    packed, alone = pair()
    rows = [[text(20, 1), text(40, 2), text(31, 3)], [text(50, 4), text(41, 5)]]
    both = [pack(row) for row in rows]
    batch = {name: torch.cat([row[name] for row in both]) for name in both[0]}
    expected = torch.cat([alone(**each).logits[0] for row in rows for each in row])
    assert_near(packed(**batch).logits.flatten(0, 1), expected)


class Largest(TorchDispatchMode):
    """Remembers the most elements that any tensor made inside had."""

    most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for each in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(each, torch.Tensor):
                self.most = max(self.most, each.numel())
        return made


@pytest.mark.parametrize(("attn", "quadratic"), [("packed", False), ("sdpa", True), ("eager", True)])
def test_no_tensor_of_all_tokens_by_all(build: Build, attn: str, quadratic: bool) -> None:
    row = pack([text(30 + number, number) for number in range(20)])
    tokens = row["input_ids"].numel()
    model = build(attn)
    with Largest() as largest:
        model(**row).loss.backward()
    assert (largest.most >= tokens * tokens) == quadratic


def written_out_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
) -> torch.Tensor:
    """torch's varlen_attn [tokens, heads, head_dim] as its documentation has it, example by example."""
    assert cu_seq_q.dtype == torch.int32
    assert cu_seq_q is cu_seq_k
    assert int(cu_seq_q.diff().max()) == max_q == max_k
    assert query.shape == key.shape == value.shape
    assert window_size[1] == 0
    outputs = []
    for start, end in pairwise(cu_seq_q.tolist()):
        scores = torch.einsum("qhd,khd->hqk", query[start:end], key[start:end]) * scale
        back = torch.arange(end - start)[:, None] - torch.arange(end - start)
        hidden = (back < 0) | (back > window_size[0] if window_size[0] >= 0 else back < 0)
        outputs.append(
            torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, -torch.inf).softmax(-1), value[start:end])
        )
    return torch.cat(outputs)


@pytest.fixture
def with_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """CUDA's way on a CPU, the kernel alone written out; yields the windows it was called with."""
    windows: list[tuple[int, int]] = []

    def kernel(*arguments: Any, **options: Any) -> torch.Tensor:
        windows.append(options["window_size"])
        return written_out_kernel(*arguments, **options)

    monkeypatch.setattr(attention_phi3_v, "has_kernel", lambda device, dtype: True)
    monkeypatch.setattr(attention_phi3_v, "varlen_attn", kernel)
    yield windows
    assert windows


@pytest.mark.parametrize(
    ("heads", "window", "called"), [(4, 131072, (-1, 0)), (2, 131072, (-1, 0)), (4, 7, (7, 0)), (4, 40, (-1, 0))]
)
def test_the_kernel_is_called_rightly(pair: Any, with_kernel: Any, heads: int, window: int, called: Any) -> None:
    assert_as_if_alone(*pair(heads, window), [text(20, 1), text(40, 2), text(1, 3), text(33, 4)])
    assert set(with_kernel) == {called}


def test_the_kernel_takes_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own operator on tensors without values: its arguments, shapes and types, forward and backward."""
    monkeypatch.setattr(attention_phi3_v, "has_kernel", lambda device, dtype: True)
    packing = find_packing(torch.cat([torch.arange(5), torch.arange(9)])[None], torch.bfloat16, None)
    assert packing.padding is None
    with FakeTensorMode() as fake:
        query = torch.randn(1, 4, 14, 96, requires_grad=True)
        key, value = (torch.randn(1, 2, 14, 96, dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
        packing = packing._replace(bounds=fake.from_tensor(packing.bounds))
        options = {"packing": packing, "scaling": 0.1, "sliding_window": 4}
        output, weights = packed_attention(torch.nn.Module(), query, key, value, None, **options)
        output.sum().backward()
    assert weights is None
    assert (output.shape, output.dtype) == ((1, 14, 4, 96), torch.bfloat16)
    assert (query.grad.shape, query.grad.dtype, key.grad.shape) == (query.shape, torch.float32, key.shape)


def test_under_autocast_it_computes_in_its_dtype(pair: Any) -> None:
    """The rotation leaves queries in float32 and values in bfloat16 there."""
    packed, alone = pair()
    examples = [text(20, 1), text(40, 2), text(33, 4)]
    expected = torch.cat([alone(**each).logits for each in examples], dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = packed(**pack(examples)).logits
    assert (logits.float() - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_dropout_is_refused(build: Build) -> None:
    model = build("packed", attention_dropout=0.1).train()
    with pytest.raises(ModelError, match="attention_dropout is 0.1"):
        model(**pack([text(5, 1), text(6, 2)]))
    model(**text(5, 1))


@torch.no_grad()
def test_what_is_not_packed_is_sdpas(build: Build) -> None:
    packed, sdpa = build("packed"), build("eager")
    sdpa.set_attn_implementation("sdpa")
    for batch in (batch_image(), text(12, 0)):
        assert torch.equal(packed(**batch).logits, sdpa(**batch).logits)
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 300}
    ragged = padded([[1, *tids(4, 1)], [1, *tids(9, 2)]], "right")
    ways = [(ragged, {}), (ragged, {"num_beams": 3, "use_cache": False}), (batch_image(), {"max_new_tokens": 2})]
    for inputs, more in ways:
        asked = {**inputs, **options, **more}
        assert packed.generate(**asked).tolist() == sdpa.generate(**asked).tolist()


def test_it_is_set_and_left_like_any_other(build: Build) -> None:
    model = build("eager")
    row = pack([text(5, 1), text(6, 2)])
    expected = model(**row).logits
    model.set_attn_implementation({"": "packed", "vision_config": "eager"})
    assert model.config._attn_implementation == "packed"
    assert model.config.vision_config._attn_implementation == "eager"
    assert_near(model(**row).logits, expected, 1e-5)
    assert "packed" not in model.config.to_json_string()
