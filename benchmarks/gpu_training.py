"""Fine-tuning on the device: the engine, compiled and not, beside a plain path and beside TRL's SFTTrainer.

    python benchmarks/gpu_training.py WORK [--device auto] [--seconds 240] [--only lora-4 ...]

WORK holds `base` and `catalogue`, as gpu.py makes them. First the losses and gradients of a step are compared with
those of rows one at a time, padded, with full logits; with inverted pictures they must differ, or nothing was compared.
Then each way trains on the same rows in the same order: pictures/s are a step's median without the first two, its
operations are counted by hangtag.flops, and the peak is that of a large matrix product on the same device. What there
is no time or no library for is named. Prints a table and, last, one JSON line; ends with 1 where results differ.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import torch
from gpu_common import ANSWER_TOKENS, Deadline, Machine, measured_peak, recipe_of, sizes_of, unlike
from gpu_profile import Profile
from gpu_ways import PROFILED, STEPS, WAYS, Clock, examples_of, workers
from transformers import AutoConfig
from transformers.utils import logging

from hangtag.errors import HangtagError, first_line
from hangtag.examples.features import crop_count
from hangtag.examples.loading import Steps, Vision
from hangtag.flops import Example, Lora, Training, step_operations
from hangtag.memory import expected_memory
from hangtag.recipe import Recipe
from hangtag.training.data import make_examples, make_plan, read_rows
from hangtag.training.loss import answer_loss
from hangtag.training.models import load_base, prepare
from hangtag.training.out_of_memory import is_out_of_memory


@dataclass(frozen=True)
class Setting:
    """What is trained, and how many rows make a step.

    Args:
        recipe: that comes with the package.
        rows: of a step, on a GPU.
        ways: which are measured; `plain`, `engine`, `compiled`, `cached` and `trl`.
    """

    recipe: str
    num_crops: int
    rows: int
    ways: tuple[str, ...]
    changes: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        return self.recipe.partition("-")[0]


LOSSES_APART, GRADIENTS_APART = {True: 5e-3, False: 1e-4}, {True: 1e-1, False: 1e-4}
"""What rounding explains, in bfloat16 on a GPU and in float32 on a CPU."""
ROWS = {True: 384, False: 40}
"""Of the catalogue, on a GPU and on a CPU: whole steps of every setting."""
SETTINGS = {
    "lora-4": Setting("lora-24gb", 4, 16, ("compiled", "plain", "trl", "engine", "cached"), ("checkpointing=false",)),
    "lora-16": Setting("lora-24gb", 16, 8, ("compiled", "plain"), ("checkpointing=false",)),
    "full-4": Setting("full-80gb", 4, 16, ("compiled", "plain", "trl")),
    "lora-4-small": Setting("lora-24gb", 4, 16, ("compiled",)),
    "qlora-4-small": Setting("qlora-12gb", 4, 16, ("engine",)),
    "lora-1": Setting("lora-24gb", 1, 32, ("compiled", "plain", "engine", "trl"), ("checkpointing=false",)),
    "full-16": Setting("full-80gb", 16, 8, ("compiled", "plain")),
    "full-1": Setting("full-80gb", 1, 32, ("compiled", "plain")),
}
"""In the order of what is most wanted; the small ones are the recipes for small cards as they come."""


def operations(recipe: Recipe, cached: bool) -> tuple[float, float]:
    """Floating-point operations and tokens of a row: means over the catalogue."""
    examples = examples_of(recipe)
    processor = examples.processor
    side = processor.image_processor.crop_size
    counted = [
        Example(
            len(each.input_ids),
            ANSWER_TOKENS,
            0 if cached else sum(crop_count(*size, side) for size in each.sizes),
            each.input_ids.count(processor.image_token_id),
        )
        for each in (examples[place] for place in range(len(examples)))
    ]
    lora = Lora(recipe.train.lora.rank)
    training = (
        Training("full", "full", "full", "full")
        if recipe.train.method == "full"
        else Training("frozen", lora, lora, "frozen")
    )
    total = step_operations(sizes_of(AutoConfig.from_pretrained(recipe.model.base)), counted, training).total
    return total / len(counted), sum(each.tokens for each in counted) / len(counted)


def compare(machine: Machine, recipe: Recipe, rows: int = 4) -> dict[str, float]:
    """A packed pass beside the same rows one at a time, padded, with full logits: losses, and some tensors' gradients.

    Adapters are given random weights first, since they begin as nothing.
    """
    found = read_rows(recipe)
    processor, model = load_base(recipe, found.train)
    examples, _, _ = make_examples(recipe, found, processor, model.config.max_position_embeddings)
    learner = prepare(model, recipe)
    learner = learner if recipe.train.method == "qlora" else learner.to(machine.device)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in learner.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.02)
    learner.eval()  # no dropout

    def passes(at_once: int) -> list[dict[str, torch.Tensor]]:
        """The first rows, so many in a pass."""
        settings = recipe.train.model_copy(update={"batch_size": at_once, "token_budget": 1 << 20})
        plan = make_plan(examples, recipe.model_copy(update={"train": settings}), 1, shuffled=True)
        made = Steps(examples, plan, Vision(as_bytes=machine.gpu))
        return [each for step in range(rows // at_once) for each in made[step]["passes"]]

    watched = [weight for name, weight in learner.named_parameters() if weight.requires_grad and _is_watched(name)]

    def step(passes: list[dict[str, torch.Tensor]], full_logits: bool) -> tuple[torch.Tensor, torch.Tensor]:
        learner.zero_grad(set_to_none=True)
        total = torch.zeros((), device=machine.device)
        with torch.autocast(machine.device.type, torch.bfloat16, enabled=machine.gpu):
            losses = [_loss(learner, each, full_logits, machine) for each in passes]
        for loss in losses:
            loss.backward()
            total += loss.detach()
        return total, torch.cat([each.grad.float().flatten() for each in watched if each.grad is not None])

    [together], alone = passes(rows), passes(1)
    packed, packed_gradient = step([together], False)
    inverted = 255 - together["pixel_values"] if machine.gpu else -together["pixel_values"]
    other, _ = step([together | {"pixel_values": inverted}], False)
    model.set_attn_implementation("sdpa")
    longest = max(each["input_ids"].shape[1] for each in alone)
    single, single_gradient = step([_padded(each, longest, processor.tokenizer.pad_token_id) for each in alone], True)
    return {
        "loss": float(single) / (rows * ANSWER_TOKENS),
        "losses_apart": abs(float(packed) / float(single) - 1),
        "gradients_apart": unlike(packed_gradient, single_gradient),
        "with_inverted_pictures": abs(float(other) / float(single) - 1),
    }


def _is_watched(name: str) -> bool:
    """Tensors whose gradients are compared: not all of them fit twice."""
    return "img_projection" in name or ".layers.0." in name or "lora" in name


def _padded(inputs: dict[str, torch.Tensor], length: int, padding: int) -> dict[str, torch.Tensor]:
    blank = length - inputs["input_ids"].shape[1]
    grown = {
        "input_ids": torch.nn.functional.pad(inputs["input_ids"], (0, blank), value=padding),
        "attention_mask": torch.nn.functional.pad(torch.ones_like(inputs["input_ids"]), (0, blank)),
        "labels": torch.nn.functional.pad(inputs["labels"], (0, blank), value=-100),
    }
    return grown | {name: inputs[name] for name in ("pixel_values", "image_sizes")}


def _loss(model: Any, inputs: dict[str, torch.Tensor], full_logits: bool, machine: Machine) -> torch.Tensor:
    """The summed loss of a pass."""
    moved = {name: each.to(machine.device) for name, each in inputs.items()}
    if not full_logits:
        return answer_loss(model, moved)[0]
    loss: torch.Tensor = model(**moved).loss * (moved["labels"] != -100).sum()
    return loss


def budget(machine: Machine, recipe: Recipe) -> int:
    """The most tokens of a pass that fit the device, by hangtag.memory; at least a row's."""
    if machine.memory is None:
        return 600
    fitting = recipe.train.token_budget
    for tokens in range(2048, 40961, 1024):
        grown = recipe.model_copy(update={"train": recipe.train.model_copy(update={"token_budget": tokens})})
        if expected_memory(grown).total <= 0.95 * machine.memory:
            fitting = tokens
    return fitting


def recipe_for(machine: Machine, setting: Setting, work: Path, steps: int) -> Recipe:
    """The setting's recipe for so many steps on WORK's base and catalogue."""
    rows = setting.rows if machine.gpu else 4
    changes = [
        f"model.num_crops={setting.num_crops if machine.gpu else min(4, setting.num_crops)}",
        *(f"train.{each}" for each in setting.changes),
        f"train.batch_size={rows}",
        f"train.epochs={(steps - 0.4) / -(-ROWS[machine.gpu] // rows)}",  # the engine rounds up
        "train.warmup=0",
        "train.validation_answers=0",
        "train.checkpoint_epochs=1000000",
        "train.schedule=constant",
        f"train.workers={workers(machine)}",
        *([] if machine.gpu else ["train.precision=float32"]),
        *(["train.lora.dropout=0"] if setting.method != "full" else []),
        *([] if setting.method != "full" or _has("bitsandbytes") else ["train.optimizer=adamw"]),
    ]
    recipe = recipe_of(setting.recipe, work / "base", work / "catalogue", changes)
    if setting.changes or setting.method == "full":
        tokens = budget(machine, recipe)
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"token_budget": tokens})})
    return recipe


def _has(library: str) -> bool:
    return util.find_spec(library) is not None


def measure(machine: Machine, setting: Setting, work: Path, deadline: Deadline, peak: float) -> dict[str, Any]:
    """One setting: equal results first, then every way there is time for."""
    recipe = recipe_for(machine, setting, work, STEPS)
    if recipe.train.method == "qlora" and not _has("bitsandbytes"):
        return {"left_out": "bitsandbytes is not installed"}
    found: dict[str, Any] = {"recipe": setting.recipe, "token_budget": recipe.train.token_budget, "ways": {}}
    found["equal"] = compare(machine, recipe)
    _free(machine)
    for way in setting.ways:
        found["ways"][way] = _timed(machine, setting, work, way, deadline, peak)
        _free(machine)
        print(f"{setting.recipe} {recipe.model.num_crops} {way}: {_told(found['ways'][way])}", flush=True)
    first = {way: each["losses"][0] for way, each in found["ways"].items() if "losses" in each}
    found["first_losses_apart"] = max(first.values()) / min(first.values()) - 1 if first else 0.0
    equal = found["equal"]
    found["is_equal"] = (
        max(equal["losses_apart"], found["first_losses_apart"]) < LOSSES_APART[machine.gpu]
        and equal["gradients_apart"] < GRADIENTS_APART[machine.gpu]
        and equal["with_inverted_pictures"] > 3 * equal["losses_apart"]
    )
    speeds = {way: each["pictures_per_second"] for way, each in found["ways"].items() if "losses" in each}
    found["ratios"] = {
        f"{way} to {other}": speeds[way] / speeds[other]
        for other in ("plain", "trl")
        for way in ("compiled", "engine")
        if way in speeds and other in speeds
    }
    return found


def _timed(machine: Machine, setting: Setting, work: Path, way: str, deadline: Deadline, peak: float) -> dict[str, Any]:
    """One way's speed, memory and share of the peak; or why there is none."""
    if deadline.left < (40 if machine.gpu else 0):
        return {"left_out": "no time was left"}
    if way == "trl" and not (_has("trl") and _has("datasets")):
        return {"left_out": "trl or datasets is not installed"}
    profile = Profile(machine) if way == "compiled" else None
    clock = Clock(machine, profile)
    recipe = recipe_for(machine, setting, work, STEPS + (PROFILED if profile else 0))
    machine.forget_peak()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=work) as folder:
        try:
            losses = WAYS[way](machine, recipe, Path(folder) / "run", clock)
        except (HangtagError, RuntimeError) as error:
            # The engine tells of it by an error of its own, which says what to lower.
            if not any(map(is_out_of_memory, (error, error.__context__))):
                raise
            return {"left_out": f"more memory would be needed: {first_line(error)}"}
    step, rows = clock.step(), recipe.train.batch_size
    counted, tokens = operations(recipe, way == "cached")
    return {
        "pictures_per_second": rows / step,
        "tokens_per_second": rows * tokens / step,
        "operations_per_picture": counted,
        "share_of_peak": counted * rows / step / peak,
        "peak_bytes": machine.peak(),
        "losses": losses[:STEPS],
        "seconds": time.monotonic() - started,
        **({"profile": profile.found()} if profile else {}),
    }


def _free(machine: Machine) -> None:
    gc.collect()
    torch._dynamo.reset()
    machine.forget_peak()


def _told(found: dict[str, Any]) -> str:
    if "left_out" in found:
        return str(found["left_out"])
    memory = f", {found['peak_bytes'] / 1e9:.1f} GB" if found["peak_bytes"] else ""
    speed = f"{found['pictures_per_second']:.1f} pictures/s, {found['tokens_per_second']:,.0f} tokens/s"
    return f"{speed}, {found['share_of_peak']:.1%} of the peak{memory}, loss {found['losses'][0]:.3f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--seconds", type=float, default=240, help="what there is no time for is left out, and named")
    parser.add_argument("--only", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    options = parser.parse_args()
    logging.disable_progress_bar()
    machine, deadline = Machine.found(options.device), Deadline.within(options.seconds)
    peak = measured_peak(machine)
    found: dict[str, Any] = {"peak": peak, "settings": {}}
    for name in options.only:
        if deadline.left < (60 if machine.gpu else 0):
            found["settings"][name] = {"left_out": "no time was left"}
        else:
            found["settings"][name] = measure(machine, SETTINGS[name], options.work, deadline, peak)
        print(f"{name}: {found['settings'][name].get('equal', found['settings'][name])}", flush=True)
        print(json.dumps(found), flush=True)  # what there is, should time run out
    unequal = [name for name, each in found["settings"].items() if not each.get("is_equal", True)]
    if unequal:
        print(f"results differ: {', '.join(unequal)}", file=sys.stderr)
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
