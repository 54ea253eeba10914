"""Pictures that must not help: another row's, and a blank one. A model that reads its picture does badly on both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hangtag.answer import Kind
from hangtag.evaluation.bootstrap import Column, percentiles
from hangtag.evaluation.metrics import MAIN_METRIC

GREY = (128, 128, 128)


def derangement(files: Sequence[str], seed: int) -> NDArray[np.int64] | None:
    """For each row the row whose picture it gets: a permutation in which no row gets its own file.

    Rows are put in random order with equal files side by side, then moved on by the largest group's size,
    which carries every row out of its group. None where one file holds more than half of the rows, since then
    there is no such permutation.
    """
    sizes = Counter(files)
    largest = max(sizes.values())
    if 2 * largest > len(files):
        return None
    generator = np.random.default_rng(seed)
    place_of_file = dict(zip(sizes, generator.permutation(len(sizes)), strict=True))
    order = np.lexsort((generator.random(len(files)), [place_of_file[file] for file in files]))
    source = np.empty(len(files), np.int64)
    source[order] = np.roll(order, -largest)
    return source


def blank_picture(size: tuple[int, int]) -> Image.Image:
    """A plain mid-grey RGB picture of `size` (width, height)."""
    return Image.new("RGB", size, GREY)


def picture_use(
    fields: Mapping[str, Kind],
    true: Mapping[str, Mapping[str, Column]],
    shuffled: Mapping[str, Mapping[str, Column]] | None,
    seed: int,
) -> str:
    """One sentence on whether the picture is used, and by how much.

    A field shows use where the 95 % interval of the difference between true and shuffled pictures, paired by row,
    lies on the good side of zero. `true` and `shuffled` hold each field's columns of `field_rows`.
    """
    if shuffled is None:
        return "Whether the picture is used cannot be told: one picture belongs to more than half of the rows."
    used: list[str] = []
    unused: list[str] = []
    for name, kind in fields.items():
        metric = MAIN_METRIC[kind]
        before, after = (metric.score(dict(rows[name]), seed)["value"] for rows in (true, shuffled))
        change = metric.replicates(dict(true[name]), seed) - metric.replicates(dict(shuffled[name]), seed)
        low, _ = percentiles(change if metric.higher_is_better else -change)
        shift = (
            f"{name} ({metric.label} {metric.show(before)} with the true picture, {metric.show(after)} with another's)"
        )
        (used if low > 0 else unused).append(shift)
    if not used:
        return f"The picture is not shown to be used: {', '.join(unused)}."
    rest = f"; it is not shown to be used for {', '.join(unused)}" if unused else ""
    return f"The picture is used for {', '.join(used)}{rest}."
