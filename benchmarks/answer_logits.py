"""Logits at the labels alone beside full logits: peak memory and time of a forward and backward pass, equal gradients.

    python benchmarks/answer_logits.py [--rows 8] [--tokens 800] [--labels 45] [--rounds 5]

A small decoder with the published vocabulary, float32, on this machine's processor. Loss and gradients are compared
first. Peak is that of all tensors made in the pass, gradients included, weights not (see live_memory.py). Prints a
table and, last, one JSON line; a ratio of times is the median over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from live_memory import LiveMemory
from torch.nn import functional

from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM
from hangtag.training.environment import environment
from hangtag.training.loss import answer_loss

VOCABULARY, HIDDEN, LAYERS = 32064, 256, 2
Batch = dict[str, torch.Tensor]


def decoder() -> Phi3VForCausalLM:
    """A decoder with random weights; its vision tower, the smallest possible, is not used."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = Phi3VConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=8 * HIDDEN // 3,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        pad_token_id=0,
        image_token_id=VOCABULARY - 1,
        vision_config={**vision, "image_size": 56, "patch_size": 14, "hidden_act": "quick_gelu"},
    )
    model = Phi3VForCausalLM(config).train()
    model.set_attn_implementation("packed")
    return model


def packed_rows(rows: int, tokens: int, labels: int) -> Batch:
    """Rows of `tokens` packed into one; the last `labels` of each are its answer."""
    ids = torch.randint(3, VOCABULARY - 1, (1, rows * tokens))
    positions = torch.arange(tokens).repeat(rows)[None]
    return {"input_ids": ids, "labels": ids.where(positions >= tokens - labels, -100), "position_ids": positions}


def full_loss(model: Phi3VForCausalLM, batch: Batch) -> torch.Tensor:
    """The plain way: logits at every position, then cross-entropy that ignores most of them."""
    logits_BTV = model(**{name: each for name, each in batch.items() if name != "labels"}, use_cache=False).logits
    targets = batch["labels"][:, 1:].flatten()
    return functional.cross_entropy(logits_BTV[:, :-1].flatten(0, 1).float(), targets, reduction="sum")


def one_pass(model: Phi3VForCausalLM, loss_of: Callable[[], torch.Tensor]) -> tuple[float, float]:
    """Seconds of forward and backward, and the loss; gradients stay on the model."""
    model.zero_grad()
    begun = time.perf_counter()
    loss = loss_of()
    loss.backward()
    return time.perf_counter() - begun, loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 8), ("tokens", 800), ("labels", 45), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    model, batch = decoder(), packed_rows(asked.rows, asked.tokens, asked.labels)
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "at the labels": lambda: answer_loss(model, batch)[0],
        "full": lambda: full_loss(model, batch),
    }
    losses, gradients, peaks, seconds = [], [], {}, {name: [] for name in ways}
    for name, way in ways.items():
        with LiveMemory() as memory:
            losses.append(one_pass(model, way)[1])
        gradients.append({key: each.grad for key, each in model.named_parameters() if each.grad is not None})
        peaks[name] = memory.peak
    assert abs(losses[0] - losses[1]) < 1e-5 * abs(losses[1]), losses
    assert gradients[0].keys() == gradients[1].keys()
    for key, each in gradients[0].items():
        assert (each - gradients[1][key]).norm() <= 1e-5 * each.norm(), key
    del gradients
    for _ in range(asked.rounds):
        for name, way in ways.items():
            seconds[name].append(one_pass(model, way)[0])
    print(f"{asked.rows} rows of {asked.tokens} tokens, {asked.labels} labels each, vocabulary {VOCABULARY}, float32")
    print(f"{'logits':15}{'peak MB':>9}{'seconds':>9}")
    for name in ways:
        print(f"{name:15}{peaks[name] / 1e6:9.0f}{statistics.median(seconds[name]):9.2f}")
    ratio = statistics.median(full / own for full, own in zip(seconds["full"], seconds["at the labels"], strict=True))
    memory_ratio = peaks["full"] / peaks["at the labels"]
    print(f"full / at the labels: {memory_ratio:.1f} times the memory, {ratio:.1f} the time")
    facts = {"benchmark": "answer_logits", "environment": environment(), **vars(asked), "peak_bytes": peaks}
    print(json.dumps({**facts, "seconds": seconds, "memory_ratio": memory_ratio, "time_ratio": ratio}))


if __name__ == "__main__":
    main()
