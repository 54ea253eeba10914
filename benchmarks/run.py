"""The benchmarks, one after another; what each found is written to benchmarks/results/.

    python benchmarks/run.py [GROUP or NAME ...] [--results FOLDER] [--work FOLDER] [--data FOLDER]

Groups: `cpu` (the default), in under 15 minutes on two cores; `growth`, how cost grows with pictures, tokens and
processes; `long`, what takes minutes each; `gpu`, on a GPU. Each benchmark is a program of its own (see its --help) and
runs as a process; its last line, a JSON object, becomes results/NAME.json beside what it ran on and with. Those that
need a trained run get the one that `demo` made in --work, anew; those that need real tables find them in --data. One
that fails, or whose results differ, leaves its file as it was and ends this with 1, behind the others.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hangtag.files import write_json
from hangtag.machine import memory
from hangtag.training.environment import environment

HERE = Path(__file__).parent
RUN, WORK, DATA = "{run}", "{work}", "{data}"
CPU: dict[str, list[str]] = {
    "demo": ["--out", RUN],
    "startup": [],
    "image_processor": ["--pictures", "8", "--repeats", "5"],
    "training_step": ["--rounds", "5", "--rows", "160"],
    "evaluation": [RUN, "--rounds", "5", "--plain", "48", "--sampled", "48"],
    "predict": [RUN, "--rounds", "5"],
    "serve": [RUN, "--rounds", "5", "--seconds", "3"],
    "packed_attention": ["--rounds", "5", "--sizes", "nano"],
    "synth": [],
    "fetch_plain": [],
}
GROWTH: dict[str, list[str]] = {
    "growth_pictures": ["--run", RUN, "--work", WORK],
    "growth_tokens": [],
}
LONG: dict[str, list[str]] = {
    "fetch": ["--work", f"{WORK}/fetch"],
    "audit": ["--work", WORK + "/audit", "--seeds", "2"],
    "luma": ["--table", DATA + "/luma/table_color_variants.csv", "--work", WORK + "/luma"],
    "duplicates": [DATA + "/luma/table_color_variants.csv", DATA + "/eshop/table.csv"],
    "heat": [RUN],
    "synth_like": [DATA + "/luma/table_color_variants.csv", DATA + "/eshop/table.csv", "--shop-rows", "6000"],
    "describe": [],
    "full_size": ["both", WORK + "/full-size", "--cold"],
    "export": ["--work", WORK + "/export", "--layers", "4", "--rows", "4"],
    "answer_logits": ["--rounds", "5"],
    "vision_cache": ["--clip-l", "1", "--rounds", "5"],
    "newcomer": [],
}
GPU: dict[str, list[str]] = {"gpu": ["--device", "cuda"]}
GROUPS = {"cpu": CPU, "growth": GROWTH, "long": LONG, "gpu": GPU}
PROGRAMS = CPU | GROWTH | LONG | GPU
MADE = {"demo": ["demo", "demo-catalogue"], "audit": ["audit"], "luma": ["luma"], "export": ["export"]}
"""Folders of --work that a program would use again: they are removed first, so that all its work is measured."""


def run(name: str, folders: dict[str, Path]) -> tuple[dict[str, Any], float]:
    """What a program found, and the seconds it took.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    for made in MADE.get(name, ()):
        shutil.rmtree(folders["work"] / made, ignore_errors=True)
    arguments = [each.format_map(folders) for each in PROGRAMS[name]]
    print(f"\n== {name} {' '.join(arguments)}", flush=True)
    started, last = time.monotonic(), ""
    line = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for last in process.stdout:
            print(last[:200].rstrip(), flush=True)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, name)
    found: dict[str, Any] = json.loads(last)
    return found, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=["cpu"], help=", ".join([*GROUPS, *PROGRAMS]))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="a folder with luma/ and eshop/")
    options = parser.parse_args()
    names = [name for each in options.names for name in GROUPS.get(each, [each])]
    if unknown := [name for name in names if name not in PROGRAMS]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join([*GROUPS, *PROGRAMS])}")
    folders = {"run": options.work / "demo", "work": options.work, "data": options.data}
    options.results.mkdir(parents=True, exist_ok=True)
    options.work.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        try:
            found, seconds = run(name, folders)
        except (subprocess.CalledProcessError, json.JSONDecodeError) as error:
            print(f"{name} failed: {error}", file=sys.stderr)
            failed.append(name)
            continue
        hardware = found.pop("environment", None) or environment()
        write_json(
            options.results / f"{name}.json",
            {
                "program": f"benchmarks/{name}.py",
                "arguments": [each.format(run="RUN", work="WORK", data="DATA") for each in PROGRAMS[name]],
                "when": datetime.now(UTC).strftime("%Y-%m-%d"),
                "seconds": round(seconds, 1),
                "hardware": {"cores": len(os.sched_getaffinity(0)), "memory": memory(), **hardware},
                "found": found,
            },
        )
        print(f"{name}: {seconds:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
