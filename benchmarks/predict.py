"""All that `hangtag predict` does beside writing one text after another, from the same files, nano on a CPU.

    python benchmarks/predict.py RUN [--data DATA] [--rows 1024] [--plain 48] [--rounds 5] [--batch-size 64]

`predict`    pictures read, answers held to the schema, confidences and a price's distribution and interval: records
`plain`      a first script: transformers' `generate`, greedy, one picture at a time: texts
The two take turns within a round; the texts of the same pictures must be equal. Loading the model is not counted.
Prints a line a round and a JSON line; the ratio is the median over rounds of one round's times.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from evaluation import plain_answers, timed

from hangtag.catalogue import open_catalogue
from hangtag.prediction.inputs import Choice, open_inputs
from hangtag.prediction.loading import load
from hangtag.prediction.predict import Job
from hangtag.prediction.processes import all_records, useful_processes
from hangtag.training.environment import environment


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
    plain_answers(tagger, files[:2])
    result: dict[str, list[float]] = {"predict": [], "plain": [], "ratio": []}
    for _ in range(options.rounds):
        quick, records = timed(lambda: [each for window in all_records(tagger, job, windows) for each in window])
        slow, texts = timed(lambda: plain_answers(tagger, files[: options.plain]))
        assert [each["raw"] for each in records[: options.plain]] == texts, "held and plain answers differ"
        assert not any(each["error"] for each in records)
        result["predict"].append(1e3 * quick / len(files))
        result["plain"].append(1e3 * slow / options.plain)
        result["ratio"].append(result["plain"][-1] / result["predict"][-1])
        print("  ".join(f"{name} {each[-1]:.2f}" for name, each in result.items()) + "  (ms a picture, times)")
    print(
        json.dumps(
            {
                "ratio": statistics.median(result["ratio"]),
                "least": min(result["ratio"]),
                **{f"{name}_ms": statistics.median(result[name]) for name in ("predict", "plain")},
                "rows": len(files),
                "processes": useful_processes(tagger, len(windows)),
                "rounds": result,
                "environment": environment(),
            }
        )
    )


if __name__ == "__main__":
    main()
