"""The command line. Each verb imports what it needs when it is called, so `--help` answers at once."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from hangtag.errors import HangtagError
from hangtag.files import Run

app = typer.Typer(
    name="hangtag",
    help="Fine-tune Phi-3-vision to write a product's tag (title, category, price) from its photo alone.",
    epilog="The whole way in minutes, on a laptop: [bold]hangtag demo[/bold]",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as `hangtag train` leaves it.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")]


def _show_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"hangtag {metadata.version('hangtag')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command(epilog="Example: [bold]hangtag demo --out runs/demo[/bold]")
def demo(
    out: Annotated[Path, typer.Option(help="Run folder; the catalogue is made beside it.")] = Path("runs/demo"),
    rows: Annotated[int, typer.Option(min=20, help="Products to invent.")] = 3040,
    seed: Seed = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe's key.")] = None,
) -> None:
    """Go the whole way on an invented catalogue with the nano model: invent, train, evaluate, report."""
    from hangtag.demo import run_demo
    from hangtag.terminal import hush_transformers, say, terminal_stages

    hush_transformers()
    done = run_demo(out, rows, seed, set_ or [], terminal_stages)
    say(done.table)
    say("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in done.seconds.items()))
    say(f"report: {done.report}")
    say(f"try it: {done.command}")


@app.command(
    epilog="Examples: [bold]hangtag synth data/demo --rows 3040 --seed 0[/bold], "
    "[bold]hangtag synth data/twin --like products.csv[/bold]"
)
def synth(
    out: Out,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Products to invent; 3040, with --like as many as the table has.")
    ] = None,
    seed: Seed = 0,
    size: Annotated[int, typer.Option(min=64, max=2048, help="Side of a picture, pixels.")] = 336,
    like: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Invent rows like a table's: its columns, none of its rows.")
    ] = None,
    min_count: Annotated[
        int, typer.Option(min=1, help='With --like: categories of fewer rows of the table become "other".')
    ] = 5,
    title_column: Annotated[str | None, typer.Option(help="With --like: where titles stand; found by name.")] = None,
    category_column: Annotated[
        str | None, typer.Option(help="With --like: the category that a picture shows; found by name.")
    ] = None,
    price_column: Annotated[
        str | None, typer.Option(help="With --like: the price that a picture shows; found by name.")
    ] = None,
) -> None:
    """Invent a catalogue: product pictures and a table whose every word can be seen in them."""
    from hangtag.terminal import say, terminal_stages

    with terminal_stages("inventing products") as progress:
        if like is None:
            from hangtag.catalogue.synth import synthesise

            info = synthesise(out, rows=rows or 3040, seed=seed, size=size, progress=progress)
        else:
            from hangtag.catalogue.like.synth_like import synthesise_like

            columns = (title_column, category_column, price_column)
            info = synthesise_like(like, out, rows, seed, size, min_count, *columns, progress=progress)
    goes_on = f"hangtag train demo --set data.path={out}" if like is None else f"see {out / 'catalogue.json'}"
    say(f"{info['counts']['rows']} products in {out}; next: {goes_on}")


@app.command(epilog="Example: [bold]hangtag fetch products.csv data/shop --image-column photo[/bold]")
def fetch(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A .csv, .tsv, .jsonl or .parquet file.")],
    out: Out,
    image_column: Annotated[str, typer.Option(help="The column that names each row's picture.")] = "imageurl",
    seed: Seed = 0,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Also read pictures outside the table's own folder.")
    ] = False,
) -> None:
    """Make a catalogue of your own table and its pictures (local files; URLs are not fetched yet)."""
    from hangtag.catalogue.fetch import fetch as fetch_table
    from hangtag.terminal import say, terminal_stages

    with terminal_stages("reading pictures") as progress:
        info = fetch_table(
            table, out, image_column=image_column, seed=seed, allow_outside=allow_outside, progress=progress
        )
    counts = info["counts"]
    refused = f"; {counts['rejected']} rejected, see {out / 'rejected.csv'}" if counts["rejected"] else ""
    say(f"{counts['rows']} products in {out}{refused}")


@app.command(
    epilog="Examples: [bold]hangtag train demo --set data.path=data/demo[/bold], "
    "[bold]hangtag train my.toml --set train.epochs=5 --out runs/five[/bold]"
)
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe's key.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/ and the recipe's name if not given.")] = None,
) -> None:
    """Fine-tune as a recipe says; run again after an interruption, it goes on."""
    from hangtag.recipe import load_recipe
    from hangtag.terminal import hush_transformers, say, terminal_stages

    checked = load_recipe(recipe, set_ or [])
    folder = out or Path("runs") / Path(recipe).stem
    from hangtag.training.train import train as train_recipe

    hush_transformers()
    run = train_recipe(checked, folder, terminal_stages)
    if _lines(run.rejected) > 1:
        say(f"{_lines(run.rejected) - 1} rows could not be used, see {run.rejected}")
    say(f"model in {run.model}; next: hangtag evaluate {run.path}")


@app.command(epilog="Example: [bold]hangtag evaluate runs/demo --split test[/bold]")
def evaluate(
    run: RunFolder,
    data: Annotated[Path | None, typer.Option(help="A catalogue; the run's own if not given.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
) -> None:
    """Generate answers for a split, score them beside baselines and controls, and write the report."""
    Run(run).require_model()  # before the slow imports
    from hangtag.report.assess import assess
    from hangtag.terminal import hush_transformers, say, terminal_stages

    hush_transformers()
    table, report = assess(run, data, split, terminal_stages)
    say(table)
    say(f"report: {report}")


@app.command(
    epilog="Examples: [bold]hangtag predict runs/demo photo.jpg[/bold], "
    "[bold]hangtag predict runs/demo shop/ --json[/bold]"
)
def predict(
    run: RunFolder,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, and folders of pictures.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Write the tags of pictures; a picture that cannot be read is a line with its error."""
    from hangtag.prediction.predict import picture_files, records
    from hangtag.terminal import hush_transformers, say_json, say_tags, terminal_stages

    Run(run).require_model()
    files = picture_files(paths)
    from hangtag.prediction.tagger import load

    hush_transformers()
    tagger = load(run)
    with terminal_stages("writing tags") as progress:
        found = records(tagger, files, progress)
    if json:
        say_json(found)
    else:
        say_tags(found, tagger.recipe.task.template.names)
    failed = [each for each in found if each["error"]]
    if failed:
        raise HangtagError(f"{len(failed)} of {len(found)} pictures have no tag; the first: {failed[0]['error']}")


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n") if path.exists() else 0


def main() -> None:
    """The entry point: a user's mistake is one line on stderr and an exit code, never a traceback."""
    debug = "--debug" in sys.argv
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    _quiet_libraries(debug)
    try:
        app()  # answers wrong usage itself, with exit code 2
    except Exception as error:
        sys.exit(_failed(error, debug))


def _failed(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if isinstance(error, HangtagError):
        _complain(str(error))
        return error.exit_code
    if isinstance(error, OSError) and error.strerror:
        _complain(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    elif not debug:
        _complain(f"a bug: {type(error).__name__}: {error}; run again with --debug and report what it shows")
    return 1


def _complain(message: str) -> None:
    print(f"hangtag: {message}", file=sys.stderr)


def _quiet_libraries(debug: bool) -> None:
    if debug:
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import warnings

    warnings.filterwarnings("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
