"""How much a row's picture and its tag disagree, by field and together.

What a model writes for a number or a category follows from the title that it wrote before: where it reads "denim" and
the tag says "crocodile", the price behind "denim" is far off though the tag is right. So every field is judged behind
both beginnings, the written one and the tag's own, each weighing by the square root of its probability given the
picture: models are surer of their words than they should be.

    text, category   log p(written value) - log p(the tag's value), in nats
    number           -log of the density at the tag's number, relative to a certain one's peak: Student's t (3 degrees
                     of freedom, for heavy tails) around each number of the model's distribution, WIDTH in signed log

A field's score counts how much rarer than the rows of the same judge this is: 0 is what one row in five exceeds, and
every 1 more is e times rarer, by the exponential tail that the rows between one in five and one in twenty have (never
a steeper one than one nat). So a field that the model cannot read, where all rows disagree, hides nothing in another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hangtag.answer import Kind, Value
from hangtag.reading import Distribution, Reading, signed_log

Floats = NDArray[np.float64]
EVERYTHING = "everything"

FEWEST_ROWS = 50
"""A judge of fewer rows is measured by those of all judges together."""
TAIL = (0.8, 0.95)
CLEAR = 3.0
"""From this score on a field is in doubt by itself; where several are, the picture may be another product's."""
WIDTH = 0.2
_FREEDOM = 3.0
_LEAST = -700.0


@dataclass(frozen=True)
class Judgement:
    """What a model makes of one row.

    Args:
        written: its own reading, with the probabilities of the tag's values behind what it wrote; its numbers stand
            on all that is likely before them.
        given: the reading as if it had written the tag; its numbers stand on the tag's own words alone.
    """

    truth: Mapping[str, Value]
    written: Reading
    given: Reading
    judge: int = 0


@dataclass(frozen=True)
class Disagreement:
    """Scores of some rows, higher is worse: by field [n] and together, the worst field's [n]; and what disagrees most,
    a field's name or EVERYTHING."""

    fields: dict[str, Floats]
    together: Floats
    most: list[str]


def disagreement(fields: Mapping[str, Kind], rows: Sequence[Judgement]) -> Disagreement:
    """Score rows.

    Args:
        fields: in the order in which the answer has them.
        rows: at least one.
    """
    judges = _judges([row.judge for row in rows])
    raw = {
        name: _numbers(name, fields, rows) if kind == "number" else _words(name, fields, rows)
        for name, kind in fields.items()
    }
    scores = {name: _rarity(each, judges) for name, each in raw.items()}
    every = np.stack(list(scores.values()))
    return Disagreement(scores, every.max(0), _most(list(scores), every))


def _judges(judges: Sequence[int]) -> NDArray[np.int64]:
    """Each row's judge; all one where one has few rows."""
    found = np.array(judges, np.int64)
    _, counts = np.unique(found, return_counts=True)
    return found if counts.min() >= FEWEST_ROWS else np.zeros_like(found)


def _log_p(reading: Reading, name: str) -> float:
    """The log probability of a text or category as it was written; 0 where nothing readable was."""
    confidence = reading.confidence.get(name, 1.0)
    return math.log(confidence) if confidence > 0 else _LEAST


def _log_weights(name: str, fields: Mapping[str, Kind], row: Judgement) -> tuple[float, float]:
    """How likely the written and the tag's own words before a field are, as logarithms of shares of one.

    Numbers before it are left out: what follows hardly depends on them.
    """
    before = [each for each in list(fields)[: list(fields).index(name)] if fields[each] != "number"]
    if row.written.text is None or not (row.written.confidence or row.written.numbers):
        return -math.inf, 0.0
    written = sum(_log_p(row.written, each) for each in before) / 2
    tag = sum(_log_p(row.given, each) for each in before) / 2
    together = float(np.logaddexp(written, tag))
    return written - together, tag - together


def _words(name: str, fields: Mapping[str, Kind], rows: Sequence[Judgement]) -> Floats:
    found = []
    for row in rows:
        behind_written, behind_tag = _log_weights(name, fields, row)
        true = np.logaddexp(behind_written + row.written.truth.get(name, _LEAST), behind_tag + _log_p(row.given, name))
        found.append(max(0.0, _log_p(row.written, name) - float(true)))
    return np.array(found)


def _numbers(name: str, fields: Mapping[str, Kind], rows: Sequence[Judgement]) -> Floats:
    """A row without any distribution tells nothing: 0."""
    found = []
    for row in rows:
        at = signed_log(float(row.truth[name]))
        parts = [
            share + _log_density(reading.numbers[name], at)
            for share, reading in zip(_log_weights(name, fields, row), (row.written, row.given), strict=True)
            if name in reading.numbers and share > -math.inf
        ]
        found.append(-float(np.logaddexp.reduce(parts)) if parts else 0.0)
    return np.array(found)


def _log_density(distribution: Distribution, at: Floats) -> float:
    off = (signed_log(distribution.values) - at) / WIDTH
    return float(np.log(distribution.weights @ (1 + off * off / _FREEDOM) ** (-(_FREEDOM + 1) / 2)))


def _rarity(raw: Floats, judges: NDArray[np.int64]) -> Floats:
    score = np.empty(len(raw))
    for judge in np.unique(judges).tolist():
        mine = judges == judge
        usual, far = np.quantile(raw[mine], TAIL)
        steepness = (far - usual) / math.log((1 - TAIL[0]) / (1 - TAIL[1]))
        score[mine] = (raw[mine] - usual) / max(steepness, 1.0)
    return score


def _most(names: Sequence[str], scores_FN: Floats) -> list[str]:
    several = (scores_FN >= CLEAR).sum(0) > 1
    return [
        EVERYTHING if many else names[place]
        for many, place in zip(several.tolist(), scores_FN.argmax(0).tolist(), strict=True)
    ]
