"""Pictures with their true and written tags, worst and best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hangtag.answer import Kind, Value, format_number
from hangtag.evaluation.metrics import Floats, field_rows, show_amount
from hangtag.report.plots import BAND
from hangtag.report.thumbnails import thumbnail

SHOWN = 12


@dataclass(frozen=True)
class Line:
    """One field of a tag: what was written (None where nothing readable was), what is true, and how far off it is.

    A number that is not right is near within 20 %.
    """

    name: str
    true: str
    written: str | None
    verdict: Literal["right", "near", "wrong"]
    note: str = ""


@dataclass(frozen=True)
class Card:
    """One picture with its tag. `picture` is a data URI, or None where there is no picture to show."""

    file_name: str
    picture: str | None
    lines: list[Line]
    raw: str | None
    readable: bool


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


def worst_and_best(
    fields: Mapping[str, Kind], predictions: Sequence[Mapping[str, Any]], shown: int = SHOWN
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The `shown` worst and best predictions, worst and best first; no row stands in both."""
    order = np.argsort(goodness(fields, predictions), kind="stable")
    shown = min(shown, (len(order) + 1) // 2)
    worst, best = order[:shown], order[shown:][::-1][:shown]
    return [predictions[place] for place in worst], [predictions[place] for place in best]


def card(fields: Mapping[str, Kind], prediction: Mapping[str, Any], folder: Path | None) -> Card:
    """A prediction as a card; its picture is taken from the catalogue's `folder`."""
    answer = prediction["answer"] or {}
    lines = [_line(name, kind, prediction["truth"][name], answer.get(name)) for name, kind in fields.items()]
    picture = thumbnail(folder / prediction["file_name"]) if folder else None
    return Card(prediction["file_name"], picture, lines, prediction["raw"], prediction["readable"])


def _line(name: str, kind: Kind, true: Value, written: Value | None) -> Line:
    if written is None:
        return Line(name, shown(true), None, "wrong")
    if written == true or kind != "number":
        return Line(name, shown(true), shown(written), "right" if written == true else "wrong")
    error, size = float(written) - float(true), abs(float(true))
    near = abs(error) <= BAND * size
    note = f"{100 * error / size:+.1f} %".replace("-", "−") if abs(error) < 100 * size else ""
    return Line(name, shown(true), shown(written), "near" if near else "wrong", note)


def shown(value: Value) -> str:
    """A value as the tag writes it; a number too long for a tag in short."""
    if isinstance(value, str):
        return value
    return format_number(value) if abs(value) < 1e9 else show_amount(value)
