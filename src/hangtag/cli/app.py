"""The command itself: its options, and how an error reaches the user."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from hangtag.errors import HangtagError, RecipeError, ToldElsewhere

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
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe's key.")]

WEB = "Servers"
AllowPrivate = Annotated[
    bool,
    typer.Option("--allow-private", help="Also fetch from private and loopback addresses.", rich_help_panel=WEB),
]
IgnoreRobots = Annotated[
    bool,
    typer.Option("--ignore-robots", help="Do not ask for robots.txt nor heed noai headers.", rich_help_panel=WEB),
]


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


def run_app() -> None:
    """Answer one call: a user's mistake is one line on stderr and an exit code, never a traceback."""
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
        if not _is_told_elsewhere(error):
            complain(str(error))
        return error.exit_code
    if isinstance(error, OSError) and error.strerror:
        complain(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    elif not debug:
        complain(f"a bug: {type(error).__name__}: {error}; run again with --debug and report what it shows")
    return 1


def _is_told_elsewhere(error: HangtagError) -> bool:
    """Whether another process of a launch tells this error: a wrong recipe is read by all of them."""
    echo = isinstance(error, RecipeError) and os.environ.get("LOCAL_RANK", "0") != "0"
    return echo or isinstance(error, ToldElsewhere)


def complain(message: str) -> None:
    """Tell the user what is wrong, on stderr."""
    print(f"hangtag: {message}", file=sys.stderr)


def _quiet_libraries(debug: bool) -> None:
    if debug:
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import warnings

    warnings.filterwarnings("ignore")
    for name in ("torch", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)
