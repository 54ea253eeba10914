"""Where in a picture each field came from: patches are hidden, one after another, and the model is asked again.

What counts is how much less likely the model then finds the value it first wrote, behind what it now writes before it:
a category follows from the title, so with the written title kept in its place hardly any patch would matter for it
(docs/log.md). No gradients: a model in bfloat16 or four bits, and one with adapters, is asked like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hangtag.prediction.decoder import Decoder, run
from hangtag.prediction.nodes import Task
from hangtag.prediction.tag import Tag
from hangtag.prediction.tagger import Tagger

ALL = "all"
CELLS = 64
"""About so many cells a picture has."""
LEAST = 1.0
"""A drop in log probability below which no cell is at full heat: then no single place decides."""
_AT_ONCE = 8
"""Pictures that are begun in one step: others wait for as long as that takes."""
_MOST_ALONG, _LEAST_ALONG = 16, 2
_GONE = 4.0
"""A drop as good as any larger one: 2 % of what it was. Else one cell would outshine all others (docs/log.md)."""
_IMPOSSIBLE = -30.0


@dataclass(frozen=True)
class Heat:
    """A map of `rows` x `columns` cells over the whole upright picture for each field, and one for all: 0 to 1."""

    rows: int
    columns: int
    fields: dict[str, NDArray[np.float64]]

    def record(self) -> dict[str, Any]:
        """As JSON holds it: {"rows", "columns", "fields": {name: rows of numbers}}, all fields together as "all"."""
        maps = {name: [[round(each, 4) for each in row] for row in heat.tolist()] for name, heat in self.fields.items()}
        return {"rows": self.rows, "columns": self.columns, "fields": maps}


def heat(tagger: Tagger, picture: Image.Image, tag: Tag) -> Heat | None:
    """The heat of a tag that was written for an upright RGB picture; None where the tag has no fields.

    It takes about CELLS answers' time.
    """
    decoder = tagger.decoder()
    steps = heating(tagger, decoder, picture, tag)
    values: list[dict[str, float]] | None = None
    try:
        while True:
            tasks = next(steps) if values is None else steps.send(values)
            run(decoder, tasks)
            values = [task.value for task in tasks]
            for task in tasks:
                decoder.drop(task.row)
    except StopIteration as done:
        found: Heat | None = done.value
        return found


def heating(
    tagger: Tagger, decoder: Decoder, picture: Image.Image, tag: Tag, gone: Callable[[], bool] = lambda: False
) -> Generator[list[Task[dict[str, float]]], list[dict[str, float]], Heat | None]:
    """As `heat`, a few pictures at a time: gives their tasks, is sent what they come to.

    None, too, where it is `gone`: nobody waits for it any more.
    """
    values = (tag.raw and tagger.recipe.task.template.read(tag.raw)) or tag.fields
    if values is None:
        return None
    rows, columns = grid(*picture.size)
    shown, found = hidden(picture, rows, columns), []
    for size in _batch_sizes(1 + rows * columns, min(_AT_ONCE, tagger.batch_size)):
        if gone():
            return None
        found += yield tagger.judging([[next(shown)] for _ in range(size)], [values] * size, decoder)
    log_probs_NF = np.array([[max(each.get(name, _IMPOSSIBLE), _IMPOSSIBLE) for name in values] for each in found])
    drops_FRC = (log_probs_NF[0] - log_probs_NF[1:]).clip(-_GONE, _GONE).T.reshape(-1, rows, columns)
    maps = {name: _scaled(drop_RC) for name, drop_RC in zip(values, drops_FRC, strict=True)}
    return Heat(rows, columns, {**maps, ALL: _scaled(drops_FRC.sum(0))})


def grid(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of about CELLS cells that are nearly square."""
    rows = _along(math.sqrt(CELLS * height / width))
    return rows, _along(CELLS / rows)


def _along(wanted: float) -> int:
    return min(max(round(wanted), _LEAST_ALONG), _MOST_ALONG)


def hidden(picture: Image.Image, rows: int, columns: int) -> Iterator[Image.Image]:
    """The picture, and then, row by row, the picture with each cell and half of its neighbours in its mean colour."""
    yield picture
    red, green, blue = (round(each) for each in np.asarray(picture).reshape(-1, 3).mean(0).tolist())
    wide, high = picture.width / columns, picture.height / rows
    for row in range(rows):
        for column in range(columns):
            left, top = round((column - 0.5) * wide), round((row - 0.5) * high)
            right, bottom = round((column + 1.5) * wide), round((row + 1.5) * high)
            shown = picture.copy()
            shown.paste((red, green, blue), (max(left, 0), max(top, 0), right, bottom))
            yield shown


def _batch_sizes(count: int, most: int) -> Iterator[int]:
    yield from (min(most, count - start) for start in range(0, count, most))


def _scaled(drop_RC: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(drop_RC, 0, None) / max(float(drop_RC.max()), LEAST))
