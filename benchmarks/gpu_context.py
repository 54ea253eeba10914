"""The longest prompt of pictures that fits the device: its tokens, the seconds of its pass, and the memory.

    python benchmarks/gpu_context.py WORK [--device auto] [--seconds 60] [--num-crops 4]

WORK holds `base` and `catalogue`, as gpu.py makes them. First a prompt of 8K tokens (of 512 on a CPU) is computed with
"sdpa" and with "eager" attention: the logits behind it must agree, and differ from those with the pictures in another
order. Then prompts of as many pictures as the context holds, and of ever fewer until one fits; keys and values are
kept, as for an answer. Seconds are medians of three where there is time, at least one.
Prints a table and, last, one JSON line; ends with 1 where results differ.
"""

from __future__ import annotations

import argparse
import bisect
import json
import sys
from pathlib import Path
from typing import Any

import torch
from gpu_common import Deadline, Machine, measured_peak, median, sizes_of, unlike
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from hangtag.flops import Example, generation_operations
from hangtag.phi3v import Phi3VForCausalLM, Phi3VProcessor

SHARES = (1.0, 0.9, 0.75, 0.5, 0.25)
CHECKED = {True: 8192, False: 512}
"""Tokens of the prompt that is compared, on a GPU and on a CPU."""


def text_of(pictures: int) -> str:
    tags = "".join(f"<|image_{number}|>\n" for number in range(1, pictures + 1))
    return f"<|user|>\n{tags}What differs?<|end|>\n<|assistant|>\n"


def prompt_of(machine: Machine, processor: Phi3VProcessor, images: list[Any]) -> dict[str, torch.Tensor]:
    """All pictures in one prompt, on the device."""
    given = processor(text=text_of(len(images)), images=images, return_tensors="pt", do_normalize=not machine.gpu)
    return {name: each.to(machine.device) for name, each in given.items() if name != "attention_mask"}


@torch.inference_mode()
def last_logits(model: Phi3VForCausalLM, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The logits behind the prompt; keys and values are kept meanwhile."""
    return model(**inputs, use_cache=True, logits_to_keep=1).logits[0, -1].float()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--num-crops", type=int, default=4)
    options = parser.parse_args()
    logging.disable_progress_bar()
    machine, deadline = Machine.found(options.device), Deadline.within(options.seconds)
    base = options.work / "base"
    processor = AutoProcessor.from_pretrained(base, num_crops=options.num_crops)
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=machine.dtype).to(machine.device).eval()
    pictures = sorted((options.work / "catalogue" / "images").iterdir())
    images = [Image.open(each).convert("RGB") for each in pictures]
    peak, context = measured_peak(machine), model.config.max_position_embeddings

    chosen = images[: pictures_within(processor, images, CHECKED[machine.gpu])]
    inputs = prompt_of(machine, processor, chosen)
    sdpa = last_logits(model, inputs)
    other = last_logits(model, prompt_of(machine, processor, chosen[::-1]))
    model.set_attn_implementation("eager")
    eager = last_logits(model, inputs)
    model.set_attn_implementation("sdpa")
    equal = {
        "tokens": inputs["input_ids"].shape[1],
        "logits_apart": unlike(sdpa, eager),
        "in_another_order": unlike(other, sdpa),
    }
    found: dict[str, Any] = {"context": context, "num_crops": options.num_crops, "equal": equal, "tried": []}
    found["is_equal"] = equal["logits_apart"] < machine.tolerance < equal["in_another_order"]
    for share in SHARES:
        tokens = int(share * context) - 64
        told = prefill(machine, model, processor, images, tokens, deadline, peak)
        found["tried"].append(told)
        print(json.dumps(told).strip("{}"), flush=True)
        print(json.dumps(found), flush=True)
        if "seconds" in told:
            break
    if not found["is_equal"]:
        print(f"the logits of sdpa are not those of eager attention: {equal}", file=sys.stderr)
    return 0 if found["is_equal"] else 1


def pictures_within(processor: Phi3VProcessor, images: list[Any], tokens: int) -> int:
    """How many pictures, over and over, such a prompt holds."""
    place = processor.image_processor
    each = [place.num_image_tokens(*place.size_after(image.height, image.width)) for image in images]

    def length(count: int) -> int:
        return len(processor.prompt_ids(text_of(count), [each[number % len(each)] for number in range(count)]))

    return bisect.bisect_right(range(1, tokens // min(each) + 1), tokens, key=length)


def prefill(
    machine: Machine,
    model: Phi3VForCausalLM,
    processor: Phi3VProcessor,
    images: list[Any],
    tokens: int,
    deadline: Deadline,
    peak: float,
) -> dict[str, Any]:
    """The pass of a prompt of about so many tokens; or why there is none."""
    count = pictures_within(processor, images, tokens)
    inputs = prompt_of(machine, processor, [images[place % len(images)] for place in range(count)])
    length = inputs["input_ids"].shape[1]
    told: dict[str, Any] = {"pictures": count, "tokens": length}
    machine.forget_peak()
    try:
        times = [machine.seconds(lambda: last_logits(model, inputs))]
        while len(times) < 3 and deadline.left > 2 * times[0]:
            times.append(machine.seconds(lambda: last_logits(model, inputs)))
    except torch.OutOfMemoryError:
        return told | {"left_out": "more memory would be needed"}
    side = processor.image_processor.crop_size
    crops = sum(1 + (height // side) * (width // side) for height, width in inputs["image_sizes"].tolist())
    places = int((inputs["input_ids"] == model.config.image_token_id).sum())
    counted = generation_operations(sizes_of(model.config), [Example(length, 1, crops, places)], 0).total
    seconds = median(times)
    return told | {
        "seconds": seconds,
        "passes": len(times),
        "tokens_per_second": length / seconds,
        "share_of_peak": counted / seconds / peak,
        "peak_bytes": machine.peak(),
    }


if __name__ == "__main__":
    sys.exit(main())
