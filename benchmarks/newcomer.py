"""What a newcomer waits for: `make setup`, `make demo` and `make test` in a fresh clone.

    python benchmarks/newcomer.py [--only setup demo test]

Clones the repository as it was last committed into a temporary folder, and runs each command there one after another,
as the README tells it; pip's cache is used where there is one. Prints a table and, last, one JSON line with seconds;
ends with 1 where a command fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hangtag.training.environment import environment

COMMANDS = ("setup", "demo", "test")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=COMMANDS, default=COMMANDS)
    options = parser.parse_args()
    seconds: dict[str, float] = {}
    clean = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "hangtag"
        subprocess.run(["git", "clone", "--quiet", Path(__file__).parents[1], clone], check=True)
        for command in options.only:
            started = time.monotonic()
            done = subprocess.run(["make", command], cwd=clone, env=clean, stdout=subprocess.PIPE, text=True)
            seconds[command] = time.monotonic() - started
            print(f"make {command}: {seconds[command]:.0f} s, exit {done.returncode}", flush=True)
            if done.returncode:
                print(done.stdout[-3000:], file=sys.stderr)
                return 1
    print(json.dumps({"benchmark": "newcomer", "environment": environment(), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
