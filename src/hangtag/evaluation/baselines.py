"""What can be had without the model's writing: a constant, and the nearest picture of the training split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hangtag.answer import Template, Value
from hangtag.evaluation.metrics import field_rows

NEIGHBOURS = (1, 3, 5, 9)
_ROWS_AT_ONCE = 512

Values = dict[str, Value]
Features = NDArray[Any]


def constant_answer(template: Template, rows: Sequence[Values]) -> Values:
    """The median of each number, the most frequent value of each text and category (the first seen, on a tie)."""
    answer: Values = {}
    for name in template.names:
        values = [row[name] for row in rows]
        number = template.fields[name] == "number"
        answer[name] = float(np.median(np.array(values, float))) if number else Counter(values).most_common(1)[0][0]
    return answer


def nearest_rows(query: Features, known: Features, leave_out_self: bool = False) -> NDArray[np.int64]:
    """The rows of `known` with the largest cosine to each row of `query`, nearest first (the earlier row on a tie).

    Args:
        query: features [n, d].
        known: features [m, d].
        leave_out_self: `query` is `known`, and no row is its own neighbour.

    Returns:
        places [n, k] in `known`, k as many as `NEIGHBOURS` asks for and `known` offers.
    """
    k = min(max(NEIGHBOURS), len(known) - leave_out_self)
    known = unit(known)
    found = []
    for start in range(0, len(query), _ROWS_AT_ONCE):
        cosine = unit(query[start : start + _ROWS_AT_ONCE]) @ known.T
        if leave_out_self:
            own = np.arange(len(cosine))
            cosine[own, start + own] = -np.inf
        found.append(np.argsort(-cosine, axis=1, kind="stable")[:, :k])
    return np.concatenate(found)


def unit(features: Features) -> NDArray[np.float32]:
    """Features [n, d] scaled to a length of 1; zeros stay zeros."""
    wide = np.asarray(features, np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))


def neighbour_answers(
    template: Template, neighbours: NDArray[np.int64], k: int, rows: Sequence[Values]
) -> list[Values]:
    """An answer from the `k` nearest rows: majority category (the nearer, on a tie), median number, nearest text."""
    answers = []
    for places in neighbours:
        near = [rows[place] for place in places[:k]]
        answer = constant_answer(template, near)
        answers.append({name: near[0][name] if template.fields[name] == "text" else answer[name] for name in answer})
    return answers


def choose_k(
    template: Template, neighbours: NDArray[np.int64], rows: Sequence[Values], truths: Sequence[Values]
) -> int:
    """The k of NEIGHBOURS with the best category accuracy, then the smallest median relative error, then the smallest.

    Args:
        neighbours: places [n, k] in `rows`, nearest first, for the validation split.
        rows: the training split's values.
        truths: the validation split's values [n].
    """

    def loss(k: int) -> tuple[float, float, int]:
        answers = neighbour_answers(template, neighbours, k, rows)
        wrong = relative = 0.0
        for name, kind in template.fields.items():
            if kind == "text":
                continue
            values = field_rows(kind, [each[name] for each in truths], [each[name] for each in answers], 0.0)
            if kind == "category":
                wrong += 1 - float(values["right"].mean())
            else:
                relative += float(np.median(values["relative"]))
        return wrong, relative, k

    return min((k for k in NEIGHBOURS if k <= neighbours.shape[1]), key=loss)
