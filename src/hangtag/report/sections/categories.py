"""What is mixed up with what, how far down a path an answer is right, and every score by the true category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hangtag.answer import Kind
from hangtag.catalogue.describing.spread import cut
from hangtag.evaluation.bootstrap import Score
from hangtag.evaluation.metrics import METRICS
from hangtag.report.plots import OTHERS, confusion_matrix, mix_ups
from hangtag.report.table import Cell


@dataclass(frozen=True)
class SortableCell:
    """A shown score and the value that it is sorted by; None where a category has no such score."""

    shown: Cell
    value: float


@dataclass(frozen=True)
class CategoryRow:
    """One category's scores; `rest` where it stands for all others and stays last."""

    category: str
    rows: int
    cells: list[SortableCell | None]
    rest: bool


@dataclass(frozen=True)
class ByCategory:
    """A table of categories: for each column the field and the metric's label."""

    columns: list[tuple[str, str]]
    rows: list[CategoryRow]


@dataclass(frozen=True)
class Category:
    """All that is shown about one category field."""

    field: str
    matrix: Markup
    mistakes: list[tuple[str, str, int]]
    levels: list[tuple[int, Cell, Cell]]
    by_category: ByCategory | None


def categories(
    fields: Mapping[str, Kind], metrics: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]
) -> list[Category]:
    """Each category field in turn."""
    return [_category(name, metrics, predictions) for name, kind in fields.items() if kind == "category"]


def _category(name: str, metrics: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> Category:
    truths = [each["truth"][name] for each in predictions]
    written = [None if each["answer"] is None else each["answer"][name] for each in predictions]
    mistakes = [(cut(true), cut(other), count) for true, other, count in mix_ups(truths, written)]
    levels = [
        (each["level"], _cell("accuracy", each["accuracy"]), _cell("macro_f1", each["macro_f1"]))
        for each in metrics.get("levels", {}).get(name, [])
    ]
    table = metrics.get("by_category", {}).get(name)
    matrix = confusion_matrix(name, truths, written)
    return Category(name, matrix, mistakes, levels, _by_category(table) if table else None)


def _cell(metric: str, score: Score) -> Cell:
    return Cell(METRICS[metric].show(score["value"]), METRICS[metric].show_interval(score))


def _by_category(entries: Sequence[Mapping[str, Any]]) -> ByCategory:
    columns = list(
        dict.fromkeys(
            (field, metric) for each in entries for field, scores in each["fields"].items() for metric in scores
        )
    )
    rows = []
    for entry in entries:
        cells: list[SortableCell | None] = []
        for field, metric in columns:
            score = entry["fields"].get(field, {}).get(metric)
            cells.append(score and SortableCell(_cell(metric, score), score["value"]))
        rest = entry is entries[-1] and entry["category"] == OTHERS
        rows.append(CategoryRow(cut(entry["category"]), entry["rows"], cells, rest))
    return ByCategory([(field, METRICS[metric].label) for field, metric in columns], rows)
