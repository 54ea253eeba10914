"""The command that writes tags."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hangtag.cli.app import AllowPrivate, IgnoreRobots, RunFolder, app, complain
from hangtag.errors import HangtagError
from hangtag.files import Run

if TYPE_CHECKING:
    from hangtag.prediction.predict import Job, Records

TABLES, RAY = "Tables and catalogues", "Ray"


@app.command(
    epilog="Examples: [bold]hangtag predict runs/demo photo.jpg[/bold], "
    "[bold]hangtag predict runs/demo shop/ --json[/bold], "
    "[bold]hangtag predict runs/shop products.csv --image-column photo --keep sku --out tags.csv[/bold], "
    "[bold]find photos -name '*.jpg' | hangtag predict runs/shop - --out tags.parquet[/bold]"
)
def predict(
    run: RunFolder,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Pictures, folders, quoted patterns, URLs; a catalogue's folder; a .csv, .tsv, .jsonl or .parquet "
            "table; - for a list of paths or URLs on stdin, one a line.",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout also where that is a terminal.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .jsonl, .csv or .parquet; given again after a stop, it goes on."),
    ] = None,
    image_column: Annotated[
        str, typer.Option(help="A table's column of URLs, paths or picture bytes.", rich_help_panel=TABLES)
    ] = "imageurl",
    keep: Annotated[
        str | None,
        typer.Option(help="A table's own columns, with commas, to write beside the tag.", rich_help_panel=TABLES),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="A catalogue's train, validation or test; all rows if not given.", rich_help_panel=TABLES),
    ] = None,
    allow_outside: Annotated[
        bool,
        typer.Option(
            "--allow-outside", help="Also read pictures outside the table's own folder.", rich_help_panel=TABLES
        ),
    ] = False,
    allow_private: AllowPrivate = False,
    ignore_robots: IgnoreRobots = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Rows at once; as many as the device has room for if not given.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Have a Ray cluster's workers do it: its address, auto for this machine's, local to start one.",
            rich_help_panel=RAY,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Models, one a worker.", rich_help_panel=RAY)] = 2,
) -> None:
    """Write the tags of pictures; one that cannot be read is a line with its error, and does not end the work."""
    recipe = Run(run).require_model().recipe  # before the slow imports
    from hangtag.catalogue.web import Limits
    from hangtag.prediction.inputs import STDIN, Choice, open_inputs
    from hangtag.prediction.output import require_output
    from hangtag.prediction.predict import Job
    from hangtag.recipe import load_recipe

    if out:
        require_output(out)
    kept = tuple(name.strip() for name in (keep or "").split(",") if name.strip())
    choice = Choice(image_column, load_recipe(recipe).data.pictures, split, kept, allow_outside)
    found = open_inputs(inputs, choice, list(sys.stdin) if STDIN in inputs else ())
    limits = Limits(obey_robots=not ignore_robots, allow_private=allow_private)
    job = Job(run, found, choice, limits, batch_size)
    try:
        _predict(job, out, json, ray, workers)
    except KeyboardInterrupt:
        complain("stopped; the same command goes on where it was" if out else "stopped")
        raise typer.Exit(130) from None


def _predict(job: Job, out: Path | None, json: bool, ray: str | None, workers: int) -> None:
    """Write a job's records where they are wanted.

    Raises:
        HangtagError: at the end, where rows have no tag.
    """
    from hangtag.prediction.output import Columns, Tally, open_output
    from hangtag.recipe import load_recipe

    template = load_recipe(Run(job.run).recipe).task.template
    if out is None:
        tally, show = Tally(), _shown(template.names, json)
        for records in _records(job, 0, ray, workers, told=not sys.stdout.isatty()):
            show(records)
            tally.add(records)
    else:
        columns = Columns(job.inputs.columns, job.inputs.keep, template)
        with open_output(out, job.asked(), columns) as output:
            tally = output.tally
            for records in _records(job, tally.done, ray, workers, told=True):
                output.add(records)
            output.finish()
        complain(f"{tally.done:,} rows in {out}")
    if tally.failed:
        raise HangtagError(
            f"{tally.failed:,} of {tally.done:,} pictures have no tag, each with its error; "
            f"the first: {tally.first_error}"
        )


def _records(job: Job, first: int, ray: str | None, workers: int, told: bool) -> Iterator[Records]:
    """The records of each window behind the first ones; on stderr how far it is, where that is to be told."""
    from hangtag.progress import silent
    from hangtag.terminal import hush_transformers, terminal_stages

    asked = job.windows(first)
    if not asked:
        return
    if ray is None:
        from hangtag.prediction.loading import load
        from hangtag.prediction.processes import all_records

        hush_transformers()
        found = all_records(load(job.run, job.batch_size), job, asked)
    else:
        from hangtag.prediction.on_ray import ray_records

        found = ray_records(job, asked, ray, workers)
    with (terminal_stages if told else silent)("writing tags") as progress:
        started, done = time.monotonic(), first
        progress(done, len(job.inputs))
        for each in found:
            yield each
            done += len(each)
            rate = (done - first) / max(time.monotonic() - started, 1e-3)
            progress(done, len(job.inputs), f"{rate:.1f} a second")


def _shown(names: Sequence[str], json: bool) -> Callable[[Records], None]:
    """What shows some records on stdout: a table on a terminal, JSON lines elsewhere, at once in either case."""
    from hangtag.prediction.output import json_line
    from hangtag.terminal import TagTable

    if sys.stdout.isatty() and not json:
        return TagTable(names).add

    def show(records: Records) -> None:
        sys.stdout.buffer.writelines(map(json_line, records))
        sys.stdout.buffer.flush()

    return show
