"""The command that makes a folder of a run's model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hangtag.cli.app import Out, RunFolder, app
from hangtag.errors import UsageError
from hangtag.files import Run, require_new_folder

if TYPE_CHECKING:
    from rich.table import Table

    from hangtag.exporting.comparison import Comparison

Dtype = Literal["float32", "bfloat16", "float16"]


@app.command(
    epilog="Examples: [bold]hangtag export runs/shop shop-tags[/bold], "
    "[bold]hangtag export runs/shop shop-adapter --adapter-only[/bold], "
    "[bold]hangtag export runs/shop shop-tags --push me/shop-tags[/bold]"
)
def export(
    run: RunFolder,
    out: Out,
    dtype: Annotated[Dtype, typer.Option(help="Format of the exported weights.")] = "bfloat16",
    adapter_only: Annotated[bool, typer.Option("--adapter-only", help="The adapter alone, not merged.")] = False,
    rows: Annotated[int, typer.Option(min=0, help="Test rows to compare on; 0 compares nothing.")] = 16,
    data: Annotated[Path | None, typer.Option(help="A catalogue; the run's own if not given.")] = None,
    push: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also send it to the Hugging Face Hub, as OWNER/NAME.")
    ] = None,
    private: Annotated[bool, typer.Option("--private/--public", help="Who sees what --push sends.")] = True,
) -> None:
    """Make a folder that other programs load: merged weights in the published layout, a card, and proof.

    The export is loaded again and compared with the run on real rows; more than rounding explains is an error.
    """
    if push and not rows:
        raise UsageError("--push sends only what was compared; leave --rows 0 out")
    Run(run).require_model()  # before the slow imports
    require_new_folder(out)
    from hangtag.exporting.export import export as export_run
    from hangtag.exporting.push import find_target
    from hangtag.exporting.push import push as push_folder
    from hangtag.terminal import hush_transformers, note, say, terminal_stages

    hush_transformers()
    target = find_target(push, private) if push else None
    name = target.name if target else None
    done = export_run(run, out, dtype, adapter_only, rows, data, terminal_stages, name)
    if done.compared:
        say(comparison_table(done.compared))
    else:
        say("nothing was compared: whether the export answers as the run is unknown")
    say(f"exported to {done.path}, {done.size / 1e6:,.1f} MB; try it: hangtag predict {done.path} PICTURE")
    if target:
        say(f"sent to {push_folder(done.path, target, note)}")


def comparison_table(compared: Comparison) -> Table:
    """What was measured beside what is allowed."""
    from hangtag.report.table import plain_table

    table = plain_table("the export beside its run")
    for name in ("", "measured", "allowed"):
        table.add_column(name, justify="right" if name else "left")
    for line in compared.table():
        table.add_row(*line)
    return table
