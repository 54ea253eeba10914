"""From a run to the rows whose picture and tag disagree: what `hangtag audit` does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from hangtag.answer import Kind, Template
from hangtag.catalogue.split import SPLITS
from hangtag.catalogue.store import Catalogue, csv_text, open_catalogue
from hangtag.errors import DataError, RunError, TableError, UsageError, nearest_name
from hangtag.evaluation.disagreement import Judgement, disagreement
from hangtag.examples.rows import UsableRow, rejected_row, sort_rows
from hangtag.files import Run, read_jsonl, write_whole
from hangtag.prediction.loading import load
from hangtag.progress import Stages, silent
from hangtag.recipe import Recipe, load_recipe
from hangtag.report.findings import Finding, findings_csv, findings_table, render_findings
from hangtag.report.words import counted, duration
from hangtag.training.folds import OWN, FoldRun, Known, deal, fold_runs, group_numbers, is_trained_on, train_fold
from hangtag.training.train import Say, quiet

REJECTED = ["row", "file_name", "split", "reason", "detail"]
FOLDS = 3


@dataclass(frozen=True)
class Audit:
    """What an audit leaves: the worst rows' table, the files, and how many rows could not be judged."""

    table: Table
    csv: Path
    page: Path
    rejected: Path
    left_out: int


@dataclass(frozen=True)
class Sides:
    """The rows to audit, and the run's own rows; `same` where both are of one catalogue."""

    own: Catalogue
    audited: Catalogue
    rows: list[UsableRow]
    rejected: list[dict[str, str]]

    @property
    def same(self) -> bool:
        return self.own is self.audited


def audit(
    run: str | Path,
    data: Path | None = None,
    split: str = "all",
    folds: int = FOLDS,
    out: Path | None = None,
    stages: Stages = silent,
    say: Say = quiet,
) -> Audit:
    """Rank a catalogue's rows by how much picture and tag disagree; none is judged by a model trained on it.

    Args:
        data: a catalogue other than the run's own.
        split: "train", "validation", "test" or "all".
        folds: the run's training rows are judged by so many models, each trained on the others' rows.
        out: where audit.csv, audit.html and rejected.csv go; RUN/audit if not given. The folds' models always lie in
            RUN/audit/folds.

    Raises:
        RunError: no run, no model in it, or no telling what it was trained on.
        DataError: the catalogue, a column or the split's rows are missing; too few groups for the folds.
        UsageError: an unknown split, fewer than two folds, or several processes.
        Interrupted: stopped while a fold was trained, and saved.
    """
    _require_usable(split, folds)
    folder = Run(Path(run)).require_model()
    recipe = load_recipe(folder.recipe)
    sides = _sides(folder, recipe, data, split, say)
    fold_of, runs, refused = _assign(folder, recipe, sides, folds, stages)
    judged = [place for place, row in enumerate(sides.rows) if not any(path in refused for path in row.pictures)]
    unreadable = [
        rejected_row(row.number, sides.audited.rows[row.number - 1], refused[path], "picture-unreadable")
        for row in sides.rows
        if (path := next((each for each in row.pictures if each in refused), None))
    ]
    rows, judges = [sides.rows[place] for place in judged], fold_of[judged]
    if not rows:
        raise DataError(f"{sides.audited.path}: no row to audit has a picture that can be read")
    _announce(folder, judges, runs, say)
    for each in runs:
        if not each.finished():
            say(f"fold {each.number}: {each.run.path}")
        train_fold(each, recipe, stages, say)
    judgements = _judge(folder, rows, judges, runs, stages)
    template = recipe.task.template
    fields = {name: template.fields[name] for name in template.names}
    found = _findings(fields, template, sides.audited, rows, judgements)
    out = out or folder.path / "audit"
    rejected = sides.rejected + unreadable
    _write_rejected(out / "rejected.csv", sides.audited, rejected)
    write_whole(out / "audit.csv", findings_csv(fields, found))
    page = render_findings(folder.path.absolute().name, fields, found, sides.audited.path, split, rejected)
    write_whole(out / "audit.html", page)
    return Audit(
        findings_table(fields, found), out / "audit.csv", out / "audit.html", out / "rejected.csv", len(rejected)
    )


def _require_usable(split: str, folds: int) -> None:
    if split != "all" and split not in SPLITS:
        raise UsageError(f"no split {split!r}{nearest_name(split, ('all', *SPLITS))}")
    if folds < 2:
        raise UsageError(f"--folds {folds}: with fewer than 2 there is no model that did not see a row")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "hangtag audit runs as one process; start it without a launcher. The folds of a run that several processes "
            "trained are trained by this one: the same steps, in as many times the time, on one device's memory"
        )


def _sides(run: Run, recipe: Recipe, data: Path | None, split: str, say: Say) -> Sides:
    """Both catalogues, and the rows to audit.

    A catalogue given with --data that holds the very rows that the run was trained on is the run's own, moved.
    """
    audited = None if data is None else open_catalogue(data)
    try:
        own = open_catalogue(recipe.data.path)
    except TableError as error:
        if audited is None:
            raise TableError(f"{error}; or say where the run's catalogue lies with --data") from None
        _require_fields(audited, recipe)
        if not is_trained_on(run, recipe, audited):
            raise RunError(
                f"which rows {run.path} was trained on cannot be known, and none may be judged by a model trained on "
                f"it: {error}; put the run's catalogue back where it was"
            ) from None
        own = audited
    if audited is None or audited.path.resolve() == own.path.resolve():
        audited = own
    _require_fields(audited, recipe)
    if not is_trained_on(run, recipe, own):
        say(
            f"the training rows of {own.path} are no longer those that {run.path} was trained on; rows moved since "
            "from train to another split may be judged by a model that saw them"
        )
    template, columns = recipe.task.template, recipe.data.pictures
    rows, rejected = [], []
    for name in SPLITS if split == "all" else (split,):
        usable, bad = sort_rows(audited, name, template, columns)
        rows += usable
        rejected += bad
    if not rows:
        what = "no row" if split == "all" else f"no row of split {split!r}"
        why = f"; the first: {rejected[0]['detail']}" if rejected else ""
        raise DataError(f"{audited.path}: {what} can be audited ({counted(len(rejected), 'unusable row')}{why})")
    return Sides(own, audited, rows, rejected)


def _require_fields(catalogue: Catalogue, recipe: Recipe) -> None:
    try:
        catalogue.require_columns(recipe.task.template.names)
    except TableError as error:
        raise TableError(f"{error}; the run reads {', '.join(recipe.task.template.names)}") from None


def _assign(
    run: Run, recipe: Recipe, sides: Sides, folds: int, stages: Stages
) -> tuple[NDArray[np.int64], list[FoldRun], dict[Path, str]]:
    """The fold that judges each row to audit, the folds that are needed, and pictures that cannot be read."""
    template, columns = recipe.task.template, recipe.data.pictures
    own = {name: sort_rows(sides.own, name, template, columns)[0] for name in SPLITS}
    parts = [Known(sides.own, own[name], name == "train") for name in SPLITS]
    if not sides.same:
        parts = [parts[0], Known(sides.audited, sides.rows, False)]
    refused: dict[Path, str] = {}
    with stages("comparing pictures") as progress:
        groups = group_numbers(parts, refused, progress)
    trained = np.concatenate([np.full(len(each.rows), each.trained) for each in parts])
    everywhere = deal(np.concatenate(groups), trained, folds)
    of_train = everywhere[: len(own["train"])]
    fold_of = everywhere[len(own["train"]) :]
    if sides.same:
        place = {row.number: at for at, row in enumerate(row for part in parts for row in part.rows)}
        fold_of = everywhere[[place[row.number] for row in sides.rows]]
    every = fold_runs(run.path / "audit" / "folds", recipe, sides.own, of_train, own["train"])
    return fold_of, [each for each in every if (fold_of == each.number).any()], refused


def _announce(run: Run, judges: NDArray[np.int64], runs: Sequence[FoldRun], say: Say) -> None:
    own = int((judges == OWN).sum())
    if own:
        say(f"{counted(own, 'row')} that {run.path} was not trained on: judged by its model")
    if not runs:
        return
    say(
        f"{counted(len(judges) - own, 'row')} that it was trained on, or that are like one: judged by "
        f"{counted(len(runs), 'model')} trained by the same recipe on the other folds, in {runs[0].run.path.parent}"
    )
    to_train = [each for each in runs if not each.finished()]
    done = len(runs) - len(to_train)
    if done:
        say(f"{counted(done, 'model')} of an earlier audit {'is' if done == 1 else 'are'} used again")
    if to_train:
        say(f"to train: {counted(len(to_train), 'model')}{_expected_time(run, to_train)}")


def _expected_time(run: Run, to_train: Sequence[FoldRun]) -> str:
    """By the run's own log, each row costing as much as it did there."""
    try:
        log = read_jsonl(run.log)
    except DataError:
        return ""
    seconds = max((each["seconds"] for each in log if isinstance(each, dict) and "seconds" in each), default=0.0)
    share = sum(len(each.record["train"]) for each in to_train) / max(to_train[0].trained_by_run, 1)
    return f", by the run's own log about {duration(seconds * share)} if the machine is the same" if seconds else ""


def _judge(
    run: Run, rows: Sequence[UsableRow], judges: NDArray[np.int64], runs: Sequence[FoldRun], stages: Stages
) -> list[Judgement]:
    """What each row's own judge makes of it, in the rows' order."""
    found: dict[int, Judgement] = {}
    folders = {OWN: run.path, **{each.number: each.run.path for each in runs}}
    for judge, folder in folders.items():
        mine = np.flatnonzero(judges == judge).tolist()
        if not mine:
            continue
        tagger = load(folder)
        pictures, truths = [rows[place].pictures for place in mine], [rows[place].values for place in mine]
        name = "the run's model" if judge == OWN else f"fold {judge}"
        with stages(f"{name} reads") as progress:
            written = tagger.readings(pictures, progress, truths)
        with stages(f"{name} judges") as progress:
            given = tagger.readings_of(pictures, truths, progress)
        found |= {
            place: Judgement(rows[place].values, mine_written, mine_given, judge)
            for place, mine_written, mine_given in zip(mine, written, given, strict=True)
        }
    return [found[place] for place in range(len(rows))]


def _findings(
    fields: Mapping[str, Kind],
    template: Template,
    catalogue: Catalogue,
    rows: Sequence[UsableRow],
    judgements: Sequence[Judgement],
) -> list[Finding]:
    """Worst first."""
    found = disagreement(fields, judgements)
    findings = []
    for place in np.argsort(-found.together, kind="stable").tolist():
        row, text = rows[place], judgements[place].written.text
        cells = catalogue.rows[row.number - 1]
        findings.append(
            Finding(
                row=row.number,
                file_name=cells["file_name"],
                picture=row.pictures[0] if row.pictures else None,
                split=cells["split"],
                score=float(found.together[place]),
                scores={name: float(scores[place]) for name, scores in found.fields.items()},
                truth=row.values,
                written=None if text is None else template.read(text),
                most=found.most[place],
                judge=judgements[place].judge,
            )
        )
    return findings


def _write_rejected(path: Path, catalogue: Catalogue, rejected: Sequence[dict[str, str]]) -> None:
    lines = [
        {
            "row": each["row"],
            "file_name": catalogue.rows[int(each["row"]) - 1]["file_name"],
            "split": catalogue.rows[int(each["row"]) - 1]["split"],
            "reason": each["reason"],
            "detail": each["detail"],
        }
        for each in rejected
    ]
    write_whole(path, csv_text(REJECTED, lines))
