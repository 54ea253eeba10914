"""log.jsonl: one record for each step and each validation, appended as training goes.

step, epoch         an epoch is a pass over the training rows; both count from the run's beginning
loss                of a step: summed over its answer tokens, divided by their number, over all processes
grad_norm, learning_rate, tokens
validation_loss, answer_score, readable     of a validation (see `validation`)
wait, seconds       share of the time since the last record that a step waited for data; seconds trained in all
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hangtag.files import write_jsonl
from hangtag.recipe import Train

MEASURED = ("validation_loss", "answer_score", "readable")
HIGHER_IS_BETTER = {"validation_loss": False, "answer_score": True}

Record = dict[str, Any]


class Log:
    """Appends records with the seconds trained so far.

    Args:
        records: those of the checkpoint that a run goes on from (each checkpoint holds its own); whatever else an
            interrupted run had written is about to be made again, and is dropped.
        writes: whether this process is the one that writes.
    """

    def __init__(self, path: Path, records: Sequence[Record] = (), writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.records = list(records)
        if writes:
            write_jsonl(path, self.records)
        self.before = self.records[-1]["seconds"] if self.records else 0.0
        self.started = time.monotonic()

    def add(self, **record: float) -> None:
        """Append one record."""
        record["seconds"] = round(self.before + time.monotonic() - self.started, 2)
        self.records.append(record)
        if self.writes:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record, allow_nan=False) + "\n")

    def keep(self, folder: Path) -> None:
        """Write the records so far into a checkpoint's folder, and see the log itself safely on the disk."""
        write_jsonl(folder / self.path.name, self.records)
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())

    def best_step(self, settings: Train) -> int | None:
        """The step of the best validation so far, the first of equals; None where the recipe keeps the last model."""
        return best_step(self.records, settings)

    def final_metrics(self, settings: Train) -> dict[str, float]:
        """What the last validation measured of the model that is kept, and the last training loss."""
        kept = self.best_step(settings)
        validated = [
            each for each in self.records if "validation_loss" in each and each["step"] == (kept or each["step"])
        ]
        losses = [each["loss"] for each in self.records if "loss" in each]
        found = {"step": validated[-1]["step"]} if validated else {}
        found |= {name: validated[-1][name] for name in MEASURED if validated and name in validated[-1]}
        return found | ({"loss": losses[-1]} if losses else {})

    def is_over(self, settings: Train) -> bool:
        """Whether the recipe's `patience` has run out."""
        best = self.best_step(settings)
        later = sum(step > (best or 0) for step, _ in _scores(self.records, settings))
        return bool(settings.patience) and later >= settings.patience


def best_step(records: Sequence[Record], settings: Train, until: int | None = None) -> int | None:
    """The step of the best validation in a log, or in its records up to the step `until`; the first of equals."""
    scores = [each for each in _scores(records, settings) if until is None or each[0] <= until]
    return max(scores, key=lambda each: (each[1], -each[0]))[0] if scores else None


def _scores(records: Sequence[Record], settings: Train) -> list[tuple[int, float]]:
    """Step and value of each validation, greater being better."""
    key = {"last": None, "loss": "validation_loss", "answers": "answer_score"}[settings.best]
    sign = 1 if key and HIGHER_IS_BETTER[key] else -1
    return [(record["step"], sign * record[key]) for record in records if key in record]
