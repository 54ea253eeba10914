"""From a run folder to its scores and its page: what `hangtag evaluate` does."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from hangtag.catalogue.store import open_catalogue
from hangtag.errors import TableError
from hangtag.evaluation.evaluate import evaluate, write_evaluation
from hangtag.files import Run
from hangtag.prediction.tagger import load
from hangtag.progress import Stages, silent
from hangtag.report import summary_table, write_report


def assess(run: str | Path, data: Path | None, split: str, stages: Stages = silent) -> tuple[Table, Path]:
    """Generate answers for a split, score them, write metrics and report; return the table and the report's path.

    Args:
        data: a catalogue other than the run's own.

    Raises:
        RunError: no run, or no model in it.
        DataError: the catalogue, a column or the split is missing.
    """
    folder = Run(Path(run)).require_model()
    tagger = load(folder.path)
    try:
        catalogue = open_catalogue(data or tagger.recipe.data.path)
    except TableError as error:
        raise error if data else TableError(f"{error}; or say where the run's catalogue lies with --data") from None
    with stages("writing answers") as progress:
        recipe = tagger.recipe
        metrics, predictions = evaluate(
            tagger, catalogue, split, recipe.task.template, progress, pictures=recipe.data.pictures
        )
    write_evaluation(folder.path, split, metrics, predictions)
    return summary_table(metrics), write_report(folder.path, split, catalogue)
