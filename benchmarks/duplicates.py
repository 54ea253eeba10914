"""How far small changes of a photo move its hash, beside how far photos of different things lie apart.

    python benchmarks/duplicates.py TABLE...

Tables have the columns `image`, a path from the table's folder, and `title`: pictures under different titles show
different things. Prints bits out of 256 and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageEnhance

from hangtag.catalogue.duplicates import DISTANCE, picture_hash
from hangtag.training.environment import environment


def saved(image: Image.Image) -> Image.Image:
    """As a poor JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file)


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 2 // 5, image.height * 2 // 5), Image.Resampling.LANCZOS)


def lighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.08)


def cropped(image: Image.Image) -> Image.Image:
    """1 % off each side."""
    wide, high = image.width / 100, image.height / 100
    return image.crop((round(wide), round(high), round(image.width - wide), round(image.height - high)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved": saved, "smaller": smaller, "lighter": lighter, "cropped": cropped
}  # fmt: skip


def bits(one: str, other: str) -> int:
    """How many differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def told(moved: list[int]) -> dict[str, float]:
    """Of bits that differ: the median, the most, and the share of photos within what counts as a near duplicate."""
    near = sum(each <= DISTANCE for each in moved) / len(moved)
    return {"median": statistics.median(moved), "most": max(moved), "near": near}


def photos(tables: list[Path]) -> dict[Path, set[str]]:
    """Pictures and the titles they stand under."""
    found: dict[Path, set[str]] = {}
    for table in tables:
        with open(table, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if (table.parent / row["image"]).is_file():
                    found.setdefault(table.parent / row["image"], set()).add(row["title"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    titles = photos(parser.parse_args().tables)
    hashes: dict[Path, str] = {}
    moved: dict[str, list[int]] = {name: [] for name in CHANGES}
    for path in titles:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        hashes[path] = picture_hash(image)
        for name, change in CHANGES.items():
            moved[name].append(bits(hashes[path], picture_hash(change(image))))
    paths = list(titles)
    apart = [
        bits(hashes[one], hashes[other])
        for place, one in enumerate(paths)
        for other in paths[:place]
        if not titles[one] & titles[other]
    ]
    found = {name: told(each) for name, each in moved.items()}
    for name, facts in found.items():
        print(f"{name:10} {facts['median']:4.0f} bits (median), at most {facts['most']}")
    print(f"of {len(paths)} photos the nearest two of different things lie {min(apart)} bits apart")
    facts = {"photos": len(paths), "moved": found, "nearest": min(apart)}
    print(json.dumps({"benchmark": "duplicates", "environment": environment(), **facts}))


if __name__ == "__main__":
    main()
