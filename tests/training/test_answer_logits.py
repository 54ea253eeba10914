"""Full logits never exist: the largest tensor that a training loss makes, forward and backward."""

import pytest
import torch
from conftest import live_memory
from torch.nn import functional

from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM
from hangtag.training.loss import answer_loss

VOCABULARY, HIDDEN, TOKENS, ROWS, LABELS = 4000, 32, 60, 4, 5


@pytest.fixture
def decoder():
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = Phi3VForCausalLM(
        Phi3VConfig(
            vocab_size=VOCABULARY,
            hidden_size=HIDDEN,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            original_max_position_embeddings=4096,
            pad_token_id=0,
            image_token_id=VOCABULARY - 1,
            vision_config={**vision, "image_size": 56, "patch_size": 14, "hidden_act": "quick_gelu"},
        )
    )
    model.set_attn_implementation("packed")
    return model.train()


@pytest.fixture
def batch():
    ids = torch.randint(3, VOCABULARY - 1, (1, ROWS * TOKENS))
    positions = torch.arange(TOKENS).repeat(ROWS)[None]
    return {"input_ids": ids, "labels": ids.where(positions >= TOKENS - LABELS, -100), "position_ids": positions}


def plain_loss(model, batch):
    logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
    return functional.cross_entropy(logits[0, :-1], batch["labels"][0, 1:], reduction="sum")


def pass_of(model, loss):
    """The memory of a forward and backward pass, its loss and its gradients."""
    model.zero_grad()
    with live_memory() as memory:
        value = loss()
        value.backward()
    return memory, value.item(), {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_no_tensor_of_all_tokens_by_the_vocabulary_is_made(decoder, batch, smoothing):
    memory, _, _ = pass_of(decoder, lambda: answer_loss(decoder, batch, smoothing)[0])
    assert memory.largest == VOCABULARY * HIDDEN, "the largest should be the head's own gradient"
    assert VOCABULARY * HIDDEN < VOCABULARY * ROWS * TOKENS


def test_the_plain_way_makes_it_takes_more_and_gives_the_same(decoder, batch):
    own, loss, gradients = pass_of(decoder, lambda: answer_loss(decoder, batch)[0])
    plain, expected, others = pass_of(decoder, lambda: plain_loss(decoder, batch))
    assert plain.largest == VOCABULARY * ROWS * TOKENS
    assert loss == pytest.approx(expected, rel=1e-5)
    assert gradients.keys() == others.keys()
    for name, each in gradients.items():
        assert torch.allclose(each, others[name], atol=1e-5), name
    logits = 4 * VOCABULARY * ROWS * TOKENS
    assert plain.peak - own.peak > 2 * logits  # log-probabilities and their gradient at the least


def test_the_memory_counted_is_that_of_what_is_alive():
    with live_memory() as memory:
        first = torch.ones(1000)
        view = first.view(10, 100).t()
        second = first + 1
        assert memory.live == 8000
        del first
        assert memory.live == 8000, "a view holds its storage"
        del view
        assert memory.live == 4000
        second.add_(1)
    assert (memory.live, memory.peak, memory.largest) == (4000, 8000, 1000)
