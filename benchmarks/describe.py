"""`hangtag describe` on a large catalogue: seconds, memory, and the size of the page.

    python benchmarks/describe.py [--rows 100000]

The table is shop_table.py's. The pictures are a few invented ones under many names; their facts stand in fetched.jsonl
as fetch would have left them (`known`), each with a hash of its own, so that all are compared with all; then there are
no facts and every picture is read (`read`). Prints a line for each and, last, one JSON line.
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

import numpy as np
import shop_table

from hangtag.catalogue.pictures import encode_picture
from hangtag.catalogue.render import render, studio
from hangtag.catalogue.split import assign_splits
from hangtag.catalogue.store import write_catalogue
from hangtag.catalogue.synth import invent
from hangtag.training.environment import environment

PICTURES, SIDE = 200, 336


def make(folder: Path, rows: int, facts: bool) -> None:
    """A catalogue of `rows` rows, each with a picture file of its own."""
    (folder / "images").mkdir(parents=True)
    drawn = []
    for number in range(PICTURES):
        picture = render(invent(number, 0)[0], *studio(np.random.default_rng(number)), SIDE)
        drawn.append(folder / f"drawn{number}.jpg")
        drawn[-1].write_bytes(encode_picture(picture))
    rng = np.random.default_rng(0)
    table, lines = [], [json.dumps({"version": 1, "source": "shop.csv", "max_side": 1024})]
    for number, row in enumerate(shop_table.shop(rows)):
        name = f"images/{number:032x}.jpg"
        source = drawn[number % PICTURES]
        os.link(source, folder / name)
        table.append({"file_name": name, **dict(zip(shop_table.COLUMNS, map(str, row), strict=True))})
        known = {"width": SIDE, "height": SIDE, "bytes": source.stat().st_size, "hash": rng.bytes(32).hex()}
        lines.append(json.dumps({"place": f"https://shop.example/{number}", "file_name": name, **known}))
    for source in drawn:
        source.unlink()
    for row, split in zip(table, assign_splits(table), strict=True):
        row["split"] = split
    write_catalogue(folder, shop_table.COLUMNS, table, [], {"source": "benchmarks/describe.py"})
    if facts:
        (folder / "fetched.jsonl").write_text("\n".join(lines) + "\n")


def describe(rows: int, facts: bool) -> dict[str, float]:
    """Make the catalogue, and the page in a process of its own: seconds, most memory of it, the page's size."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "catalogue"
        make(folder, rows, facts)
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "hangtag", "describe", str(folder)])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit("hangtag describe failed")
        page = (folder / "description.html").stat().st_size / 1e6
        return {"seconds": time.monotonic() - started, "megabytes": usage.ru_maxrss / 1e3, "page_megabytes": page}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    found = {name: describe(rows, facts) for name, facts in (("known", True), ("read", False))}
    for name, each in found.items():
        print(f"{rows:,} rows, pictures {name}: {each['seconds']:.0f} s, {each['megabytes']:.0f} MB at most")
    print(json.dumps({"benchmark": "describe", "environment": environment(), "rows": rows, **found}))


if __name__ == "__main__":
    main()
