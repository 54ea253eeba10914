"""log.jsonl: one record for each step and each validation, appended as training goes.

step, epoch         an epoch is a pass over the training rows; both count from the run's beginning
loss                of a step: summed over its answer tokens, divided by their number, over all processes
grad_norm, learning_rate, tokens
validation_loss, answer_score, readable     of a validation (see `validation`)
wait, seconds       share of the time since the last record that a step waited for data; seconds trained in all
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from hangtag.files import read_jsonl, write_jsonl
from hangtag.recipe import Train

HIGHER_IS_BETTER = {"validation_loss": False, "answer_score": True}


class Log:
    """Appends records with the seconds trained so far.

    A resumed run goes on from its checkpoint's step: later records, which are about to be made again, are dropped, and
    so is a line that was cut off.
    """

    def __init__(self, path: Path, resumed_step: int = 0, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.records = [record for record in _whole_lines(path) if record["step"] <= resumed_step]
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
                file.write(json.dumps(record) + "\n")

    def best_step(self, settings: Train) -> int | None:
        """The step of the best validation so far, the first of equals; None where the recipe keeps the last model."""
        scores = self._scores(settings)
        if not scores:
            return None
        return max(scores, key=lambda each: (each[1], -each[0]))[0]

    def is_over(self, settings: Train) -> bool:
        """Whether the recipe's `patience` has run out."""
        scores, best = self._scores(settings), self.best_step(settings)
        return bool(settings.patience) and sum(step > (best or 0) for step, _ in scores) >= settings.patience

    def _scores(self, settings: Train) -> list[tuple[int, float]]:
        """Step and value of each validation, greater being better."""
        key = {"last": None, "loss": "validation_loss", "answers": "answer_score"}[settings.best]
        sign = 1 if key and HIGHER_IS_BETTER[key] else -1
        return [(record["step"], sign * record[key]) for record in self.records if key in record]


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a log whose last line may have been cut off by a kill."""
    if not path.exists():
        return []
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])
    return read_jsonl(path)
