"""All that `hangtag predict` does beside plain ways to the same, from the same files, nano on a CPU.

    python benchmarks/predict.py RUN [--data DATA] [--rows 1024] [--plain 48] [--rounds 5] [--batch-size 64]

`predict`    pictures read, answers held to the schema, confidences and a price's distribution and interval: records
`plain`      the same for one picture after another, in one process, by forward passes over whole sequences (plain.py)
`single`     the same for one picture after another, by the fast code
`generate`   a first script: transformers' `generate`, greedy, one picture after another: texts and nothing else
They take turns within a round; texts must be equal, confidences and intervals to three digits. Loading the model is
not counted. Prints a line a round and a JSON line; a ratio is the median over rounds of one round's times.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

from evaluation import plain_answers, timed
from plain import plain_tag

from hangtag.catalogue import open_catalogue
from hangtag.catalogue.pictures import read_picture
from hangtag.prediction.inputs import Choice, open_inputs
from hangtag.prediction.loading import load
from hangtag.prediction.predict import Job
from hangtag.prediction.processes import all_records, useful_processes
from hangtag.training.environment import environment


def alike(one: Any, other: Any) -> bool:
    """Equal, numbers to three digits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-6) if isinstance(one, float) else one == other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--plain", type=int, default=48, help="pictures that the plain path writes about")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int)
    options = parser.parse_args()
    tagger = load(options.run, options.batch_size)
    catalogue = open_catalogue(options.data or tagger.recipe.data.path)
    rows = catalogue.split("test") + catalogue.split("validation") + catalogue.split("train")
    files = [str(catalogue.image_path(row)) for row in rows[: options.rows]]
    job = Job(options.run, open_inputs(files, Choice()), batch_size=options.batch_size)
    windows = job.windows()
    few = files[: options.plain]
    plain_answers(tagger, few[:2])
    result: dict[str, list[float]] = {name: [] for name in ("predict", "plain", "single", "generate")}
    for number in range(options.rounds):
        quick, records = timed(lambda: [each for window in all_records(tagger, job, windows) for each in window])
        plain, tags = timed(lambda: [plain_tag(tagger, read_picture(Path(each))) for each in few])
        single, same = timed(lambda: [tagger.tags([each])[0] for each in few])
        generate, texts = timed(lambda: plain_answers(tagger, few))
        assert not any(each["error"] for each in records)
        for record, text, *others in zip(records, texts, tags, same, strict=False):
            assert record["raw"] == text, "held and plain answers differ"
            for tag in others:
                assert all(alike(tag.record()[name], record[name]) for name in tag.record()), "tags differ"
        result["predict"].append(1e3 * quick / len(files))
        for name, seconds in (("plain", plain), ("single", single), ("generate", generate)):
            result[name].append(1e3 * seconds / len(few))
        print(
            f"round {number + 1}:", ", ".join(f"{name} {each[-1]:.2f}" for name, each in result.items()), "ms a picture"
        )
    ratios = {
        name: [slow / quick for slow, quick in zip(result[name], result["predict"], strict=True)]
        for name in ("plain", "single", "generate")
    }
    for name, each in ratios.items():
        print(f"{name} takes {statistics.median(each):.1f} times as long as predict (least {min(each):.1f})")
    print(
        json.dumps(
            {
                **{f"{name}_ratio": statistics.median(each) for name, each in ratios.items()},
                **{f"{name}_ms": statistics.median(each) for name, each in result.items()},
                "rows": len(files),
                "processes": useful_processes(tagger, len(windows)),
                "rounds": result,
                "environment": environment(),
            }
        )
    )


if __name__ == "__main__":
    main()
