"""How long the command takes before it does anything, beside the bare interpreter and beside importing transformers.

    python benchmarks/startup.py [--rounds 9]

`python`         an interpreter that does nothing
`help`           `hangtag --help`
`wrong`          `hangtag predict` of a folder that is none: the whole way to an error that needs no model
`transformers`   an interpreter that imports torch and transformers, as every command that computes must
Processes, in turn within a round, after one round that does not count. Prints a table and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from hangtag.training.environment import environment

COMMANDS = {
    "python": ["-c", ""],
    "help": ["-m", "hangtag", "--help"],
    "wrong": ["-m", "hangtag", "predict", "/nowhere/at/all", "photo.jpg"],
    "transformers": ["-c", "import torch, transformers"],
}


def seconds(arguments: list[str]) -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    assert (
        b"hangtag demo" in subprocess.run([sys.executable, *COMMANDS["help"]], capture_output=True, check=True).stdout
    )
    rounds = [{name: seconds(each) for name, each in COMMANDS.items()} for _ in range(options.rounds + 1)][1:]
    found = {name: statistics.median(each[name] for each in rounds) for name in COMMANDS}
    for name, each in found.items():
        print(f"{name:<14} {1e3 * each:7.0f} ms")
    ratio = statistics.median(each["transformers"] / each["help"] for each in rounds)
    print(f"importing transformers takes {ratio:.1f} times as long as --help")
    print(json.dumps({"seconds": found, "ratio": ratio, "rounds": rounds, "environment": environment()}))


if __name__ == "__main__":
    main()
