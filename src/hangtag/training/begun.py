"""A run folder is begun once and taken up again: by the same recipe, on the same rows, by one hangtag at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hangtag.catalogue.store import REJECTED_COLUMNS, csv_text
from hangtag.errors import OutputNotEmpty, RunError, UsageError
from hangtag.examples.examples import Examples
from hangtag.files import (
    Run,
    lock,
    read_json,
    remove_leftovers,
    require_new_folder,
    whole_folder,
    write_json,
    write_whole,
)
from hangtag.recipe import Recipe, check_recipe
from hangtag.schema import tag_schema
from hangtag.training.checkpoints import remove_partial
from hangtag.training.data import Rejected
from hangtag.training.environment import environment

# How the work is done, not what is learned; these may change while a run is under way.
FREE = {"train.workers", "train.keep_checkpoints", "train.token_budget", "train.checkpointing", "train.compile",
        "train.vision_cache", "train.vision_cache_gb"}  # fmt: skip
FREE_SECTION = "track."
_LOCK = ".lock"


def check_output(run: Run, recipe: Recipe, say: Callable[[str], None]) -> bool:
    """Whether `run` was begun before with this very recipe; other content is refused.

    Raises:
        OutputNotEmpty: the folder holds something else.
        RunError: it was begun with another recipe; the message names every key. Keys that only say how the work is
            done (`FREE`, trackers) may differ, and `say` is told.
    """
    if not run.recipe.is_file():
        require_new_folder(run.path, "choose another --out, or remove it first")
        return False
    try:
        old = check_recipe(tomllib.loads(run.recipe.read_text(encoding="utf-8"))).model_dump()
    except (UsageError, ValueError) as error:
        raise OutputNotEmpty(f"{run.recipe} is no readable recipe ({error}); choose another --out") from None
    changed = _differences(old, recipe.model_dump())
    told = [f"{key} {how}" for key, how in changed.items() if not _is_free(key)]
    if told:
        raise RunError(
            f"{run.path} was begun with another recipe ({'; '.join(told)}); "
            "choose another --out, or remove it to start again"
        )
    if changed and not run.has_model():
        listed = "; ".join(f"{key} {how}" for key, how in changed.items())
        say(f"{listed}: the steps stay the same but for rounding, and the run goes on")
    return True


def begin(
    run: Run, recipe: Recipe, rejected: Rejected, data: dict[str, Any], categories: Mapping[str, Sequence[str]]
) -> None:
    """Make the run folder whole: recipe, schema, environment and rejected rows appear together.

    Args:
        categories: the values of each category field that are trained on.
        data: what is trained on (`digest`), kept in environment.json.
    """
    remove_leftovers(run.path)
    with whole_folder(run.path) as folder:
        new = Run(folder)
        write_whole(new.recipe, recipe.dump())
        write_json(new.schema, tag_schema(recipe.task.template, categories))
        write_json(new.environment, environment() | {"data": data})
        write_whole(new.rejected, csv_text(REJECTED_COLUMNS, rejected))


def digest(examples: Examples | None) -> dict[str, Any]:
    """A split in few words: rows, tokens, and a SHA-256 over answers, lengths, pictures' names and sizes."""
    if examples is None:
        return {"rows": 0}
    made, lengths = hashlib.sha256(), examples.lengths()
    for row, answer, length in zip(examples.rows, examples.answers, lengths, strict=True):
        pictures = [(each.name, each.stat().st_size, examples.sizes[each]) for each in row.pictures]
        made.update(json.dumps([answer, length, pictures]).encode() + b"\n")
    return {"rows": len(examples), "tokens": sum(lengths), "sha256": made.hexdigest()}


def check_unchanged(run: Run, data: dict[str, Any], say: Callable[[str], None]) -> None:
    """Whether a run that was begun before still sees the same rows; `say` is told of other libraries and hardware.

    Raises:
        RunError: a split's rows, answers or pictures have changed.
    """
    begun = read_json(run.environment)
    changed = []
    for split, now in data.items():
        then = begun.get("data", {}).get(split)
        if then != now:
            counts = [f"{key} were {then[key]:,}, are {now[key]:,}" for key in ("rows", "tokens")
                      if then and then.get(key) != now.get(key) and key in then and key in now]  # fmt: skip
            changed.append(f"{split}: {', '.join(counts) or 'other answers or pictures'}")
    if changed:
        raise RunError(
            f"the catalogue has changed since {run.path} was begun ({'; '.join(changed)}); "
            "put it back as it was, or choose another --out"
        )
    other = _differences(_decisive(begun), _decisive(environment()))
    if other:
        how = "; ".join(f"{key} {how}" for key, how in other.items())
        say(f"since the run was begun, {how}: it goes on, but last digits may differ from an unbroken run's")


@contextlib.contextmanager
def alone(run: Run, main: bool = True) -> Iterator[None]:
    """While this is open, no other hangtag trains in the run folder. What killed ones left half-written is removed.

    Args:
        main: whether this is the first of the run's processes; the others do nothing here.

    Raises:
        RunError: another hangtag is at it.
    """
    if not main:
        yield
        return
    run.checkpoints.mkdir(exist_ok=True)
    with open(run.checkpoints / _LOCK, "a") as file:
        lock(file, f"another hangtag is training in {run.path}; wait for it, or choose another --out")
        remove_partial(run)
        for each in (run.recipe, run.log, run.model):
            remove_leftovers(each)
        try:
            yield
        finally:
            (run.checkpoints / _LOCK).unlink(missing_ok=True)


def _decisive(environment: dict[str, Any]) -> dict[str, Any]:
    """What of an environment decides a computation's last digits."""
    return {key: environment.get(key) for key in ("accelerator", "threads", "packages")}


def _is_free(key: str) -> bool:
    return key in FREE or key.startswith(FREE_SECTION)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """What differs, by its full key: `was 1, is 2`."""
    changed: dict[str, str] = {}
    for key in [*old, *(key for key in new if key not in old)]:
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            changed |= _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            changed[f"{prefix}{key}"] = f"was {before!r}, is {now!r}"
    return changed
