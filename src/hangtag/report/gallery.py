"""Pictures with their true and written tags: every row of a page as a card, ranked from the worst to the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hangtag.answer import Kind, Value, format_number
from hangtag.catalogue.describing.spread import cut
from hangtag.evaluation.metrics import Floats, field_rows, show_amount
from hangtag.report.plots import BAND
from hangtag.report.words import share

SHOWN = 12
MOST_ROWS = 5_000
MOST_LETTERS, LEAST_LETTERS = 300, 40
_ALL_LETTERS = 3_000_000
"""Of all true and written texts together; a page of many rows cuts each shorter."""


@dataclass(frozen=True)
class Line:
    """One field of a tag: what was written (None where nothing readable was), what is true, and how far off it is.

    A number that is not right is near within 20 %. `doubt` says how sure the model is: a confidence, and an estimate
    with its interval, which the true number lies `outside` of or not. `span` is that (estimate, low, high).
    """

    name: str
    true: str
    written: str | None
    verdict: Literal["right", "near", "wrong"]
    note: str = ""
    doubt: str = ""
    outside: bool = False
    span: tuple[float, float | None, float | None] | None = None


@dataclass(frozen=True)
class Card:
    """One row with its tag. `place` is its rank from the worst; `raw` the text of an unreadable answer."""

    place: int
    file_name: str
    lines: list[Line]
    raw: str | None
    readable: bool


@dataclass(frozen=True)
class Ranking:
    """The rows that a page shows, worst first, and which of them come first in each way of looking.

    `place_of` maps a prediction's index to its card's place; `not_shown` counts the rows beyond MOST_ROWS, which a
    random draw leaves out.
    """

    cards: list[Card]
    place_of: dict[int, int]
    worst: list[int]
    best: list[int]
    random: list[int]
    not_shown: int


def goodness(fields: Mapping[str, Kind], predictions: Sequence[Mapping[str, Any]]) -> Floats:
    """How good each row's answer is, [n] in 0..1: the mean over its fields; below 0 where it is unreadable.

    A text counts by chrF, a category by being right, a number by 1 - SMAPE / 2.
    """
    parts = []
    for name, kind in fields.items():
        written = [None if each["answer"] is None else each["answer"][name] for each in predictions]
        rows = field_rows(kind, [each["truth"][name] for each in predictions], written, 0.0)
        parts.append(_part(kind, rows))
    readable = np.array([each["readable"] for each in predictions])
    return np.where(readable, np.mean(parts, axis=0), -1.0)


def _part(kind: Kind, rows: Mapping[str, Any]) -> Floats:
    if kind == "number":
        return np.asarray(1 - rows["symmetric"] / 2)
    return np.asarray(rows["chrf" if kind == "text" else "right"], float)


def rank(fields: Mapping[str, Kind], predictions: Sequence[Mapping[str, Any]], levels: Mapping[str, float]) -> Ranking:
    """Make a card of each row.

    Args:
        levels: the level of each number field's interval, where it has one.
    """
    order = np.argsort(goodness(fields, predictions), kind="stable")
    generator = np.random.default_rng(0)
    kept = _drawn(order, generator)
    letters = _ALL_LETTERS // (2 * len(kept) * len(fields))
    letters = min(max(letters, LEAST_LETTERS), MOST_LETTERS)
    cards = [_card(place, fields, predictions[index], levels, letters) for place, index in enumerate(map(int, kept))]
    shown, places = min(SHOWN, (len(kept) + 1) // 2), list(range(len(kept)))
    picked = generator.permutation(len(kept))[:SHOWN]
    return Ranking(
        cards,
        {int(index): place for place, index in enumerate(kept)},
        places[:shown],
        places[shown:][::-1][:shown],
        [int(each) for each in picked],
        len(order) - len(kept),
    )


def _drawn(order: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """At most MOST_ROWS of the rows in their order: the worst and best, and of the rest a random draw."""
    if len(order) <= MOST_ROWS:
        return order
    inner = generator.choice(len(order) - 2 * SHOWN, MOST_ROWS - 2 * SHOWN, replace=False)
    return np.concatenate([order[:SHOWN], order[SHOWN + np.sort(inner)], order[-SHOWN:]])


def card(fields: Mapping[str, Kind], prediction: Mapping[str, Any]) -> Card:
    """One prediction as a card by itself."""
    return _card(0, fields, prediction, {}, MOST_LETTERS)


def _card(
    place: int, fields: Mapping[str, Kind], prediction: Mapping[str, Any], levels: Mapping[str, float], letters: int
) -> Card:
    answer, sure = prediction["answer"] or {}, prediction.get("confidence") or {}
    numbers = prediction.get("numbers") or {}
    lines = []
    for name, kind in fields.items():
        true, written = prediction["truth"][name], answer.get(name)
        verdict, note = _verdict(kind, true, written)
        doubt, outside, span = _doubt(true, sure.get(name), numbers.get(name), levels.get(name))
        shown = None if written is None else cut(show(written), letters)
        lines.append(Line(name, cut(show(true), letters), shown, verdict, note, doubt, outside, span))
    raw = None if prediction["readable"] or prediction["raw"] is None else cut(prediction["raw"], letters)
    return Card(place, prediction["file_name"], lines, raw, prediction["readable"])


def _verdict(kind: Kind, true: Value, written: Value | None) -> tuple[Literal["right", "near", "wrong"], str]:
    """How far off a written value is, in a word and for a number in percent."""
    if written is None or written == true or kind != "number":
        return "right" if written == true else "wrong", ""
    error, size = float(written) - float(true), abs(float(true))
    near = abs(error) <= BAND * size
    note = f"{100 * error / size:+.1f} %".replace("-", "−") if abs(error) < 100 * size else ""
    return "near" if near else "wrong", note


def _doubt(
    true: Value, confidence: float | None, number: Mapping[str, Any] | None, level: float | None
) -> tuple[str, bool, tuple[float, float | None, float | None] | None]:
    sure = "" if confidence is None else f"{share(confidence, 1)} sure"
    if number is None:
        return sure, False, None
    estimate, low, high = number["estimate"], number.get("low"), number.get("high")
    words = f"{sure}; estimate {show_amount(estimate)}".removeprefix("; ")
    if low is None or high is None:
        return words, False, (estimate, None, None)
    how = f"{100 * level:.3g} %" if level else "interval"
    outside = not low <= float(true) <= high
    return f"{words}; {how}: {show_amount(low)} to {show_amount(high)}", outside, (estimate, low, high)


def show(value: Value) -> str:
    """A value as the tag writes it; a number too long for a tag in short."""
    if isinstance(value, str):
        return value
    return format_number(value) if abs(value) < 1e9 else show_amount(value)
