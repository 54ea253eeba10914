"""The command that writes tags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hangtag.cli.app import RunFolder, app
from hangtag.errors import HangtagError
from hangtag.files import Run


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
    from hangtag.prediction.loading import load

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
