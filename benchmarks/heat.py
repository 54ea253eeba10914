"""Does the server's heat lie where the tag was read? A fifth of each picture is hidden with grey: the hottest, the
coldest, one at random.

    python benchmarks/heat.py RUN [--data DATA] [--pictures 64]

What counts is by how much the log probability of the values that were written falls, all fields together, a mean over
test pictures. Prints it and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hangtag.catalogue import open_catalogue
from hangtag.catalogue.pictures import read_picture
from hangtag.prediction.loading import load
from hangtag.serving.heat import ALL, heat
from hangtag.training.environment import environment

SHARE = 5
IMPOSSIBLE = -30.0
GREY = (128, 128, 128)


def fifths(heat_RC: NDArray[np.float64], random: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    """Places of cells, row by row."""
    order, count = np.argsort(-heat_RC.ravel(), kind="stable"), heat_RC.size // SHARE
    return {"hottest": order[:count], "random": random.permutation(order)[:count], "coldest": order[-count:]}


def hidden(picture: Image.Image, cells: NDArray[np.int64], rows: int, columns: int) -> Image.Image:
    """The picture with some cells in grey."""
    shown, wide, high = picture.copy(), picture.width / columns, picture.height / rows
    for row, column in (divmod(int(cell), columns) for cell in cells):
        ends = (column * wide, row * high, (column + 1) * wide, (row + 1) * high)
        shown.paste(GREY, tuple(map(round, ends)))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pictures", type=int, default=64)
    options = parser.parse_args()
    tagger, random = load(options.run), np.random.default_rng(0)
    catalogue = open_catalogue(options.data or tagger.recipe.data.path)
    pictures = [read_picture(catalogue.image_path(row)) for row in catalogue.split("test")[: options.pictures]]
    falls: dict[str, list[float]] = {}
    for picture, tag in zip(pictures, tagger.tags(pictures), strict=True):
        found = heat(tagger, picture, tag)
        if found is None or tag.fields is None:
            continue
        ways = fifths(found.fields[ALL], random)
        shown = [picture, *(hidden(picture, cells, found.rows, found.columns) for cells in ways.values())]
        judged = tagger.log_probs_of(shown, [tag.fields] * len(shown))
        whole, *less = (sum(max(each.get(name, IMPOSSIBLE), IMPOSSIBLE) for name in tag.fields) for each in judged)
        for way, each in zip(ways, less, strict=True):
            falls.setdefault(way, []).append(whole - each)
    for way, each in falls.items():
        print(f"{way:8} fifth hidden: {np.mean(each):.1f} nats less")
    nats = {way: float(np.mean(each)) for way, each in falls.items()}
    facts = {"pictures": len(falls["hottest"]), "nats": nats}
    print(json.dumps({"benchmark": "heat", "environment": environment(), **facts}))


if __name__ == "__main__":
    main()
