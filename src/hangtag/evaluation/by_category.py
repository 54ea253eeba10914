"""Scores of the rows of each true category, and the categories that training never showed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hangtag.answer import Kind, Value
from hangtag.evaluation.bootstrap import Column, Score
from hangtag.evaluation.metrics import METRICS

MOST_CATEGORIES = 60
OTHERS = "(all others)"
SHOWN: dict[Kind, tuple[str, ...]] = {
    "text": ("exact", "chrf"),
    "category": ("accuracy",),
    "number": ("mae", "median_ape"),
}

Values = Mapping[str, Value]


def score_by_category(
    fields: Mapping[str, Kind],
    truths: Sequence[Values],
    columns: Mapping[str, Mapping[str, Column]],
    seed: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """The scores SHOWN of every field, over the rows of each category in turn.

    Args:
        fields: each field's kind.
        truths: the evaluated rows' values [n].
        columns: for each field the columns [n] of `field_rows`.

    Returns:
        By category field: category, rows, fields; most rows first, then by name. The categories beyond
        MOST_CATEGORIES are one last entry, OTHERS.
    """
    found = {}
    for name, kind in fields.items():
        if kind != "category":
            continue
        true = np.array([str(each[name]) for each in truths], object)
        ordered = _largest_first(true.tolist())
        places = [(category, true == category) for category, _ in ordered[:MOST_CATEGORIES]]
        if rest := [category for category, _ in ordered[MOST_CATEGORIES:]]:
            places.append((OTHERS, np.isin(true, rest)))
        found[name] = [
            {"category": category, "rows": int(where.sum()), "fields": _scores(fields, columns, where, seed)}
            for category, where in places
        ]
    return found


def _scores(
    fields: Mapping[str, Kind], columns: Mapping[str, Mapping[str, Column]], where: Column, seed: int
) -> dict[str, dict[str, Score]]:
    def of(name: str, kind: Kind) -> dict[str, Score]:
        rows = {column: values[where] for column, values in columns[name].items()}
        return {metric: METRICS[metric].score(rows, seed) for metric in SHOWN[kind]}

    return {name: of(name, kind) for name, kind in fields.items()}


def unseen_categories(
    fields: Mapping[str, Kind], truths: Sequence[Values], training: Sequence[Values]
) -> dict[str, list[dict[str, Any]]]:
    """By category field the true categories that no row of `training` has: category and rows, most rows first.

    Fields without such a category are left out.
    """
    found = {}
    for name in (name for name, kind in fields.items() if kind == "category"):
        known = {str(each[name]) for each in training}
        new = [str(each[name]) for each in truths if str(each[name]) not in known]
        if new:
            found[name] = [{"category": category, "rows": rows} for category, rows in _largest_first(new)]
    return found


def _largest_first(names: Sequence[str]) -> list[tuple[str, int]]:
    return sorted(Counter(names).items(), key=lambda each: (-each[1], each[0]))
