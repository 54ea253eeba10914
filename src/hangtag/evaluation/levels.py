"""A category field that is a path, such as Men/Tops/Tees, scored from coarse to fine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hangtag.answer import Kind, Value
from hangtag.catalogue.paths import path_parts, path_separator
from hangtag.evaluation.metrics import category_rows, score_field

MOST_LEVELS = 8

Values = Mapping[str, Value]


def score_levels(
    fields: Mapping[str, Kind],
    truths: Sequence[Values],
    answers: Sequence[Values | None],
    training: Sequence[Values],
    seed: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """Accuracy and macro F1 of every level, for each category field whose values are paths.

    Args:
        fields: each field's kind.
        truths: the evaluated rows' values [n], n at least 1.
        answers: what was written [n], None where it is unreadable.
        training: the training split's values; with `truths` they tell whether a field holds paths.

    Returns:
        By field its levels, coarse to fine: level, accuracy, macro_f1. Level n compares the first n parts; a shorter
        path is compared whole. The last is the depth of the deepest truth and compares whole values as they stand, as
        the field's own scores do. Beyond MOST_LEVELS those between are left out.
    """
    found = {}
    for name, kind in fields.items():
        if kind != "category":
            continue
        true = [str(each[name]) for each in truths]
        written = [None if each is None else str(each[name]) for each in answers]
        separator = path_separator([*true, *(str(each[name]) for each in training)])
        if separator:
            found[name] = _levels(true, written, separator, seed)
    return found


def _levels(truths: Sequence[str], answers: Sequence[str | None], separator: str, seed: int) -> list[dict[str, Any]]:
    paths = [path_parts(each, separator) for each in truths]
    written = [None if each is None else path_parts(each, separator) for each in answers]
    depth = max(1, *map(len, paths))
    levels = []
    for level in range(1, min(depth, MOST_LEVELS)):
        rows = category_rows(
            [separator.join(each[:level]) for each in paths],
            [None if each is None else separator.join(each[:level]) for each in written],
        )
        levels.append({"level": level, **score_field("category", rows, seed)})
    return [*levels, {"level": depth, **score_field("category", category_rows(truths, answers), seed)}]
