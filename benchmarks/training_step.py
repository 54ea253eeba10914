"""A training step of the demo's nano beside the same step as a first script with transformers' Trainer takes it.

    python benchmarks/training_step.py [--rows 256] [--rounds 5] [--check 8]

Invents a catalogue, crops its pictures to several shapes, and trains on it with CLIP frozen and with everything
trained: by `first_script.py`, with its parts put right one after another, and by the real engine. Everything computes
in float32 on all cores. First both see the same rows in the same order, and the losses of their steps must agree; then
they are timed in interleaved rounds. A step lasts from the end of the one before; a run's first is left out.

Prints a table and, last, one JSON line. A figure is the median over rounds, a ratio that of one round's figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from first_script import Script, train_by_script
from shaped import shaped_catalogue
from transformers import TrainerCallback
from transformers.utils import logging

from hangtag.examples.examples import Examples
from hangtag.files import read_jsonl
from hangtag.recipe import Recipe, load_recipe
from hangtag.training import train as engine
from hangtag.training.data import make_examples, make_plan, read_rows
from hangtag.training.environment import environment
from hangtag.training.models import load_base

SHAPES = ((1, 1), (3, 4), (4, 3), (1, 2), (2, 1), (1, 4), (2, 3), (1, 1))
EPOCHS = 3
TOLERANCE = 1e-4
SETTINGS = {
    "CLIP frozen": ["train.rates.clip=0"],
    "everything trained": ["train.rates.clip=0.004"],
}


@dataclass
class Timed(TrainerCallback):
    """When each step ended."""

    ends: list[float] = field(default_factory=list)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())

    def seconds(self) -> float:
        """Of a step, the first left out."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


@dataclass(frozen=True)
class Trained:
    """One run: each step's loss; of a step its seconds, real tokens and share of waiting; seconds before the first."""

    losses: list[float]
    step: float
    tokens: float = 0.0
    before: float = 0.0
    wait: float = 0.0


Way = Callable[[Recipe, Path], Trained]


def by_script(script: Script) -> Way:
    """Training by a first script."""

    def run(recipe: Recipe, out: Path) -> Trained:
        rows = read_rows(recipe)
        processor, model = load_base(recipe, rows.train)
        examples, _, _ = make_examples(recipe, rows, processor, model.config.max_position_embeddings)
        plan = make_plan(examples, recipe, 1, shuffled=True)
        order = [row for step in range(plan.steps) for row in plan.rows(step)]
        timed = Timed()
        losses = train_by_script(script, recipe, rows.train, order, max(examples.lengths()), out, timed)
        return Trained(losses, timed.seconds())

    return run


def by_engine(workers: int | str = "auto", ahead: bool = True, cached: bool = False) -> Way:
    """Training by `hangtag train`.

    Args:
        ahead: pictures are decoded once, before the first step.
        cached: the vision cache is used, and is empty at first.
    """

    def run(recipe: Recipe, out: Path) -> Trained:
        settings = recipe.train.model_copy(update={"workers": workers, "vision_cache": cached})
        timed, before = Timed(), [0.0]
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, HANGTAG_CACHE=str(out) + "-cache"))
            stack.enter_context(mock.patch.object(engine, "make_vision", clocked(engine.make_vision, before)))
            read = clocked(Examples.read_ahead, before) if ahead else lambda *_: None
            stack.enter_context(mock.patch.object(Examples, "read_ahead", read))
            watch = engine.Watch.on_step_end

            def ended(*arguments: Any, **named: Any) -> None:
                timed.on_step_end()
                watch(*arguments, **named)

            stack.enter_context(mock.patch.object(engine.Watch, "on_step_end", ended))
            run = engine.train(recipe.model_copy(update={"train": settings}), out)
        records = [each for each in read_jsonl(run.log) if "loss" in each]
        wait = statistics.mean(each["wait"] for each in records[1:])
        tokens = statistics.mean(each["tokens"] for each in records[1:])
        return Trained([each["loss"] for each in records], timed.seconds(), tokens, before[0], wait)

    return run


def clocked(work: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """`work`, whose time is added to `seconds[0]`."""

    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        result = work(*arguments, **named)
        seconds[0] += time.perf_counter() - started
        return result

    return timed


def ladder(attention: str, frozen: bool) -> dict[str, Way]:
    """From the first script to the engine, each way with one more thing put right."""
    ways = {
        "first script": by_script(Script(attention)),
        "+ 16 rows at once": by_script(Script(attention, 16)),
        "+ no blank crops": by_script(Script(attention, 16, blanks=False)),
        "+ answer-only logits": by_script(Script(attention, 16, blanks=False, full_logits=False)),
        "+ packing, in the engine": by_engine(0, ahead=False),
        "+ a worker": by_engine(1, ahead=False),
        "+ pictures decoded once": by_engine(),
    }
    return ways | ({"+ vision cache": by_engine(cached=True)} if frozen else {})


def quiet_out(root: Path) -> Iterator[Path]:
    """New folders."""
    number = 0
    while True:
        number += 1
        yield root / f"run-{number}"


def compare(name: str, recipe: Recipe, outs: Iterator[Path], arguments: argparse.Namespace) -> dict[str, Any]:
    """One setting: equal losses first, then rounds."""
    logging.disable_progress_bar()
    attentions = {kind: by_script(Script(kind))(recipe, next(outs)).step for kind in ("eager", "sdpa")}
    ways = ladder(min(attentions, key=attentions.__getitem__), name == "CLIP frozen")
    rows, check = recipe.train.batch_size, arguments.check
    steps = arguments.rows // rows
    found: dict[str, list[Trained]] = {way: [] for way in ways}
    for number in range(arguments.rounds):
        for way, run in ways.items():
            found[way].append(run(recipe, next(outs)))
            print(f"{name}, round {number + 1}, {way}: {rows / found[way][-1].step:.1f} pictures/s", flush=True)
        apart = {way: unlike(found["first script"][-1], each[-1], check) for way, each in found.items()}
        wrong = {way: each for way, each in apart.items() if each > TOLERANCE}
        if wrong:
            raise SystemExit(f"{name}: the losses of the first {check} steps are not the first script's: {wrong}")
    tokens = found[list(found)[-1]][-1].tokens
    pairs = list(zip(found["first script"], list(found.values())[-1], strict=True))
    return {
        "attention": {kind: round(rows / each, 1) for kind, each in attentions.items()},
        "losses_apart": max(apart.values()),
        "pictures_per_second": {way: round(rows / median(each.step for each in own), 1) for way, own in found.items()},
        "tokens_per_second": round(tokens / median(ours.step for _, ours in pairs)),
        "ratio": round(median(plain.step / ours.step for plain, ours in pairs), 2),
        "ratio_lowest": round(min(plain.step / ours.step for plain, ours in pairs), 2),
        "seconds_before": round(median(ours.before for _, ours in pairs), 2),
        f"ratio_over_{EPOCHS}_epochs": round(
            median(plain.step / (ours.step + ours.before / EPOCHS / steps) for plain, ours in pairs), 2
        ),
        "wait": round(median(ours.wait for _, ours in pairs), 4),
    }


def print_table(name: str, figures: dict[str, Any]) -> None:
    """One setting, each way beside the first script."""
    speeds = figures["pictures_per_second"]
    print(f"\n{name:28} pictures/s  of the first script")
    for way, speed in speeds.items():
        print(f"{way:28} {speed:10.1f}  {speed / speeds['first script']:.2f}")
    for what, value in figures.items():
        if not isinstance(value, dict):
            print(f"{what.replace('_', ' '):28} {value:10.6g}")


def median(values: Any) -> float:
    return statistics.median(values)


def unlike(one: Trained, other: Trained, check: int) -> float:
    """Largest relative difference of the first `check` losses."""
    return max(abs(a - b) / abs(a) for a, b in zip(one.losses[:check], other.losses[:check], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256, help="training rows, a multiple of 16; one epoch a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", type=int, default=8, help="steps whose losses must agree")
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=SETTINGS)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = root / "catalogue"
        shaped_catalogue(data, arguments.rows, SHAPES)
        outs = quiet_out(root)
        for name in arguments.settings:
            recipe = load_recipe("demo", [*COMMON, f"data.path={data}", *SETTINGS[name]])
            figures[name] = compare(name, recipe, outs, arguments)
            print_table(name, figures[name])
    print(json.dumps({"benchmark": "training_step", "environment": environment(), **figures}))


COMMON = [
    "train.epochs=1",
    "train.optimizer=adamw",
    "train.learning_rate=0.004",
    "train.precision=float32",
    "train.flip=false",
    "train.shift=0",
    "train.zoom=0",
    "train.light=0",
    "train.checkpoint_epochs=1000",
    "train.validation_answers=0",
]

if __name__ == "__main__":
    main()
