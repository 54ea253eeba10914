"""`hangtag synth` beside the plain way: product after product, picture after picture, in one process.

    python benchmarks/synth.py [--rows 500] [--rounds 5]

Both are whole commands, start-up included, and take turns within a round. The plain one invents, draws, saves and
hashes one product at a time, compares all hashes with all, and writes the table. The pictures and metadata.csv must
be equal byte for byte. Prints a line a round and, last, one JSON line; the ratio is the median over rounds of one
round's times.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from hangtag.catalogue.duplicates import DISTANCE, picture_hash
from hangtag.catalogue.render import render, studio
from hangtag.catalogue.split import assign_splits
from hangtag.catalogue.synth import COLUMNS, invent

SEED, SIDE = 0, 336
HANGTAG = [sys.executable, "-c", "from hangtag.cli import main; main()", "synth"]


def plain(out: Path, rows: int) -> None:
    """The pictures and metadata.csv of an invented catalogue."""
    (out / "images").mkdir(parents=True)
    table, hashes = [], {}
    for number in range(rows):
        look, row = invent(number, SEED)
        picture = render(look, *studio(np.random.default_rng([SEED, number, 1])), SIDE)
        picture.save(out / "drawn.jpg", "JPEG", quality=90)
        name = f"images/{hashlib.sha256((out / 'drawn.jpg').read_bytes()).hexdigest()[:32]}.jpg"
        (out / "drawn.jpg").rename(out / name)
        with Image.open(out / name) as saved:
            hashes[name] = int(picture_hash(saved), 16)
        table.append({"file_name": name, **row})
    names = list(hashes)
    alike = [
        (one, other)
        for at, one in enumerate(names)
        for other in names[:at]
        if (hashes[one] ^ hashes[other]).bit_count() <= DISTANCE
    ]
    for row, split in zip(table, assign_splits(table, seed=SEED, alike=alike), strict=True):
        row["split"] = split
    with (out / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file_name", *COLUMNS, "split"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def contents(out: Path) -> dict[str, bytes]:
    """The pictures and the table."""
    return {path.name: path.read_bytes() for path in [*(out / "images").iterdir(), out / "metadata.csv"]}


def seconds(command: list[str | Path]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(options.plain, options.rows)
        return
    times: dict[str, list[float]] = {"synth": [], "plain": []}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as place:
            fast, slow = Path(place) / "fast", Path(place) / "slow"
            times["synth"].append(seconds([*HANGTAG, fast, "--rows", str(options.rows)]))
            times["plain"].append(seconds([sys.executable, __file__, "--plain", slow, "--rows", str(options.rows)]))
            assert contents(fast) == contents(slow), "the catalogues differ"
        print(f"round {number + 1}: " + ", ".join(f"{name} {each[-1]:.2f} s" for name, each in times.items()))
    ratios = [slow / fast for fast, slow in zip(times["synth"], times["plain"], strict=True)]
    rates = {name: options.rows / statistics.median(each) for name, each in times.items()}
    print(f"{options.rows} products: synth {rates['synth']:.0f} a second, plain {rates['plain']:.0f}; ")
    print(f"plain takes {statistics.median(ratios):.2f} times as long (least {min(ratios):.2f})")

    from hangtag.training.environment import environment

    found = {"rows": options.rows, "ratio": statistics.median(ratios), "least": min(ratios), "per_second": rates}
    print(json.dumps({"benchmark": "synth", "environment": environment(), **found, "seconds": times}))


if __name__ == "__main__":
    main()
