"""Checkpoints that appear whole, prove themselves whole when they are taken up, and are pruned.

checkpoints/step-N/     what the Trainer writes: weights or adapter, optimizer, scheduler, random numbers, state
    log.jsonl           the run's log up to this step
    whole.json          every file's size and SHA-256, written last of all
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hangtag.errors import DataError
from hangtag.files import Run, read_json, read_jsonl, write_json
from hangtag.recipe import Train
from hangtag.training.log import Record, best_step

MANIFEST = "whole.json"
_PARTIAL = ".partial"


def checkpoints(run: Run) -> list[Path]:
    """A run's checkpoints, oldest first."""
    found = [each for each in run.checkpoints.glob("step-*") if each.name.removeprefix("step-").isdecimal()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("step-"))


def checkpoint_at(run: Run, step: int) -> Path:
    """Where the checkpoint of a step lies, or would."""
    return run.checkpoints / f"step-{step}"


def partial_folder(run: Run) -> Path:
    """Where a checkpoint is written before it has its name."""
    return run.checkpoints / _PARTIAL


def remove_partial(run: Run) -> None:
    """Remove what there is of a checkpoint that was not finished."""
    shutil.rmtree(partial_folder(run), ignore_errors=True)


def publish(run: Run, written: Path, step: int) -> None:
    """Give a finished checkpoint its manifest and its name, in that order, each safely on the disk before the next."""
    (written / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing reads
    files = flush_all(written)
    entries = {str(each.relative_to(written)): [each.stat().st_size, _digest(each)] for each in files}
    write_json(written / MANIFEST, entries)
    target = checkpoint_at(run, step)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(written, target)
    _flush(run.checkpoints)
    remove_partial(run)


def flush_all(folder: Path) -> list[Path]:
    """See every file of a folder safely on the disk; return them."""
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    for each in files:
        _flush(each)
    return files


def prune(run: Run, settings: Train, records: Sequence[Record]) -> None:
    """Remove all but the newest `keep_checkpoints` and the best that each of them knows.

    Args:
        records: the run's log.
    """
    kept = [step_of(each) for each in checkpoints(run)[-settings.keep_checkpoints :]]
    spared = {*kept, *(best_step(records, settings, until=step) for step in kept)}
    for old in checkpoints(run):
        if step_of(old) not in spared:
            shutil.rmtree(old)


def take_up(run: Run, settings: Train, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that a run can go on from: it and the best one that it knows are as they were written.

    `warn` is told of those that are passed over; they are removed, since the run is about to make them again.
    """
    remove_partial(run)
    newer: list[Path] = []
    found = None
    for checkpoint in reversed(checkpoints(run)):
        problem = _damage_of_it_or_its_best(run, checkpoint, settings)
        if problem is None:
            found = checkpoint
            break
        newer.append(checkpoint)
        warn(f"{checkpoint} is passed over: {problem}")
    for each in newer:
        shutil.rmtree(each)
    if newer:
        warn(f"the run goes on from {found.name}" if found else "no whole checkpoint is left: the run begins anew")
    if found:
        prune(run, settings, read_jsonl(found / run.log.name))
    return found


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None."""
    if not (checkpoint / MANIFEST).is_file():
        return f"{MANIFEST} is missing" if checkpoint.is_dir() else "it is missing"
    try:
        entries: dict[str, Any] = read_json(checkpoint / MANIFEST)
        for name, (size, digest) in entries.items():
            file = checkpoint / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size:,} bytes, {size:,} were written"
            if _digest(file) != digest:
                return f"{name} is not as it was written"
    except (DataError, OSError, AttributeError, TypeError, ValueError) as error:
        return f"{MANIFEST} or a file that it names cannot be read: {error}"
    return None


def _damage_of_it_or_its_best(run: Run, checkpoint: Path, settings: Train) -> str | None:
    problem = damage(checkpoint)
    if problem is not None:
        return f"it is damaged ({problem})"
    best = best_step(read_jsonl(checkpoint / run.log.name), settings)
    if best is None or best == step_of(checkpoint):
        return None
    problem = damage(checkpoint_at(run, best))
    return problem and f"the best before it, {checkpoint_at(run, best).name}, is damaged ({problem})"


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
