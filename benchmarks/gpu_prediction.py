"""Writing answers on the device: batches of several sizes beside one picture at a time, and whole tags.

    python benchmarks/gpu_prediction.py WORK [--device auto] [--seconds 110] [--num-crops 4 16 1]

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
from dataclasses import dataclass
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
from hangtag.recipe import Recipe

ROUNDS = 5
SIZES = {True: (64, 1, 256, 16, 4, 128, 32, 8, 2), False: (4, 1)}
"""Batch sizes, on a GPU and on a CPU, in the order of what is most wanted."""
ALONE = {True: 8, False: 2}
"""Pictures written one at a time."""


@dataclass
class Subject:
    """What is measured: a model that cuts pictures into at most so many crops, on a machine, until a deadline."""

    machine: Machine
    deadline: Deadline
    peak: float
    model: Phi3VForCausalLM
    processor: Phi3VProcessor
    recipe: Recipe
    pictures: list[Path]

    def inputs(self, pictures: list[Path]) -> dict[str, Any]:
        """A batch of prompts, padded on the left, on the device."""
        images = [[Image.open(each).convert("RGB")] for each in pictures]
        prompt = Chat.of(self.recipe.task).prompt(1)
        options = {"padding": True, "padding_side": "left", "do_normalize": not self.machine.gpu}
        given = self.processor(text=[prompt] * len(images), images=images, return_tensors="pt", **options)
        return {name: each.to(self.machine.device) for name, each in given.items()}

    def seconds(self, inputs: dict[str, Any], tokens: int, static: bool) -> float:
        return self.machine.seconds(lambda: write(self.model, inputs, tokens, static))


@torch.inference_mode()
def write(model: Phi3VForCausalLM, inputs: dict[str, Any], tokens: int, static: bool) -> torch.Tensor:
    """Exactly so many tokens for each row, greedily."""
    options = {"do_sample": False, "min_new_tokens": tokens, "max_new_tokens": tokens}
    ids: torch.Tensor = model.generate(**inputs, **options, cache_implementation="static" if static else None)
    return ids[:, -tokens:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--seconds", type=float, default=110, help="what there is no time for is left out, and named")
    parser.add_argument("--num-crops", type=int, nargs="+", default=[4, 16, 1], help="of all but the first, one batch")
    options = parser.parse_args()
    logging.disable_progress_bar()
    machine, deadline = Machine.found(options.device), Deadline.within(options.seconds)
    base, data = options.work / "base", options.work / "catalogue"
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=machine.dtype).to(machine.device).eval()
    pictures, peak = sorted((data / "images").iterdir()), measured_peak(machine)
    found: dict[str, Any] = {"peak": peak, "num_crops": {}}
    for place, crops in enumerate(options.num_crops):
        processor = AutoProcessor.from_pretrained(base, num_crops=crops)
        recipe = recipe_of("lora-24gb", base, data, [f"model.num_crops={crops}"])
        subject = Subject(machine, deadline, peak, model, processor, recipe, pictures)
        told = found["num_crops"][str(crops)] = {"equal": compare(subject)}
        told |= one_at_a_time(subject)
        for size in SIZES[machine.gpu][: 1 if place else None]:
            told["batches"][str(size)] = batch = batch_of(subject, size)
            if "pictures_per_second" in batch:
                batch["ratio"] = batch["pictures_per_second"] / told["pictures_per_second"]
            shown = {name: each for name, each in batch.items() if name != "profile"}
            print(f"num_crops {crops}, batch of {size}: {json.dumps(shown)}", flush=True)
            print(json.dumps(found), flush=True)  # what there is, should time run out
        if not place:
            told["tags"] = tags(subject)
            print(f"num_crops {crops}, whole tags: {json.dumps(told['tags'])}", flush=True)
    print(json.dumps(found), flush=True)
    unequal = {
        crops: each["equal"] for crops, each in found["num_crops"].items() if not is_equal(machine, each["equal"])
    }
    if unequal:
        print(f"a batch's logits are not those of each picture alone: {unequal}", file=sys.stderr)
    return 1 if unequal else 0


@torch.inference_mode()
def compare(subject: Subject) -> dict[str, float]:
    """Logits behind the prompts of a batch beside each picture's alone, and beside the next one's."""
    model, few = subject.model, subject.pictures[:4]
    together = model(**subject.inputs(few), logits_to_keep=1).logits[:, -1].float()
    alone = [model(**subject.inputs([each]), logits_to_keep=1).logits[:, -1] for each in few]
    single = torch.cat(alone).float()
    return {"logits_apart": unlike(together, single), "of_the_next": unlike(together, single.roll(1, 0))}


def is_equal(machine: Machine, equal: dict[str, float]) -> bool:
    return equal["logits_apart"] < machine.tolerance and equal["of_the_next"] > 3 * equal["logits_apart"]


def one_at_a_time(subject: Subject) -> dict[str, Any]:
    """Pictures a second by `generate` as it is, the first left out."""
    chosen = subject.pictures[: ALONE[subject.machine.gpu] + 1]
    times = [subject.seconds(subject.inputs([each]), ANSWER_TOKENS, False) for each in chosen]
    print(f"one at a time, generate as it is: {1 / median(times[1:]):.2f} pictures/s", flush=True)
    return {"pictures_per_second": 1 / median(times[1:]), "batches": {}}


def batch_of(subject: Subject, size: int) -> dict[str, Any]:
    """A batch's speed and memory; or why there is none. Pictures are on the device already."""
    machine, model, pictures = subject.machine, subject.model, subject.pictures
    if subject.deadline.left < (30 if machine.gpu else 0):
        return {"left_out": "no time was left"}
    chosen = [pictures[place % len(pictures)] for place in range(size)]
    inputs = subject.inputs(chosen)
    machine.forget_peak()
    try:
        warm = subject.seconds(inputs, ANSWER_TOKENS, True)
        whole = median(subject.seconds(inputs, ANSWER_TOKENS, True) for _ in range(ROUNDS))
        subject.seconds(inputs, 1, True)
        first = median(subject.seconds(inputs, 1, True) for _ in range(ROUNDS))
    except torch.OutOfMemoryError:
        return {"left_out": "more memory would be needed"}
    profile = Profile(machine)
    profile.step()
    for _ in range(profile.repeats):
        write(model, inputs, ANSWER_TOKENS, True)
        profile.step()
    side, mask = subject.processor.image_processor.crop_size, inputs["attention_mask"].sum(1).tolist()
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
        "share_of_peak": counted / whole / subject.peak,
        "compiling_seconds": warm - whole,
        "peak_bytes": machine.peak(),
        "profile": profile.found(),
    }


def tags(subject: Subject) -> dict[str, Any]:
    """Whole tags a second, pictures read and cut included; the first batch, which compiles, left out."""
    machine, pictures = subject.machine, subject.pictures
    if subject.deadline.left < (30 if machine.gpu else 0):
        return {"left_out": "no time was left"}
    size = 64 if machine.gpu else 4
    tagger = Tagger(subject.model, subject.processor, subject.recipe, size)
    tagger.tags(pictures[:size])
    rest = pictures[size : 3 * size]
    made: list[Any] = []
    seconds = machine.seconds(lambda: made.extend(tagger.tags(rest)))
    return {"pictures_per_second": len(rest) / seconds, "answered": sum(each.error is None for each in made)}


if __name__ == "__main__":
    sys.exit(main())
