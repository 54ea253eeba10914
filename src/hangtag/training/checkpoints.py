"""Checkpoints that appear whole, prove themselves whole when they are taken up, and are pruned.

checkpoints/step-N/     what the Trainer writes: weights or adapter, optimizer, scheduler, random numbers, state
    whole.json          every file's size and SHA-256, written last of all
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from hangtag.errors import DataError
from hangtag.files import Run, read_json, write_json

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


def publish(run: Run, written: Path, step: int) -> None:
    """Give a finished checkpoint its manifest and its name, in that order."""
    (written / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing reads
    files = sorted(each for each in written.rglob("*") if each.is_file())
    for each in files:
        _flush(each)
    entries = {str(each.relative_to(written)): [each.stat().st_size, _digest(each)] for each in files}
    write_json(written / MANIFEST, entries)
    target = checkpoint_at(run, step)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(written, target)
    shutil.rmtree(partial_folder(run), ignore_errors=True)


def prune(run: Run, keep: int, spared: Collection[int] = ()) -> None:
    """Remove all but the newest `keep` checkpoints and the `spared` steps."""
    for old in checkpoints(run)[:-keep]:
        if step_of(old) not in spared:
            shutil.rmtree(old)


def newest_whole(run: Run, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that is as it was written; a damaged one is passed over, and `warn` is told why."""
    for checkpoint in reversed(checkpoints(run)):
        problem = damage(checkpoint)
        if problem is None:
            return checkpoint
        warn(f"{checkpoint} is damaged ({problem}) and passed over; the run goes on from an older one")
    return None


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None."""
    try:
        entries = read_json(checkpoint / MANIFEST)
        for name, (size, digest) in entries.items():
            file = checkpoint / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size:,} bytes, {size:,} were written"
            if _digest(file) != digest:
                return f"{name} has changed"
    except (DataError, OSError, AttributeError, TypeError, ValueError) as error:
        return str(error)
    return None


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _flush(file: Path) -> None:
    with open(file, "rb") as opened:
        os.fsync(opened.fileno())
