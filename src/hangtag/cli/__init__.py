"""The command line. Each verb imports what it needs when it is called, so `--help` answers at once."""

from hangtag.cli import catalogues, export, predict, runs, serve
from hangtag.cli.app import app
from hangtag.cli.app import run_app as main

__all__ = ["catalogues", "export", "main", "predict", "runs", "serve"]

# As `--help` lists them: the way a run goes.
_ORDER = ["demo", "synth", "fetch", "describe", "train", "evaluate", "compare", "audit", "predict", "serve", "export"]
app.registered_commands.sort(key=lambda each: _ORDER.index(each.callback.__name__ if each.callback else ""))
