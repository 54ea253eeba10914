"""Real photos: a demo shop's table fetched, nano trained on it by the recipe `luma`, its test split scored.

    python benchmarks/luma.py --table FOLDER/table_color_variants.csv --work FOLDER

Runs the commands that README shows, each as a process; what is in --work already is used again. Prints what they print
and, last, one JSON line with the scores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from hangtag.catalogue.store import open_catalogue
from hangtag.files import Run, read_json
from hangtag.training.environment import environment

SCORES = ("rows", "answers", "fields", "baselines", "controls")


def hangtag(*words: object) -> float:
    """Run a command; its seconds."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "hangtag", *map(str, words)], check=True)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    catalogue, run = options.work / "catalogue", options.work / "run"
    seconds = {
        "fetch": hangtag("fetch", options.table, catalogue, "--image-column", "image"),
        "train": hangtag("train", "luma", "--set", f"data.path={catalogue}", "--out", run),
        "evaluate": hangtag("evaluate", run),
    }
    metrics = read_json(Run(run).evaluation("test") / "metrics.json")
    found = {"products": len(open_catalogue(catalogue).rows), **{name: metrics[name] for name in SCORES}}
    print(json.dumps({"seconds": seconds, **found, "environment": environment()}))


if __name__ == "__main__":
    main()
