"""The command line. Each verb imports what it needs when it is called, so `--help` answers at once."""

from hangtag.cli import catalogues, export, predict, runs
from hangtag.cli.app import run_app as main

__all__ = ["catalogues", "export", "main", "predict", "runs"]
