"""Asking a model about pictures, batch by batch: each thing shown once, progress told, answers kept in a journal."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hangtag.answer import Value
from hangtag.evaluation.journal import Journal
from hangtag.progress import Progress
from hangtag.reading import Reading

Picture = Path | Image.Image
Shown = Picture | tuple[Picture, ...]

AT_ONCE = 64
"""Things shown in one call; batches are cut the same way each time, since rounding depends on who is beside whom."""


class Answerer(Protocol):
    """Writes an answer's text for each picture, or for each row of several or none; None where it never ended."""

    def answers(self, images: Sequence[Shown], progress: Progress | None = None) -> list[str | None]: ...


@runtime_checkable
class Estimator(Protocol):
    """Tells what it holds likely besides what it writes. An answerer that is one gets distributions and confidence."""

    def readings(
        self,
        images: Sequence[Shown],
        progress: Progress | None = None,
        truths: Sequence[Mapping[str, Value]] | None = None,
    ) -> list[Reading]: ...


@runtime_checkable
class Reader(Protocol):
    """Turns what is shown into features [n, d]. An answerer that is one gets the nearest-neighbour baseline."""

    def features(self, images: Sequence[Shown]) -> NDArray[Any]: ...


class Asker:
    """Asks, and tells how many of `total` things shown are done; what the journal knows is not asked again."""

    def __init__(self, progress: Progress | None, total: int, journal: Journal) -> None:
        self.progress, self.total, self.journal, self.done = progress, total, journal, 0

    def answers(self, name: str, answerer: Answerer, images: Sequence[Shown]) -> list[str | None]:
        """What is written for each of `images`, under a name for the journal."""
        return self._each_once(name, images, answerer.answers)

    def readings(self, name: str, estimator: Estimator, images: Sequence[Shown]) -> list[Reading]:
        """As `answers`, with all that the model holds likely."""

        def ask(batch: Sequence[Shown]) -> list[Any]:
            return [each.dump() for each in estimator.readings(batch)]

        return [Reading.parse(each) for each in self._each_once(name, images, ask)]

    def features(self, name: str, reader: Reader, images: Sequence[Shown]) -> NDArray[np.float32]:
        """Features [n, d] of each of `images`; [0, 0] of none."""

        def ask(batch: Sequence[Shown]) -> list[str]:
            rows = np.asarray(reader.features(batch), np.float32)
            return [base64.b64encode(row.tobytes()).decode() for row in rows]

        rows = self._batches(name, images, ask)
        found = [np.frombuffer(base64.b64decode(row), np.float32) for row in rows]
        return np.stack(found) if found else np.empty((0, 0), np.float32)

    def _each_once(self, name: str, images: Sequence[Shown], ask: Callable[[Sequence[Shown]], list[Any]]) -> list[Any]:
        once = distinct(images)
        found = dict(zip(once, self._batches(name, list(once.values()), ask), strict=True))
        return [found[_key(image)] for image in images]

    def _batches(self, name: str, images: Sequence[Shown], ask: Callable[[Sequence[Shown]], list[Any]]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(images), AT_ONCE):
            batch = images[start : start + AT_ONCE]
            answered = self.journal.find(name, start)
            if answered is None:
                answered = ask(batch)
                self.journal.write(name, start, answered)
            found += answered
            self.done += len(batch)
            if self.progress:
                self.progress(self.done, self.total)
        return found


def distinct(images: Sequence[Shown]) -> dict[Any, Shown]:
    """What is to be asked about, each once."""
    return {_key(image): image for image in images}


def _key(shown: Shown) -> Any:
    if isinstance(shown, tuple):
        return tuple(map(_key, shown))
    return shown if isinstance(shown, Path) else id(shown)
