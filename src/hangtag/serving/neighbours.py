"""The training products most like a picture: "why this price".

RUN/neighbours.safetensors   features [rows, hidden] of the training pictures in float16, and in its metadata what they
                             are of: a digest of the model's files and of the rows

It is made in the background when a server first starts. Where that would take too long, or the catalogue is no longer
where the run was trained on it, there are no neighbours.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hangtag.answer import Value
from hangtag.catalogue import open_catalogue
from hangtag.catalogue.pictures import encode_picture, read_picture
from hangtag.errors import DataError, HangtagError, ImageError, TableError
from hangtag.evaluation.baselines import unit
from hangtag.examples.rows import UsableRow, sort_rows
from hangtag.files import Run, write_whole
from hangtag.prediction.tagger import Tagger

NAME = "neighbours.safetensors"
SIDE = 320
MOST_SECONDS = 600.0
"""Longer than this no server works on the features beside its answers."""
_AT_ONCE = 8
_KEPT = 512
"""Thumbnails."""

Say = Callable[[str], None]
Features = NDArray[np.float32]


def silent(words: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Neighbour:
    """A training product: its picture's `id`, its fields, and the cosine of its features and the asked one's."""

    id: str
    fields: dict[str, Value]
    similarity: float


class Neighbours:
    """Training pictures by likeness. Made by `open`; until their features are there, nothing has neighbours."""

    def __init__(self, rows: Sequence[UsableRow], features_ND: Features | None = None) -> None:
        self.rows = list(rows)
        self._unit_ND = None if features_ND is None else unit(features_ND)
        self._kept = functools.lru_cache(_KEPT)(self._made)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def open(cls, run: str | Path, tagger: Tagger, say: Say = silent) -> Neighbours | None:
        """The training products of a run; None where its catalogue is gone or shows other than one picture a row.

        Features that are absent, or of another model or other rows, are made in the background.

        Args:
            say: told in a sentence what becomes of them.
        """
        task, data = tagger.recipe.task, tagger.recipe.data
        try:
            catalogue = open_catalogue(data.path)
            rows, _ = sort_rows(catalogue, "train", task.template, data.pictures)
        except (TableError, DataError) as error:
            say(f"no similar products are shown: {error.args[0].splitlines()[0]}")
            return None
        rows = _once([row for row in rows if len(row.pictures) == 1])
        if not rows:
            return None
        folder = Run(Path(run))
        origin = _origin(folder, rows)
        found = cls(rows, _read(folder.path / NAME, origin))
        if not found.ready:
            found._begin(folder.path / NAME, origin, tagger, say)
        return found

    @property
    def ready(self) -> bool:
        """Whether the features are there."""
        return self._unit_ND is not None

    @property
    def coming(self) -> bool:
        """Whether the features are being made."""
        return not self.ready and self._thread is not None and self._thread.is_alive()

    def nearest(self, features_ND: Features, k: int) -> list[list[Neighbour]]:
        """For each of some pictures, by their `Tagger.features`, the `k` most similar products, nearest first.

        A product is there once, as its nearest picture. No products while there are no features, fewer than `k` where
        the catalogue has no more.
        """
        known_ND = self._unit_ND
        if known_ND is None:
            return [[] for _ in features_ND]
        return [self._first(cosine_N, k) for cosine_N in unit(features_ND) @ known_ND.T]

    def _first(self, cosine_N: Features, k: int) -> list[Neighbour]:
        found: dict[tuple[Value, ...], Neighbour] = {}
        for place in np.argsort(-cosine_N, kind="stable").tolist():
            if len(found) == k:
                break
            values = self.rows[place].values
            similarity = round(float(cosine_N[place].clip(-1, 1)), 4)
            found.setdefault(tuple(values.values()), Neighbour(str(place), values, similarity))
        return list(found.values())

    def thumbnail(self, picture: str) -> bytes | None:
        """A training picture by its id, as a JPEG of at most SIDE pixels a side; None where there is none."""
        if not (picture.isascii() and picture.isdecimal()) or int(picture[:9]) >= len(self.rows):
            return None
        return self._kept(int(picture[:9]))

    def _made(self, place: int) -> bytes | None:
        try:
            return encode_picture(read_picture(self.rows[place].pictures[0], shown_at=SIDE), SIDE)
        except ImageError:
            return None

    def close(self, seconds: float = 10.0) -> None:
        """Stop making features; what was made is lost."""
        self._stop.set()
        if self._thread:
            self._thread.join(seconds)

    def wait(self, seconds: float) -> bool:
        """Wait until no features are being made; whether they are there."""
        if self._thread:
            self._thread.join(seconds)
        return self.ready

    def _begin(self, path: Path, origin: str, tagger: Tagger, say: Say) -> None:
        self._thread = threading.Thread(target=self._make, args=(path, origin, tagger, say), daemon=True)
        self._thread.start()

    def _make(self, path: Path, origin: str, tagger: Tagger, say: Say) -> None:
        """Only the vision tower runs here, on pictures of its own, so answers may be written meanwhile."""
        parts: list[Features] = []
        began = time.monotonic()
        for start in range(0, len(self.rows), _AT_ONCE):
            if self._stop.is_set():
                return
            batch = self.rows[start : start + _AT_ONCE]
            try:
                parts.append(tagger.features([row.pictures[0] for row in batch]))
            except HangtagError as error:
                say(f"no similar products are shown: {error}")
                return
            seconds = (time.monotonic() - began) * len(self.rows) / (start + len(batch))
            if seconds > MOST_SECONDS:
                say(f"no similar products are shown: on this machine their features would take {seconds / 60:.0f} min")
                return
        features_ND = np.concatenate(parts).astype(np.float16)
        try:
            write_whole(path, save({"features": features_ND}, {"of": origin}))
        except OSError as error:
            say(f"{path.name} cannot be kept, it is made anew at the next start: {error.strerror}")
        self._unit_ND = unit(features_ND)


def _once(rows: Sequence[UsableRow]) -> list[UsableRow]:
    """Without those that have an earlier row's picture and fields."""
    first: dict[tuple[object, ...], UsableRow] = {}
    for row in rows:
        first.setdefault((row.pictures, *row.values.values()), row)
    return list(first.values())


def _origin(run: Run, rows: Sequence[UsableRow]) -> str:
    """A digest of what features are of: the model's weights by size and time, each row's picture and fields."""
    files = sorted(path for path in run.model.glob("*.safetensors") if path.name != NAME)
    model = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    shown = [[row.pictures[0].name, row.pictures[0].stat().st_size, row.values] for row in rows]
    return hashlib.sha256(json.dumps([model, shown]).encode()).hexdigest()


def _read(path: Path, origin: str) -> Features | None:
    """The features in a file; None where it is absent, damaged or of something else."""
    try:
        with safe_open(path, "numpy") as file:
            if (file.metadata() or {}).get("of") != origin:
                return None
            return np.asarray(file.get_tensor("features"), np.float32)
    except (OSError, SafetensorError):
        return None
