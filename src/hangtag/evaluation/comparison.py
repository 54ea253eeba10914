"""Several runs on the same rows: their scores, and the differences to the first with paired intervals."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hangtag.answer import Kind, Value, written
from hangtag.errors import DataError, first_names
from hangtag.evaluation.bootstrap import Column, Score, difference, score
from hangtag.evaluation.metrics import METRICS, READABLE, Metric, field_rows

FEWEST_ROWS = 10
"""With fewer rows a bootstrap interval says too little to call a difference one."""
_SHOWN = 3

Part = Literal["answers", "fields", "estimates"]
Prediction = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluated:
    """A run's evaluation of a split under a name of its own; see evaluation/written.py."""

    name: str
    folder: Path
    metrics: Mapping[str, Any]
    predictions: Sequence[Prediction]

    @property
    def fields(self) -> dict[str, Kind]:
        """Each field's kind, as its metrics tell it."""
        return {
            name: next(METRICS[metric].kind for metric in scores if metric in METRICS)
            for name, scores in self.metrics["fields"].items()
        }


@dataclass(frozen=True)
class Compared:
    """One metric across the runs, in their order: scores, and differences to the first run (whose own is None).

    A run has None where it has no such score. `answers` is about all of an answer, and `field` then "answers";
    `estimates` are those from the model's own distribution over numbers.
    """

    part: Part
    field: str
    metric: Metric
    scores: list[Score | None]
    differences: list[Score | None]

    def verdict(self, place: int, rows: int) -> Literal["better", "worse", ""]:
        """What the run at `place` is beside the first: empty where the interval of the difference holds zero."""
        found = self.differences[place]
        if found is None or rows < FEWEST_ROWS or found["low"] <= 0 <= found["high"]:
            return ""
        return "better" if (found["value"] > 0) == self.metric.higher_is_better else "worse"


def align(runs: Sequence[Evaluated]) -> list[Evaluated]:
    """The runs with their predictions in the order of the first one's.

    Raises:
        DataError: a run is about other fields, other rows or other truths than the first.
    """
    first = runs[0]
    aligned = [first]
    for other in runs[1:]:
        _require_fields(first, other)
        _require_rows(first, other)
        _require_truths(first, other)
        places: dict[str, deque[Prediction]] = defaultdict(deque)
        for row in other.predictions:
            places[_key(row)].append(row)
        aligned.append(replace(other, predictions=[places[_key(row)].popleft() for row in first.predictions]))
    return aligned


def _key(row: Prediction) -> str:
    return json.dumps([row["file_name"], row["truth"]], sort_keys=True)


def _require_fields(first: Evaluated, other: Evaluated) -> None:
    if first.fields == other.fields:
        return
    listed = (
        f"{each.name} writes {', '.join(f'{name} ({kind})' for name, kind in each.fields.items())}"
        for each in (first, other)
    )
    raise DataError(f"the runs do not write the same fields: {'; '.join(listed)}; compare runs of one task")


def _require_rows(first: Evaluated, other: Evaluated) -> None:
    files = [Counter(row["file_name"] for row in each.predictions) for each in (first, other)]
    only = [
        f"{(files[one] - files[1 - one]).total()} of {each.name}'s {len(each.predictions)} rows are not in "
        f"{(other, first)[one].name} ({first_names((files[one] - files[1 - one]).elements(), _SHOWN)})"
        for one, each in enumerate((first, other))
        if files[one] - files[1 - one]
    ]
    if only:
        raise DataError(f"the runs were not evaluated on the same rows: {'; '.join(only)}; {_way_out(first, other)}")


def _require_truths(first: Evaluated, other: Evaluated) -> None:
    missing = Counter(map(_key, first.predictions)) - Counter(map(_key, other.predictions))
    if not missing:
        return
    known = {row["file_name"]: row["truth"] for row in reversed(other.predictions)}
    examples = []
    for name, truth in map(json.loads, list(missing)[:_SHOWN]):
        apart = (
            f"{field} {written(value)} and {written(known[name][field])}"
            for field, value in truth.items()
            if known[name].get(field, value) != value
        )
        examples.append(f"{name}: {', '.join(apart) or 'a row of several'}")
    raise DataError(
        f"{missing.total()} of {len(first.predictions)} rows have another truth in {first.name} than in {other.name} "
        f"({'; '.join(examples)}); {_way_out(first, other)}"
    )


def _way_out(first: Evaluated, other: Evaluated) -> str:
    split = first.metrics.get("split", "test")
    commands = " and ".join(f"`hangtag evaluate {each.folder} --data DATA --split {split}`" for each in (first, other))
    return f"evaluate both on one catalogue: {commands}"


def compare(runs: Sequence[Evaluated], seed: int = 0) -> list[Compared]:
    """Every metric of aligned runs; see `align`.

    Estimates are compared where the first run and at least one other have them.

    Raises:
        DataError: an unreadable answer's number cannot be scored, since metrics.json does not hold the constant.
    """
    found = [_columns(run) for run in runs]
    compared = []
    for (part, field), (metrics, _) in found[0].items():
        sides = [each.get((part, field), (metrics, None))[1] for each in found]
        if part == "estimates" and not any(sides[1:]):
            continue
        compared += [_compared(part, field, metric, sides, seed) for metric in metrics]
    return compared


def _compared(
    part: Part, field: str, metric: Metric, sides: Sequence[Mapping[str, Column] | None], seed: int
) -> Compared:
    columns = [None if side is None else [side[name] for name in metric.gives] for side in sides]
    first = columns[0]
    assert first is not None
    scores = [None if each is None else score(metric.statistic, *each, seed=seed) for each in columns]
    differences = [None if each is None else difference(metric.statistic, each, first, seed) for each in columns[1:]]
    return Compared(part, field, metric, scores, [None, *differences])


def _columns(run: Evaluated) -> dict[tuple[Part, str], tuple[list[Metric], dict[str, Column]]]:
    """The metrics of each part and field, and the rows' values they are taken from."""
    readable = np.array([bool(row["readable"]) for row in run.predictions])
    found: dict[tuple[Part, str], tuple[list[Metric], dict[str, Column]]] = {
        ("answers", "answers"): ([READABLE], {"readable": readable})
    }
    for name, kind in run.fields.items():
        metrics = [metric for metric in METRICS.values() if metric.kind == kind]
        truths = [row["truth"][name] for row in run.predictions]
        answers = [None if row["answer"] is None else row["answer"][name] for row in run.predictions]
        constant = _constant(run, name, kind)
        found["fields", name] = (metrics, field_rows(kind, truths, answers, constant))
        estimates = [_estimate(row, name) for row in run.predictions]
        if kind == "number" and any(each is not None for each in estimates):
            filled = [answer if each is None else each for each, answer in zip(estimates, answers, strict=True)]
            found["estimates", name] = (metrics, field_rows(kind, truths, filled, constant))
    return found


def _estimate(row: Prediction, name: str) -> float | None:
    """The estimate from the model's distribution; None where the row has none."""
    numbers = row.get("numbers") or {}
    return (numbers.get(name) or {}).get("estimate")


def _constant(run: Evaluated, name: str, kind: Kind) -> Value:
    """What an unreadable number counts as: the constant baseline's value, which metrics.json holds."""
    if kind != "number" or all(row["answer"] is not None for row in run.predictions):
        return 0.0
    constant = run.metrics.get("constant", {}).get(name)
    if constant is None:
        split = run.metrics.get("split", "test")
        raise DataError(
            f"{run.folder} has unreadable answers, and its metrics.json does not say what counts for their {name} "
            f"(`constant`); run `hangtag evaluate {run.folder} --split {split}` again"
        )
    return float(constant)


def comparison_json(split: str, runs: Sequence[Evaluated], compared: Sequence[Compared]) -> dict[str, Any]:
    """The content of comparison.json, without the rows that differ.

    split, rows, first (the run that others are compared to), runs (each name's folder), and by run name:

    scores        answers {readable: S}, fields {field: {metric: S}}, estimates {field: {metric: S}}
    differences   the same, minus the first run's, for the others; S has `excludes_zero` besides

    S is {"value", "low", "high"}.
    """
    names = [run.name for run in runs]
    rows = len(runs[0].predictions)
    found: dict[str, Any] = {"scores": {name: {} for name in names}, "differences": {name: {} for name in names[1:]}}
    for each in compared:
        for place, name in enumerate(names):
            if (value := each.scores[place]) is not None:
                _put(found["scores"][name], each, value)
            if (apart := each.differences[place]) is not None:
                _put(found["differences"][name], each, {**apart, "excludes_zero": each.verdict(place, rows) != ""})
    folders = {run.name: str(run.folder) for run in runs}
    return {"split": split, "rows": rows, "first": names[0], "runs": folders, **found}


def _put(into: dict[str, Any], each: Compared, value: Any) -> None:
    part = into.setdefault(each.part, {})
    (part if each.part == "answers" else part.setdefault(each.field, {}))[each.metric.name] = value
