"""Examples of mixed lengths through the decoder and back: packed beside a padded batch and beside a mask of all by all.

    python benchmarks/packed_attention.py [--rounds 7] [--sizes nano,middle]

Losses and gradients are compared first. Prints tables and, last, one JSON line; every path runs once a round, and a
ratio is the median over the rounds of a path's time to packed's in the same round. The last table shows where sdpa
overtakes attention written out, which is what WRITTEN_OUT in attention_phi3_v.py rests on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM
from hangtag.phi3v.attention_phi3_v import Group, group_attention
from hangtag.training.environment import environment

ANSWER = 20  # the last tokens of an example are its targets, as of a tag
SIZES = {
    "nano": {"hidden": 128, "layers": 3, "heads": 4, "vocabulary": 1024},
    "middle": {"hidden": 768, "layers": 2, "heads": 8, "vocabulary": 4096},  # heads of 96, as in the full model
}
LENGTHS = {
    "nano": {"60 to 120": (16, 60, 120), "30 to 50": (32, 30, 50), "20 to 400": (16, 20, 400)},
    "middle": {"300 to 900": (4, 300, 900), "40 to 1300": (5, 40, 1300)},
}
ATTENTION = [(60, 32), (120, 32), (200, 32), (400, 32), (60, 96), (120, 96), (200, 96), (300, 96), (600, 96)]


def decoder(hidden: int, layers: int, heads: int, vocabulary: int) -> Phi3VForCausalLM:
    """A decoder with random weights; its vision tower, the smallest possible, is not used."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    return Phi3VForCausalLM(
        Phi3VConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=8 * hidden // 3,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=4096,
            original_max_position_embeddings=4096,
            pad_token_id=0,
            image_token_id=vocabulary - 1,
            vision_config={**vision, "image_size": 56, "patch_size": 14, "hidden_act": "quick_gelu"},
        )
    ).train()


def batches(lengths: list[int], vocabulary: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same examples packed into one row, and padded on the right; labels and the positions that predict them."""
    examples = [torch.randint(3, vocabulary - 1, (length,)) for length in lengths]
    answers = [torch.where(torch.arange(len(each)) < len(each) - ANSWER, -100, each) for each in examples]
    ragged = torch.nn.utils.rnn.pad_sequence
    padded = {
        "input_ids": ragged(examples, batch_first=True),
        "labels": ragged(answers, batch_first=True, padding_value=-100),
        "attention_mask": ragged([torch.ones_like(each) for each in examples], batch_first=True),
    }
    positions = torch.cat([torch.arange(length) for length in lengths])
    packed = {
        "input_ids": torch.cat(examples)[None],
        "labels": torch.cat(answers)[None],
        "position_ids": positions[None],
    }
    for batch in (packed, padded):
        batch["logits_to_keep"] = torch.nn.functional.pad(batch["labels"], (0, 1), value=-100)[:, 1:] != -100
    return packed, padded


def step(model: Phi3VForCausalLM, attention: str, batch: dict[str, Any]) -> tuple[float, float]:
    """Seconds of one forward and backward, and the loss."""
    model.set_attn_implementation(attention)
    model.zero_grad()
    begun = time.perf_counter()
    loss = model(**batch).loss
    loss.backward()
    return time.perf_counter() - begun, loss.item()


def gradients(model: Phi3VForCausalLM) -> torch.Tensor:
    return torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])


def compare(size: str, name: str, rounds: int) -> dict[str, Any]:
    """One row of lengths through all paths: milliseconds, and how many times packed's time each takes."""
    model, count = decoder(**SIZES[size]), LENGTHS[size][name]
    lengths = torch.randint(count[1], count[2] + 1, (count[0],)).tolist()
    packed, padded = batches(lengths, SIZES[size]["vocabulary"])
    paths = {
        "packed": ("packed", packed),
        "padded batch, sdpa": ("sdpa", padded),
        "padded batch, eager": ("eager", padded),
        "all by all, sdpa": ("sdpa", packed),
        "all by all, eager": ("eager", packed),
    }
    expected = None
    for path, (attention, batch) in paths.items():
        _, loss = step(model, attention, batch)
        own = gradients(model)
        expected = expected or (loss, own)
        assert abs(loss - expected[0]) < 1e-4, (path, loss, expected[0])
        assert torch.allclose(own, expected[1], atol=1e-4), (path, (own - expected[1]).abs().max())
    times = in_rounds({path: lambda way=way: step(model, *way)[0] for path, way in paths.items()}, rounds)
    print(f"\n{size}, {len(lengths)} examples of {name} tokens: {sum(lengths)}, padded {padded['input_ids'].numel()}")
    return table(times, "packed")


def in_rounds(paths: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every path, once a round."""
    times: dict[str, list[float]] = {path: [] for path in paths}
    for _ in range(rounds):
        for path, run in paths.items():
            times[path].append(run())
    return times


def table(times: dict[str, list[float]], base: str) -> dict[str, Any]:
    facts = {}
    for path, own in times.items():
        ratio = statistics.median(one / other for one, other in zip(own, times[base], strict=True))
        facts[path] = {"ms": round(1000 * statistics.median(own), 2), "ratio": round(ratio, 2)}
        print(f"{path:22} {facts[path]['ms']:9.2f} ms {facts[path]['ratio']:6.2f}x")
    return facts


def attention_alone(rounds: int) -> dict[str, Any]:
    """Written out beside sdpa at one length, forward and backward: milliseconds of each."""
    print("\nattention alone, forward and backward: length x head size, ms written out, ms sdpa")
    facts = {}
    for length, width in ATTENTION:
        sequences = 64 if length < 600 else 16
        bias_LL = torch.full((length, length), -torch.inf).triu(1)
        ways = {"written out": Group(1, length, bias_LL, True), "sdpa": Group(1, length, None, False)}

        def run(group: Group, sequences: int = sequences, length: int = length, width: int = width) -> float:
            query, key, value = (torch.randn(sequences, length, width, requires_grad=True) for _ in range(3))
            gradient = torch.randn_like(query)
            begun = time.perf_counter()
            group_attention(query, key, value, group, width**-0.5).backward(gradient)
            return time.perf_counter() - begun

        times = in_rounds({name: lambda group=group: run(group) for name, group in ways.items()}, 3 * rounds + 1)
        own, other = (1000 * statistics.median(times[name][1:]) for name in ways)
        facts[f"{length}x{width}"] = [round(own, 2), round(other, 2)]
        print(f"{length:5} x {width:2} {own:9.2f} {other:9.2f}")
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", default="nano,middle")
    arguments = parser.parse_args()
    print(f"forward and backward, {arguments.rounds} rounds, {torch.get_num_threads()} threads; ratio to packed")
    results = {
        f"{size}, {name}": compare(size, name, arguments.rounds)
        for size in arguments.sizes.split(",")
        for name in LENGTHS[size]
    }
    alone = attention_alone(arguments.rounds)
    facts = {"benchmark": "packed_attention", "environment": environment(), "rounds": arguments.rounds}
    print(json.dumps({**facts, "results": results, "written_out_and_sdpa": alone}))


if __name__ == "__main__":
    main()
