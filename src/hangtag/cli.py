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
WEB = "Servers"
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


@app.command(epilog="Example: [bold]hangtag synth data/demo --rows 3040 --seed 0[/bold]")
def synth(
    out: Out,
    rows: Annotated[int, typer.Option(min=1, help="Products to invent.")] = 3040,
    seed: Seed = 0,
    size: Annotated[int, typer.Option(min=64, max=2048, help="Side of a picture, pixels.")] = 336,
) -> None:
    """Invent a catalogue: product pictures and a table whose every word can be seen in them."""
    from hangtag.catalogue.synth import synthesise
    from hangtag.terminal import say, terminal_stages

    with terminal_stages("inventing products") as progress:
        info = synthesise(out, rows=rows, seed=seed, size=size, progress=progress)
    say(f"{info['counts']['rows']} products in {out}; next: hangtag train demo --set data.path={out}")


@app.command(
    epilog="Examples: [bold]hangtag fetch products.csv data/shop --image-column photo[/bold], "
    "[bold]hangtag fetch DBQ/Burberry.Product.prices.United.States data/burberry[/bold], "
    "[bold]hangtag fetch 'shards/*.parquet' data/shop --image-column image --retry-rejected[/bold]"
)
def fetch(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="A .csv, .tsv, .jsonl or .parquet file, a quoted pattern or folder of them, "
            "or a Hugging Face data set by name or folder.",
        ),
    ],
    out: Out,
    image_column: Annotated[str, typer.Option(help="The column of URLs, paths or picture bytes.")] = "imageurl",
    keys: Annotated[
        str | None,
        typer.Option(help="Columns, with commas, whose equal values stay in one split; else product_code and title."),
    ] = None,
    seed: Seed = 0,
    max_side: Annotated[int, typer.Option(min=16, help="Longer side of the kept pictures, pixels.")] = 1024,
    config: Annotated[str | None, typer.Option(help="Which configuration of a Hugging Face data set.")] = None,
    retry_rejected: Annotated[
        bool, typer.Option("--retry-rejected", help="Try again what an earlier run could not get.")
    ] = False,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Also read pictures outside the table's own folder.")
    ] = False,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="Also fetch from private and loopback addresses.", rich_help_panel=WEB),
    ] = False,
    ignore_robots: Annotated[
        bool,
        typer.Option("--ignore-robots", help="Do not ask for robots.txt nor heed noai headers.", rich_help_panel=WEB),
    ] = False,
    per_host: Annotated[
        int, typer.Option(min=1, max=64, help="Requests to one host at a time.", rich_help_panel=WEB)
    ] = 8,
    overall: Annotated[
        int, typer.Option(min=1, max=1024, help="Requests in all at a time.", rich_help_panel=WEB)
    ] = 128,
    retries: Annotated[int, typer.Option(min=0, help="Tries after the first.", rich_help_panel=WEB)] = 2,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one whole picture.", rich_help_panel=WEB)] = 60,
    max_bytes: Annotated[int, typer.Option(min=1, help="Bytes of one picture.", rich_help_panel=WEB)] = 50_000_000,
    user_agent: Annotated[str | None, typer.Option(help="Who asks; add how to reach you.", rich_help_panel=WEB)] = None,
) -> None:
    """Make a catalogue of your own table and its pictures; run again after an interruption, it goes on."""
    from hangtag.catalogue.fetch import fetch as fetch_table
    from hangtag.catalogue.gather import Bounds
    from hangtag.catalogue.web import Limits
    from hangtag.terminal import say, terminal_stages

    web = Limits(
        per_host=per_host, overall=overall, whole=timeout, retries=retries, max_bytes=max_bytes,
        obey_robots=not ignore_robots, allow_private=allow_private, user_agent=user_agent or _user_agent(),
    )  # fmt: skip
    chosen = None if keys is None else [key.strip() for key in keys.split(",") if key.strip()]
    bounds = Bounds(max_side, allow_outside, web=web)
    try:
        info = fetch_table(table, out, image_column, chosen, seed, config, retry_rejected, bounds, terminal_stages)
    except KeyboardInterrupt:
        _complain("stopped; what is complete is kept: run the same command again and it goes on")
        raise typer.Exit(130) from None
    counts = info["counts"]
    parts = ", ".join(f"{name} {counts[name]:,}" for name in ("train", "validation", "test"))
    say(f"{counts['rows']:,} products in {out} ({parts})")
    if counts["rejected"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in info["reasons"].items())
        say(f"{counts['rejected']:,} rejected ({reasons}), see {out / 'rejected.csv'}")


def _user_agent() -> str:
    from importlib import metadata

    return f"hangtag/{metadata.version('hangtag')} (fetches product pictures for a data set)"


@app.command(
    epilog="Examples: [bold]hangtag describe data/shop[/bold], "
    "[bold]hangtag describe data/shop --price full_price_eur --out shop.html[/bold]"
)
def describe(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A catalogue, or any imagefolder with a metadata.csv.")],
    out: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="The page; DATA/description.html if not given.")
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="COLUMN", help="The titles, if guessed wrong.")] = None,
    category: Annotated[str | None, typer.Option(metavar="COLUMN", help="The categories, if guessed wrong.")] = None,
    price: Annotated[str | None, typer.Option(metavar="COLUMN", help="The prices, if guessed wrong.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="The facts as one JSON object on stdout; a page only with --out.")
    ] = False,
) -> None:
    """Write one page about a catalogue: columns, prices, categories, pictures, tokens, duplicates, leaks, gallery."""
    from hangtag.report.describe import description_json, look_at, write_description
    from hangtag.terminal import say, terminal_stages

    facts, catalogue = look_at(data, title, category, price, terminal_stages)
    page = write_description(facts, catalogue, out) if out or not json else None
    if json:
        print(description_json(facts))
    else:
        groups = facts.groups
        say(f"{facts.rows} rows; {groups.count} groups, of which {groups.crossing} cross a split")
        say(f"page: {page}")


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
