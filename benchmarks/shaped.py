"""An invented catalogue of training rows whose pictures have several shapes. No program: others measure on it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from hangtag.catalogue.synth import synthesise

Row = dict[str, str]


def shaped_catalogue(folder: Path, rows: int, shapes: Sequence[tuple[int, int]], side: int = 336) -> list[Row]:
    """Write the catalogue; its table.

    Args:
        shapes: width to height, of one picture after another.
        side: of the longer side, in pixels.
    """
    synthesise(folder, rows=rows, seed=0, size=side)
    table = read_table(folder)
    for number, row in enumerate(table):
        wide, high = shapes[number % len(shapes)]
        with Image.open(folder / row["file_name"]) as image:
            width, height = (image.width * each // max(wide, high) for each in (wide, high))
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image.crop((left, top, left + width, top + height)).save(folder / row["file_name"], quality=92)
        row["split"] = "train"
    write_table(folder, table)
    return table


def read_table(folder: Path) -> list[Row]:
    with open(folder / "metadata.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(folder: Path, table: Sequence[Row]) -> None:
    with open(folder / "metadata.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
