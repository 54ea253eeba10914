"""Everything that is claimed of a GPU, in one command of at most 8 minutes: training, prediction, context, loading.

    python benchmarks/gpu.py [--device auto] [--seconds 430] [--parts training prediction context loading]

Makes a base of Phi-3.5-vision's numbers with random weights in bfloat16 and an invented catalogue with pictures of
usual shapes, then runs each part as a process of its own (gpu_training.py and so on, see their --help); nothing is
fetched. On a machine without a GPU the same runs with a tiny base in float32, which tests the program and measures
nothing. What there is no time or no library for is left out and named. Prints a table and, last, one JSON line; ends
with 1 where a part failed or its results differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from gpu_common import (
    Deadline,
    Machine,
    even_answers,
    make_base,
    make_catalogue,
    measured_copy,
    measured_peak,
    recipe_of,
)
from gpu_training import ROWS, SETTINGS
from transformers import AutoProcessor
from transformers.utils import logging

from hangtag.training.environment import environment

HERE = Path(__file__).parent
SHARES = {"loading": 0.1, "training": 0.55, "prediction": 0.25, "context": 0.1}
"""Of the time; what a part leaves over goes to those after it."""
GRACE = 45
"""Seconds after its time at which a part is killed; what it has told by then is kept."""


def make(work: Path, machine: Machine) -> dict[str, float]:
    """WORK's base and catalogue; the seconds they took."""
    started = time.monotonic()
    texts = make_catalogue(work / "catalogue", ROWS[machine.gpu], 1024 if machine.gpu else 128)
    drawn = time.monotonic()
    make_base(work / "base", machine, texts)
    recipe = recipe_of("lora-24gb", work / "base", work / "catalogue", [])
    even_answers(work / "catalogue", AutoProcessor.from_pretrained(work / "base"), recipe)
    return {"catalogue": drawn - started, "base": time.monotonic() - drawn}


def run(part: str, work: Path, device: str, seconds: float, only: list[str]) -> dict[str, Any]:
    """One part's result, with its exit status where that is not 0."""
    line = [sys.executable, str(HERE / f"gpu_{part}.py"), str(work), "--device", device, "--seconds", f"{seconds:.0f}"]
    line += ["--only", *only] if part == "training" else []
    print(f"\n== {part}, {seconds:.0f} s", flush=True)
    found: dict[str, Any] = {}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(seconds + GRACE, process.kill)
        watchdog.start()
        for text in process.stdout:
            if text.startswith("{"):  # what there is so far; the last one counts
                found = json.loads(text)
            else:
                print(text[:200].rstrip(), flush=True)
        process.wait()
        watchdog.cancel()
    return found | ({"exit": process.returncode} if process.returncode or not found else {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--seconds", type=float, default=430, help="in all; what there is no time for is left out")
    parser.add_argument("--parts", nargs="*", choices=SHARES, default=list(SHARES))
    parser.add_argument("--only", nargs="*", choices=SETTINGS, default=list(SETTINGS), help="settings of training")
    parser.add_argument("--work", type=Path, help="where 25 GB may lie for the time; by default a temporary folder")
    options = parser.parse_args()
    logging.disable_progress_bar()
    machine, deadline = Machine.found(options.device), Deadline.within(options.seconds)
    found: dict[str, Any] = {"device": machine.device.type}
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        found["limits"] = {"operations": measured_peak(machine), "copy": measured_copy(machine)}
        found["made"] = make(work, machine)
        if machine.gpu:
            machine.forget_peak()
        for place, part in enumerate(options.parts):
            share = SHARES[part] / sum(SHARES[each] for each in options.parts[place:])
            found[part] = run(part, work, machine.device.type, deadline.left * share, options.only)
    limits = found["limits"]
    print(f"\npeak {limits['operations'] / 1e12:.3g} TFLOP/s, copies {limits['copy'] / 1e9:.3g} GB/s")
    failed = [part for part in options.parts if "exit" in found[part]]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    print(json.dumps({"benchmark": "gpu", "environment": environment(), **found}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
