"""What was trained, on what, for how long and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hangtag.files import Run
from hangtag.recipe import Recipe
from hangtag.report.words import counted, duration

Log = Sequence[Mapping[str, Any]]


def base(run: Run, recipe: Recipe) -> str:
    """The model in a few words; of an adapter, what it lies on."""
    if not run.has_adapter():
        return recipe.model.base
    return f"{recipe.train.method} adapter on {recipe.model.base}"


def trained(log: Log) -> str:
    """How long training took, in a few words."""
    last = {key: each[key] for each in log for key in ("step", "epoch", "seconds") if key in each}
    if "step" not in last:
        return ""
    parts = [counted(round(last["step"]), "step")]
    if "epoch" in last:
        parts.append(f"{last['epoch']:.3g} epochs")
    if "seconds" in last:
        parts.append(duration(last["seconds"]))
    return ", ".join(parts)


def facts(run: Run, recipe: Recipe, log: Log, environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values for the end of the page."""
    train, rows = recipe.train, environment.get("data", {})
    learned = [counted(rows[split]["rows"], f"{split} row") for split in ("train", "validation") if split in rows]
    found = [
        ("Model", base(run, recipe)),
        ("Learned from", " · ".join([recipe.data.path, *learned])),
        ("Learned to write", recipe.task.answer),
        ("Asked", recipe.task.prompt),
        ("Training", trained(log)),
        ("How", f"{train.objective}, {train.method}, {train.optimizer}, {train.batch_size} rows a step"),
        ("Machine", _machine(environment)),
        ("Software", _software(environment)),
    ]
    return [(name, value) for name, value in found if value]


def _machine(environment: Mapping[str, Any]) -> str:
    parts = [environment.get("accelerator") or environment.get("processor") or ""]
    if environment.get("cores"):
        parts.append(counted(environment["cores"], "core"))
    return ", ".join(str(part) for part in parts if part)


def _software(environment: Mapping[str, Any]) -> str:
    packages = environment.get("packages", {})
    named = [f"{name} {packages[name]}" for name in ("hangtag", "torch", "transformers", "peft") if name in packages]
    return ", ".join([*named, *([f"Python {environment['python']}"] if "python" in environment else [])])
