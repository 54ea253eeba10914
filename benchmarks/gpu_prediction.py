"""Writing answers on the device: batches of several sizes beside one picture at a time, and whole tags.

    python benchmarks/gpu_prediction.py WORK [--device auto] [--seconds 110] [--num-crops 4]

WORK holds `base` and `catalogue`, as gpu.py makes them. Every answer has 45 tokens. A batch is written by `generate`
with a cache of fixed size, for which transformers compiles the model on a GPU; one picture at a time by `generate` as
it is. First the logits behind the prompts of a batch are compared with those of each picture alone, and must differ
from another picture's. A batch's seconds are medians of five; time to the first token is that of one token. Whole tags,
with confidence and price, are written by the tagger of `hangtag predict`. Operations are counted by hangtag.flops.
Prints a table and, last, one JSON line; ends with 1 where results differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from gpu_common import (
    ANSWER_TOKENS,
    Deadline,
    Machine,
    measured_peak,
    median,
    recipe_of,
    sizes_of,
    unlike,
)
from gpu_profile import Profile
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from hangtag.examples.chat import Chat
from hangtag.flops import Example, generation_operations
from hangtag.phi3v import Phi3VForCausalLM, Phi3VProcessor
from hangtag.prediction.tagger import Tagger

ROUNDS = 5
SIZES = {True: (64, 1, 256, 16, 4, 128, 32, 8, 2), False: (4, 1)}
"""Batch sizes, on a GPU and on a CPU, in the order of what is most wanted."""
ALONE = {True: 8, False: 2}
"""Pictures written one at a time."""


def inputs_of(machine: Machine, processor: Phi3VProcessor, prompt: str, pictures: list[Path]) -> dict[str, Any]:
    """A batch of prompts, padded on the left, on the device."""
    images = [[Image.open(each).convert("RGB")] for each in pictures]
    given = processor(
        text=[prompt] * len(images), images=images, padding=True, padding_side="left", return_tensors="pt",
        do_normalize=not machine.gpu,
    )  # fmt: skip
    return {name: each.to(machine.device) for name, each in given.items()}


@torch.inference_mode()
def write(model: Phi3VForCausalLM, inputs: dict[str, Any], tokens: int, static: bool) -> torch.Tensor:
    """Exactly so many tokens for each row, greedily."""
    options = {"do_sample": False, "min_new_tokens": tokens, "max_new_tokens": tokens}
    ids: torch.Tensor = model.generate(**inputs, **options, cache_implementation="static" if static else None)
    return ids[:, -tokens:]


@torch.inference_mode()
def compare(machine: Machine, model: Phi3VForCausalLM, batch: dict[str, Any], alone: list[dict[str, Any]]) -> Any:
    """Logits behind the prompts of a batch beside each picture's alone, and beside the next one's."""
    together = model(**batch, logits_to_keep=1).logits[:, -1].float()
    single = torch.cat([model(**each, logits_to_keep=1).logits[:, -1] for each in alone]).float()
    return {"logits_apart": unlike(together, single), "of_the_next": unlike(together, single.roll(1, 0))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--seconds", type=float, default=110, help="what there is no time for is left out, and named")
    parser.add_argument("--num-crops", type=int, default=4)
    options = parser.parse_args()
    logging.disable_progress_bar()
    machine, deadline = Machine.found(options.device), Deadline.within(options.seconds)
    base = options.work / "base"
    processor = AutoProcessor.from_pretrained(base, num_crops=options.num_crops)
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=machine.dtype).to(machine.device).eval()
    recipe = recipe_of("lora-24gb", base, options.work / "catalogue", [f"model.num_crops={options.num_crops}"])
    prompt = Chat.of(recipe.task).prompt(1)
    pictures = sorted((options.work / "catalogue" / "images").iterdir())
    peak = measured_peak(machine)

    few = pictures[:4]
    alone = [inputs_of(machine, processor, prompt, [each]) for each in few]
    equal = compare(machine, model, inputs_of(machine, processor, prompt, few), alone)
    found: dict[str, Any] = {"peak": peak, "num_crops": options.num_crops, "equal": equal, "batches": {}}
    found["is_equal"] = equal["logits_apart"] < machine.tolerance and equal["of_the_next"] > 3 * equal["logits_apart"]

    singles = [inputs_of(machine, processor, prompt, [each]) for each in pictures[: ALONE[machine.gpu] + 1]]
    write(model, singles[0], ANSWER_TOKENS, False)  # warms up
    one = median(machine.seconds(lambda each=each: write(model, each, ANSWER_TOKENS, False)) for each in singles[1:])
    found["one_at_a_time"] = {"pictures_per_second": 1 / one}
    print(f"one at a time, generate as it is: {1 / one:.2f} pictures/s", flush=True)

    for size in SIZES[machine.gpu]:
        told = found["batches"][str(size)] = batch_of(machine, model, processor, prompt, pictures, size, deadline, peak)
        if "pictures_per_second" in told:
            told["ratio"] = told["pictures_per_second"] * one
        print(f"batch of {size}: {json.dumps({name: each for name, each in told.items() if name != 'profile'})}")
        print(json.dumps(found), flush=True)
    found["tags"] = tags(machine, model, processor, recipe, pictures, deadline)
    print(f"whole tags: {json.dumps(found['tags'])}")
    if not found["is_equal"]:
        print(f"a batch's logits are not those of each picture alone: {equal}", file=sys.stderr)
    print(json.dumps(found))
    return 0 if found["is_equal"] else 1


def batch_of(
    machine: Machine,
    model: Phi3VForCausalLM,
    processor: Phi3VProcessor,
    prompt: str,
    pictures: list[Path],
    size: int,
    deadline: Deadline,
    peak: float,
) -> dict[str, Any]:
    """A batch's speed and memory; or why there is none. Pictures are on the device already."""
    if deadline.left < (30 if machine.gpu else 0):
        return {"left_out": "no time was left"}
    chosen = [pictures[place % len(pictures)] for place in range(size)]
    inputs = inputs_of(machine, processor, prompt, chosen)
    machine.forget_peak()
    try:
        warm = machine.seconds(lambda: write(model, inputs, ANSWER_TOKENS, True))
        whole = median(machine.seconds(lambda: write(model, inputs, ANSWER_TOKENS, True)) for _ in range(ROUNDS))
        write(model, inputs, 1, True)
        first = median(machine.seconds(lambda: write(model, inputs, 1, True)) for _ in range(ROUNDS))
    except torch.OutOfMemoryError:
        return {"left_out": "more memory would be needed"}
    profile = Profile(machine)
    profile.step()
    for _ in range(profile.repeats):
        write(model, inputs, ANSWER_TOKENS, True)
        profile.step()
    side, mask = processor.image_processor.crop_size, inputs["attention_mask"].sum(1).tolist()
    prompts = [
        Example(
            tokens, 1, 1 + (height // side) * (width // side), int((ids == model.config.image_token_id).sum())
        )
        for tokens, (height, width), ids in zip(mask, inputs["image_sizes"].tolist(), inputs["input_ids"], strict=True)
    ]  # fmt: skip
    counted = generation_operations(sizes_of(model.config), prompts, ANSWER_TOKENS - 1).total
    return {
        "pictures_per_second": size / whole,
        "first_token_seconds": first,
        "token_seconds": (whole - first) / (ANSWER_TOKENS - 1),
        "share_of_peak": counted / whole / peak,
        "compiling_seconds": warm - whole,
        "peak_bytes": machine.peak(),
        "profile": profile.found(),
    }


def tags(
    machine: Machine, model: Phi3VForCausalLM, processor: Phi3VProcessor, recipe: Any, pictures: list[Path],
    deadline: Deadline,
) -> dict[str, Any]:  # fmt: skip
    """Whole tags a second, pictures read and cut included; the first batch, which compiles, left out."""
    if deadline.left < (30 if machine.gpu else 0):
        return {"left_out": "no time was left"}
    size = 64 if machine.gpu else 4
    tagger = Tagger(model, processor, recipe, size)
    tagger.tags(pictures[:size])
    rest = pictures[size : 3 * size]
    made: list[Any] = []
    seconds = machine.seconds(lambda: made.extend(tagger.tags(rest)))
    return {"pictures_per_second": len(rest) / seconds, "answered": sum(each.error is None for each in made)}


if __name__ == "__main__":
    sys.exit(main())
