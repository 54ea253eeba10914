"""The demo by stage: a catalogue invented, nano trained on it, its test split evaluated and the report written.

    python benchmarks/demo.py [--out FOLDER] [--rows 3040] [--seed 0]

Runs `hangtag demo`'s own code once; with --out, what an earlier one left there is used again, and its stages then tell
how long that took. Prints each stage's seconds and, last, one JSON line with the run's scores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hangtag.demo import run_demo
from hangtag.files import Run, read_json
from hangtag.progress import Progress
from hangtag.training.environment import environment


@contextmanager
def silent(title: str) -> Iterator[Progress]:
    yield lambda done, total, note="": None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", type=int, default=3040)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "demo"
        done = run_demo(out, options.rows, options.seed, [], silent, lambda line: None)
        metrics = read_json(Run(out).evaluation("test") / "metrics.json")
    for stage, seconds in done.seconds.items():
        print(f"{stage:<10} {seconds:6.1f} s")
    scores = {
        name: metrics[name] for name in ("rows", "answers", "fields", "baselines", "controls", "limit", "estimates")
    }
    print(
        json.dumps({"seconds": done.seconds, **scores, "intervals": metrics["intervals"], "environment": environment()})
    )


if __name__ == "__main__":
    main()
