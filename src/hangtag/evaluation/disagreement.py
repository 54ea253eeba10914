"""How much a row's picture and its tag disagree, by field and together, in nats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hangtag.answer import Kind, Value
from hangtag.reading import Reading, signed_log

Floats = NDArray[np.float64]
EVERYTHING = "everything"


@dataclass(frozen=True)
class Disagreement:
    """Scores of some rows, higher is worse: by field [n] and together [n]; and what disagrees most, a field's name or
    EVERYTHING."""

    fields: dict[str, Floats]
    together: Floats
    most: list[str]


def disagreement(
    fields: Mapping[str, Kind],
    truths: Sequence[Mapping[str, Value]],
    readings: Sequence[Reading],
    judges: Sequence[int],
) -> Disagreement:
    scores = {}
    for name, kind in fields.items():
        score = _number_score if kind == "number" else _words_score
        scores[name] = np.array([score(name, truth, reading) for truth, reading in zip(truths, readings, strict=True)])
    every = np.stack(list(scores.values()))
    together = every.max(0)
    names = list(scores)
    most = [names[place] for place in every.argmax(0).tolist()]
    return Disagreement(scores, together, most)


def _words_score(name: str, truth: Mapping[str, Value], reading: Reading) -> float:
    written = math.log(max(reading.confidence.get(name, 1.0), 1e-30))
    return max(0.0, written - reading.truth.get(name, -50.0))


def _number_score(name: str, truth: Mapping[str, Value], reading: Reading) -> float:
    found = reading.numbers.get(name)
    if found is None:
        return 50.0
    return float(abs(signed_log(float(truth[name])) - signed_log(found.best("mae"))) / 0.15)
