"""Writing answers in batches beside one picture at a time; a price's distribution by expansion beside sampling.

    python benchmarks/evaluation.py RUN [--data DATA] [--plain 64] [--rounds 3] [--sampled 96]

`generate`   the same pictures by the tagger's batches and by the plain path (transformers' `generate`, one picture at a
             time), in turn within each round; greedy answers must be equal
`numbers`    for each field that is a number: expansion with several numbers of nodes and prefixes, and 32 samples of
             whole answers (`generate` with do_sample and num_return_sequences): seconds more than greedy answers,
             continuous ranked probability score, errors of the estimate that minimises SMAPE, on the test rows
`evaluate`   the whole of `hangtag evaluate` without its page
Prints tables and a JSON line; a ratio is the median over rounds of one round's times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hangtag.catalogue import open_catalogue
from hangtag.evaluation.evaluate import evaluate
from hangtag.evaluation.splits import Split, read_split
from hangtag.prediction.loading import load
from hangtag.prediction.tagger import Tagger
from hangtag.reading import Distribution
from hangtag.training.environment import environment

NODES = ((48, 1), (48, 2), (24, 4), (48, 4), (96, 8))
SAMPLES = 32


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.monotonic()
    found = work()
    return time.monotonic() - started, found


def plain_answers(tagger: Tagger, images: Sequence[Any]) -> list[str | None]:
    """What a first script does: read, prepare and generate one picture after another."""
    found: list[str | None] = []
    ends = tagger.model.generation_config.eos_token_id
    for path in images:
        prompt = tagger.chat.prompt(1)
        inputs = tagger.processor(text=prompt, images=Image.open(path).convert("RGB"), return_tensors="pt")
        with torch.inference_mode():
            ids = tagger.model.generate(**inputs, do_sample=False)[0, inputs["input_ids"].shape[1] :].tolist()
        end = next((place for place, token in enumerate(ids) if token in ends), None)
        found.append(None if end is None else tagger.processor.tokenizer.decode(ids[:end]).strip())
    return found


def compare_generation(tagger: Tagger, images: Sequence[Any], plain: int, rounds: int) -> dict[str, Any]:
    ratios, batched, alone = [], [], []
    for _ in range(rounds):
        quick, answers = timed(lambda: tagger.answers(images))
        slow, expected = timed(lambda: plain_answers(tagger, images[:plain]))
        assert answers[:plain] == expected, "batched and plain answers differ"
        batched.append(quick / len(images))
        alone.append(slow / plain)
        ratios.append(alone[-1] / batched[-1])
    print(f"generate: {1e3 * statistics.median(batched):.1f} ms a picture in batches of {tagger.batch_size}, ", end="")
    print(
        f"{1e3 * statistics.median(alone):.1f} alone: {statistics.median(ratios):.1f} times (least {min(ratios):.1f})"
    )
    return {"batched": batched, "plain": alone, "ratio": statistics.median(ratios), "least": min(ratios)}


def crps(found: Distribution, truth: float) -> float:
    """E|X - truth| - E|X - X'| / 2 (Gneiting and Raftery, 2007); in the number's own unit, 0 is best."""
    apart = np.abs(found.values[:, None] - found.values) @ found.weights
    return float(found.weights @ (np.abs(found.values - truth) - apart / 2))


def sampled(tagger: Tagger, rows: Split, name: str) -> list[Distribution]:
    """The number in SAMPLES whole answers a row, title and category drawn anew each time; unreadable ones left out."""
    found = []
    torch.manual_seed(0)
    for start in range(0, len(rows.images), 8):
        inputs = tagger._inputs([[Image.open(each).convert("RGB")] for each in rows.images[start : start + 8]])
        with torch.inference_mode():
            ids = tagger.model.generate(**inputs, do_sample=True, top_k=0, num_return_sequences=SAMPLES)
        texts = tagger.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for row in range(0, len(texts), SAMPLES):
            answers = [tagger.recipe.task.template.read(text) for text in texts[row : row + SAMPLES]]
            values, counts = np.unique([each[name] for each in answers if each], return_counts=True)
            found.append(Distribution(values, counts / counts.sum()))
    return found


def compare_distributions(tagger: Tagger, rows: Split, name: str) -> list[dict[str, Any]]:
    truth = np.array([each[name] for each in rows.truths], float)
    greedy, _ = timed(lambda: tagger.answers(rows.images))
    table = []

    def note(way: str, seconds: float, found: Sequence[Distribution]) -> None:
        error = np.abs(np.array([each.best("smape") for each in found]) - truth)
        table.append(
            {
                "way": way,
                "seconds_more": round(seconds - greedy, 2),
                "crps": round(float(np.mean([crps(*each) for each in zip(found, truth, strict=True)])), 2),
                "mae": round(float(error.mean()), 2),
                "median_ape": round(float(np.median(error / np.maximum(np.abs(truth), 0.01))), 4),
            }
        )
        print("  ".join(f"{key} {value}" for key, value in table[-1].items()))

    for nodes, beams in NODES:
        tagger.judge = tagger.judge_with(nodes, beams)
        seconds, readings = timed(lambda: tagger.readings(rows.images))
        note(f"{nodes} nodes on {beams} prefixes", seconds, [each.numbers[name] for each in readings])
    tagger.judge = tagger.judge_with()
    seconds, found = timed(lambda: sampled(tagger, rows, name))
    note(f"{SAMPLES} samples", seconds + greedy, found)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--plain", type=int, default=64, help="pictures that the plain path writes about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sampled", type=int, default=96, help="rows whose distributions are compared")
    options = parser.parse_args()
    tagger = load(options.run)
    recipe = tagger.recipe
    catalogue = open_catalogue(options.data or recipe.data.path)
    rows = read_split(catalogue, "test", recipe.task.template, recipe.data.pictures)
    result: dict[str, Any] = {"generate": compare_generation(tagger, rows.images, options.plain, options.rounds)}
    few = Split(*(getattr(rows, name)[: options.sampled] for name in ("files", "truths", "images", "reasons")))
    for name, kind in recipe.task.fields.items():
        if kind == "number":
            print(f"{name}, {len(few.truths)} rows:")
            result[name] = compare_distributions(tagger, few, name)
    seconds = []
    for _ in range(options.rounds):
        spent, _ = timed(lambda: evaluate(tagger, catalogue, "test", recipe.task.template))
        seconds.append(spent)
    print(f"evaluate: {len(rows.truths)} test rows, controls, baselines, distributions: "
          f"{statistics.median(seconds):.1f} s (most {max(seconds):.1f})")  # fmt: skip
    print(json.dumps(result | {"evaluate": seconds, "environment": environment()}))


if __name__ == "__main__":
    main()
