"""The whole way on an invented catalogue: invent, train nano, evaluate, report."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hangtag.catalogue.store import open_catalogue
from hangtag.catalogue.synth import synthesise
from hangtag.errors import OutputNotEmpty, TableError
from hangtag.files import Run
from hangtag.progress import Stages
from hangtag.recipe import load_recipe

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Demo:
    """What a demo leaves: the scores' table, the report, commands to paste, and seconds for each stage."""

    table: Table
    report: Path
    commands: list[str]
    seconds: dict[str, float]


def run_demo(
    out: Path, rows: int, seed: int, settings: Sequence[str], stages: Stages, say: Callable[[str], None]
) -> Demo:
    """Invent `rows` products beside `out`, train nano on them in `out`, score the test split.

    What an earlier, interrupted demo left whole is used again.

    Raises:
        OutputNotEmpty, RunError: `out` or the catalogue beside it was made otherwise.
    """
    folder = out.with_name(out.name + "-catalogue")
    recipe = load_recipe("demo", [f"data.path={folder}", f"train.seed={seed}", *settings])
    seconds: dict[str, float] = {}
    started = time.monotonic()
    if not _already_invented(folder, rows, seed):
        with stages("inventing products") as progress:
            synthesise(folder, rows=rows, seed=seed, progress=progress)
    seconds["synth"] = time.monotonic() - started

    from hangtag.report.assess import assess
    from hangtag.training.train import train

    started = time.monotonic()
    train(recipe, out, stages, say)
    seconds["train"] = time.monotonic() - started
    started = time.monotonic()
    table, report = assess(out, None, "test", stages)
    seconds["evaluate"] = time.monotonic() - started
    return Demo(table, report, _commands(Run(out), folder), seconds)


def _already_invented(folder: Path, rows: int, seed: int) -> bool:
    if not (folder / "catalogue.json").is_file():
        return False
    try:
        info = open_catalogue(folder).info
    except TableError as error:
        raise OutputNotEmpty(f"{error}; remove {folder} to start again") from None
    asked, found = {"rows": rows, "seed": seed}, info.get("options", {}) | {"seed": info.get("seed")}
    if any(found.get(name) != value for name, value in asked.items()):
        raise OutputNotEmpty(f"{folder} holds another catalogue; choose another --out, or remove it")
    return True


def _commands(run: Run, folder: Path) -> list[str]:
    """Lines that work where they are pasted, in an activated environment or not."""
    pictures = [str(folder / row["file_name"]) for row in open_catalogue(folder).split("test")[:3]]
    program = Path(sys.executable).with_name("hangtag")
    found = shutil.which("hangtag")
    name = "hangtag" if found and Path(found).resolve() == program.resolve() else _shortest(program)
    return [shlex.join([name, "predict", str(run.path), *pictures]), shlex.join([name, "serve", str(run.path)])]


def _shortest(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
