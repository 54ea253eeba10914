"""An evaluation as it stands in a run folder, read back whole or not at all."""

from __future__ import annotations

from typing import Any

from hangtag.errors import DataError, RunError
from hangtag.files import Run, read_json, read_jsonl

_METRICS_KEYS = ("rows", "answers", "fields")
_ROW_KEYS = ("file_name", "truth", "raw", "answer", "readable")


def read_evaluation(run: Run, split: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The metrics and the predictions of an evaluated split.

    Raises:
        RunError: the run has no evaluation of the split.
        DataError: a file is missing, cut or damaged, or metrics and predictions do not belong together.
    """
    folder = run.evaluation(split)
    again = f"run `hangtag evaluate {run.path} --split {split}`"
    if not (folder / "metrics.json").is_file():
        raise RunError(f"{run.path} has no evaluation of split {split!r}; {again}")
    try:
        metrics, predictions = read_json(folder / "metrics.json"), read_jsonl(folder / "predictions.jsonl")
    except DataError as error:
        raise DataError(f"{error}; {again} again") from None
    if not isinstance(metrics, dict) or not all(key in metrics for key in _METRICS_KEYS):
        raise DataError(f"{folder / 'metrics.json'} is no evaluation's: it lacks {_METRICS_KEYS}; {again} again")
    for number, row in enumerate(predictions, 1):
        if not isinstance(row, dict) or not all(key in row for key in _ROW_KEYS):
            raise DataError(f"{folder / 'predictions.jsonl'}, row {number} is no prediction; {again} again")
    if len(predictions) != metrics["rows"]:
        counts = f"metrics.json is about {metrics['rows']} rows, predictions.jsonl holds {len(predictions)}"
        raise DataError(f"{folder}: {counts}; {again} again")
    return metrics, predictions
