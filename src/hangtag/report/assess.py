"""From a run folder to its scores and its page: what `hangtag evaluate` does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from hangtag.catalogue import Catalogue
from hangtag.catalogue.split import SPLITS
from hangtag.catalogue.store import open_catalogue
from hangtag.errors import TableError, UsageError, nearest_name
from hangtag.evaluation.evaluate import evaluate, write_evaluation
from hangtag.evaluation.journal import open_journal
from hangtag.files import Run, file_state, write_json
from hangtag.prediction.loading import load
from hangtag.prediction.tagger import Tagger
from hangtag.prediction.untrained import Untrained
from hangtag.progress import Stages, silent
from hangtag.reading import Error
from hangtag.report import summary_table, write_report
from hangtag.training.environment import environment

SEED = 0


def assess(
    run: str | Path, data: Path | None, split: str, stages: Stages = silent, minimise: Error = "mae"
) -> tuple[Table, Path]:
    """Generate answers for a split, score them, write metrics and report; return the table and the report's path.

    What the validation rows of the run's own catalogue taught is kept in calibration.json. What an interrupted
    evaluation of the same model and rows had asked already is not asked again.

    Args:
        data: a catalogue other than the run's own.
        minimise: the error for whose sake a number's estimate is chosen.

    Raises:
        UsageError: an unknown split.
        RunError: no run, or no model in it; another process evaluates the same split.
        DataError: the catalogue, a column or the split is missing.
    """
    if split not in SPLITS:
        raise UsageError(f"no split {split!r}{nearest_name(split, SPLITS)}")
    folder = Run(Path(run)).require_model()
    tagger = load(folder.path)
    recipe = tagger.recipe
    try:
        catalogue = open_catalogue(data or recipe.data.path)
    except TableError as error:
        raise error if data else TableError(f"{error}; or say where the run's catalogue lies with --data") from None
    with (
        open_journal(folder.evaluation(split) / "asked.jsonl", _asked(folder, tagger, catalogue, split)) as journal,
        stages("writing answers") as progress,
    ):
        metrics, predictions = evaluate(
            tagger, catalogue, split, recipe.task.template, progress, SEED,
            recipe.data.pictures, journal, _untrained(tagger), minimise,
        )  # fmt: skip
        write_evaluation(folder.path, split, metrics, predictions)
        if metrics["calibration"] and data is None:
            write_json(folder.calibration, metrics["calibration"])
    return summary_table(metrics), write_report(folder.path, split, catalogue)


def _untrained(tagger: Tagger) -> Callable[[], Untrained] | None:
    return None if tagger.recipe.model.base == "nano" else partial(Untrained, tagger)


def _asked(run: Run, tagger: Tagger, catalogue: Catalogue, split: str) -> dict[str, Any]:
    """What decides every answer: the model's files, its recipe, the catalogue's rows and pictures, the libraries."""
    base = Path(tagger.recipe.model.base)
    made = environment()
    rows = [
        [row, *(file_state(catalogue.path / row[column]) for column in tagger.recipe.data.pictures if row.get(column))]
        for row in catalogue.rows
    ]
    return {
        "split": split,
        "seed": SEED,
        "model": [
            file_state(each) for folder in (run.model, base) if folder.is_dir() for each in sorted(folder.iterdir())
        ],
        "recipe": tagger.recipe.model_dump(exclude={"track"}),
        "rows": hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest(),
        "made_with": {name: made[name] for name in ("threads", "accelerator", "packages")},
    }
