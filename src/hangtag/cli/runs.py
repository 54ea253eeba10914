"""Commands that train, evaluate and use a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hangtag.cli.app import RunFolder, Seed, Settings, app
from hangtag.files import Run

Minimise = Literal["mae", "mape", "rmsle", "smape", "within_20"]


@app.command(epilog="Example: [bold]hangtag demo --out runs/demo[/bold]")
def demo(
    out: Annotated[Path, typer.Option(help="Run folder; the catalogue is made beside it.")] = Path("runs/demo"),
    rows: Annotated[int, typer.Option(min=20, help="Products to invent.")] = 3040,
    seed: Seed = 0,
    set_: Settings = None,
) -> None:
    """Go the whole way on an invented catalogue with the nano model: invent, train, evaluate, report."""
    from hangtag.demo import run_demo
    from hangtag.terminal import hush_transformers, note, say, terminal_stages

    hush_transformers()
    done = run_demo(out, rows, seed, set_ or [], terminal_stages, note)
    say(done.table)
    say("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in done.seconds.items()))
    say(f"report: {done.report}")
    for command in done.commands:
        say(f"try it: {command}")


@app.command(
    epilog="Examples: [bold]hangtag train demo --set data.path=data/demo[/bold], "
    "[bold]hangtag train my.toml --set train.epochs=5 --out runs/five[/bold]"
)
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.")],
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/ and the recipe's name if not given.")] = None,
) -> None:
    """Fine-tune as a recipe says; run again after an interruption, it goes on."""
    from hangtag.recipe import load_recipe
    from hangtag.terminal import hush_transformers, note, say, terminal_stages

    checked = load_recipe(recipe, set_ or [])
    folder = out or Path("runs") / Path(recipe).stem
    from hangtag.training.processes import is_first
    from hangtag.training.train import train as train_recipe

    hush_transformers()
    run = train_recipe(checked, folder, terminal_stages, note)
    if not is_first():
        return
    if _lines(run.rejected) > 1:
        say(f"{_lines(run.rejected) - 1} rows could not be used, see {run.rejected}")
    say(f"model in {run.model}; next: hangtag evaluate {run.path}")


@app.command(epilog="Example: [bold]hangtag evaluate runs/demo --split test[/bold]")
def evaluate(
    run: RunFolder,
    data: Annotated[Path | None, typer.Option(help="A catalogue; the run's own if not given.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    minimise: Annotated[
        Minimise, typer.Option(help="The error for whose sake a number is estimated from the model's probabilities.")
    ] = "mae",
) -> None:
    """Generate answers for a split, score them beside baselines and controls, and write the report.

    Run again after an interruption, it goes on.
    """
    Run(run).require_model()  # before the slow imports
    from hangtag.report.assess import assess
    from hangtag.terminal import hush_transformers, say, terminal_stages

    hush_transformers()
    table, report = assess(run, data, split, terminal_stages, minimise)
    say(table)
    say(f"report: {report}")


@app.command(
    epilog="Examples: [bold]hangtag compare runs/lora runs/full[/bold], "
    "[bold]hangtag compare runs/a runs/b runs/c --split validation --out comparisons/abc[/bold]"
)
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Evaluated runs; the first is the measure.")],
    split: Annotated[str, typer.Option(help="The evaluated split.")] = "test",
    out: Annotated[Path, typer.Option(help="Folder for comparison.json and comparison.html.")] = Path("comparison"),
) -> None:
    """Set evaluated runs side by side on the same rows, with intervals of their differences and where they differ."""
    from hangtag.report.compare import compare_runs
    from hangtag.terminal import say

    table, page = compare_runs(runs, split, out)
    say(table)
    say(f"comparison: {page}")


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n") if path.exists() else 0


@app.command(
    epilog="Examples: [bold]hangtag audit runs/demo[/bold], "
    "[bold]hangtag audit runs/shop --data data/new-season --out audits/new-season[/bold]"
)
def audit(
    run: RunFolder,
    data: Annotated[Path | None, typer.Option(help="A catalogue; the run's own if not given.")] = None,
    split: Annotated[str, typer.Option(help="all, train, validation or test.")] = "all",
    folds: Annotated[int, typer.Option(help="Models that judge the rows the run was trained on.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Folder for the two files; RUN/audit if not given.")] = None,
) -> None:
    """Find rows whose picture and tag disagree, worst first; no row is judged by a model that was trained on it."""
    Run(run).require_model()  # before the slow imports
    from hangtag.report.audit import audit as audit_run
    from hangtag.terminal import hush_transformers, note, say, terminal_stages

    hush_transformers()
    done = audit_run(run, data, split, folds, out, terminal_stages, note)
    say(done.table)
    if done.left_out:
        say(f"{done.left_out} rows could not be judged, see {done.rejected}")
    say(f"all rows: {done.csv}")
    say(f"to go through: {done.page}")
