"""Cross-fitting: every row that a run was trained on is judged by a model that never saw it, nor anything like it.

The run's training rows are dealt out in folds, and for each fold a model is trained by the run's own recipe on the
others. Rows that share a product code, a title, a picture or a near duplicate of it (a group, see catalogue/split.py)
stay in one fold, and a row that was not trained on but is of such a group is judged with it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoProcessor

from hangtag.catalogue import journal
from hangtag.catalogue.duplicates import alike_pictures
from hangtag.catalogue.facts import measure_all
from hangtag.catalogue.split import GROUP_KEYS, group_rows
from hangtag.catalogue.store import Catalogue
from hangtag.errors import DataError, ImageError, RunError, first_line
from hangtag.examples.chat import Chat
from hangtag.examples.examples import Examples
from hangtag.examples.rows import UsableRow, sort_rows, usable_rows
from hangtag.files import Run, read_json, write_json
from hangtag.progress import Progress, Stages, silent
from hangtag.recipe import Recipe
from hangtag.recipe.sections import Track
from hangtag.training.begun import digest
from hangtag.training.train import Say, quiet, train

Places = NDArray[np.int64]
OWN = 0
"""The fold number of rows that the run's own model judges; the folds count from 1."""


@dataclass(frozen=True)
class Known:
    """Rows of one catalogue, and which of them the run was trained on."""

    catalogue: Catalogue
    rows: Sequence[UsableRow]
    trained: bool


def group_numbers(
    parts: Sequence[Known], refused: dict[Path, str] | None = None, progress: Progress | None = None
) -> list[Places]:
    """The number of each row's group, for each part; equal numbers, also across parts, are one group.

    Args:
        refused: takes up why a picture cannot be read, by path; such a picture is like nothing but its own bytes.
        progress: called with pictures measured and pictures in all.
    """
    rows: list[dict[str, str]] = []
    shown: dict[str, int] = {}
    alike: list[tuple[str, str]] = []
    hashes: dict[str, str] = {}
    for part in parts:
        names = list(dict.fromkeys(_name(part.catalogue, path) for row in part.rows for path in row.pictures))
        bad: dict[str, str] = {}
        facts = measure_all(part.catalogue.path, names, journal.known_facts(part.catalogue.path), progress, refused=bad)
        if refused is not None:
            refused.update({part.catalogue.path / name: why for name, why in bad.items()})
        content = {name: _content(part.catalogue.path / name) for name in names}
        hashes |= {content[name]: found.hash for name, found in facts.items()}
        keys = [key for key in _keys(part.catalogue) if key in part.catalogue.columns]
        for row in part.rows:
            cells = part.catalogue.rows[row.number - 1]
            rows.append({"file_name": f"row {len(rows)}", **{key: cells[key] for key in keys}})
            for path in row.pictures:
                first = shown.setdefault(content[_name(part.catalogue, path)], len(rows) - 1)
                alike.append((f"row {first}", f"row {len(rows) - 1}"))
    near, _ = alike_pictures(hashes)
    alike += [(f"row {shown[one]}", f"row {shown[other]}") for one, other in near]
    keys = list(dict.fromkeys(key for part in parts for key in _keys(part.catalogue)))
    number: dict[Any, int] = {}
    found = np.array([number.setdefault(key, len(number)) for key in group_rows(rows, keys, alike)], np.int64)
    return np.split(found, np.cumsum([len(part.rows) for part in parts])[:-1])


def _keys(catalogue: Catalogue) -> list[str]:
    """The columns by which the catalogue was divided, where it says so."""
    keys = catalogue.info.get("options", {}).get("keys")
    return keys if isinstance(keys, list) and keys else list(GROUP_KEYS)


def _name(catalogue: Catalogue, path: Path) -> str:
    return path.relative_to(catalogue.path).as_posix()


def _content(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def deal(groups: Places, trained: NDArray[np.bool_], folds: int) -> Places:
    """Each row's fold, 1 to `folds`; OWN for rows of groups without a row that was trained on.

    Whole groups are dealt, the one with most trained rows first, each to the fold that has fewest.

    Args:
        groups: each row's group [n].
        trained: whether the run was trained on it [n].

    Raises:
        DataError: there are fewer groups with trained rows than folds.
    """
    weights = np.bincount(groups, trained.astype(np.int64), groups.max(initial=-1) + 1).astype(np.int64)
    there = np.flatnonzero(weights)
    if len(there) < folds:
        raise DataError(
            f"the run was trained on {int(trained.sum())} rows in {len(there)} groups (a product code, a title or a "
            f"picture in common), too few for {folds} folds; ask for fewer with --folds, or divide the table finer"
        )
    fold_of, load = np.full(len(weights), OWN, np.int64), np.zeros(folds, np.int64)
    for group in there[np.argsort(-weights[there], kind="stable")].tolist():
        fold = int(np.argmin(load))
        fold_of[group] = fold + 1
        load[fold] += weights[group]
    return fold_of[groups]


@dataclass(frozen=True)
class FoldRun:
    """A fold's run folder, what its model is trained on, and whether that is done."""

    number: int
    run: Run
    catalogue: Catalogue
    record: dict[str, Any]

    @property
    def trained_by_run(self) -> int:
        """How many rows the run itself was trained on."""
        return len(self.record["train"]) + len(self.record["held_out"])

    @property
    def written(self) -> Path:
        """The record beside the run folder."""
        return self.run.path.with_name(f"{self.run.path.name}.json")

    def same(self) -> bool:
        """Whether the folder was begun for these very rows by this recipe."""
        return self.written.is_file() and read_json(self.written) == self.record

    def finished(self) -> bool:
        return self.same() and self.run.has_model()


def fold_runs(
    folder: Path, recipe: Recipe, catalogue: Catalogue, folds: Places, rows: Sequence[UsableRow]
) -> list[FoldRun]:
    """What is to be trained: for each fold the catalogue with the fold's rows moved from train to test.

    Args:
        folder: fold-1, fold-2, ... will lie here.
        catalogue: the run's own.
        folds: of each training row [n].
        rows: the training rows.
    """
    template, columns = recipe.task.template, recipe.data.pictures
    found = []
    for fold in range(1, int(folds.max()) + 1):
        held = {row.number for row, mine in zip(rows, folds.tolist(), strict=True) if mine == fold}
        moved = [{**row, "split": "test"} if number in held else row for number, row in enumerate(catalogue.rows, 1)]
        without = replace(catalogue, rows=moved)
        learned, _ = usable_rows(without, "train", template, columns)
        record = {
            "fold": fold,
            "held_out": sorted(held),
            "train": [row.number for row in learned],
            "sha256": _digest(recipe, without, learned),
        }
        found.append(FoldRun(fold, Run(folder / f"fold-{fold}"), without, record))
    return found


def _digest(recipe: Recipe, catalogue: Catalogue, rows: Iterable[UsableRow]) -> str:
    """A SHA-256 over the recipe but for its trackers, and each row's values and pictures."""
    learned = recipe.model_dump(mode="json", exclude={"track"})
    made = hashlib.sha256(json.dumps(learned, sort_keys=True, default=str).encode())
    for row in rows:
        pictures = [(_name(catalogue, path), path.stat().st_size) for path in row.pictures]
        made.update(json.dumps([row.number, row.values, pictures]).encode() + b"\n")
    return made.hexdigest()


def train_fold(fold: FoldRun, recipe: Recipe, stages: Stages = silent, say: Say = quiet) -> None:
    """Train a fold's model, or go on with it; nothing is sent to a tracker.

    A folder that was begun for other rows or by another recipe is begun again.
    """
    if not fold.same():
        if fold.run.path.exists():
            say(f"{fold.run.path} was trained on other rows or by another recipe: it is trained again")
            shutil.rmtree(fold.run.path)
        write_json(fold.written, fold.record)
    train(recipe.model_copy(update={"track": Track()}), fold.run.path, stages, say, fold.catalogue)


def is_trained_on(run: Run, recipe: Recipe, catalogue: Catalogue) -> bool:
    """Whether the catalogue's training rows are those that the run was trained on, by what it wrote down of them.

    Raises:
        RunError: the run's model folder is damaged.
    """
    recorded = read_json(run.environment).get("data", {}).get("train") if run.environment.is_file() else None
    rows, _ = sort_rows(catalogue, "train", recipe.task.template, recipe.data.pictures)
    if not recorded or not rows:
        return False
    try:
        processor = AutoProcessor.from_pretrained(run.model)
    except (OSError, ValueError) as error:
        raise RunError(f"{run.model} cannot be loaded: {first_line(error)}; train the run again") from None
    try:
        examples = Examples(rows, processor, recipe.task.template, Chat.of(recipe.task))
    except ImageError:  # it was trained on pictures that could be read
        return False
    if recipe.train.overlong == "drop":
        lengths = examples.lengths()
        examples.only([place for place, length in enumerate(lengths) if length <= recipe.train.token_budget])
    return bool(digest(examples) == recorded)
