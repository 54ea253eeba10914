"""Runs side by side: a table for the terminal, and a page with the rows where they differ most."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from hangtag.catalogue import open_catalogue
from hangtag.errors import HangtagError
from hangtag.evaluation.comparison import FEWEST_ROWS, Compared, Evaluated
from hangtag.files import Run
from hangtag.recipe import load_recipe
from hangtag.report.gallery import Card, card, goodness, show
from hangtag.report.table import plain_table
from hangtag.report.templates import fill
from hangtag.report.thumbnails import Album

SHOWN_ROWS = 24
PICTURE_BYTES = 4_000_000
_COLOURS = {"better": "bold green", "worse": "bold red", "": ""}


@dataclass(frozen=True)
class Apart:
    """A row, its answers by run, how good each is (see gallery.goodness), and how far the best is from the worst."""

    file_name: str
    truth: dict[str, Any]
    answers: dict[str, dict[str, Any] | None]
    spread: float
    place: int


@dataclass(frozen=True)
class Shelf:
    """A row as the page shows it: its picture, what is true, and each run's card."""

    file_name: str
    picture: str | None
    truth: list[tuple[str, str]]
    cards: list[tuple[str, Card]]


def furthest_apart(runs: Sequence[Evaluated], most: int = SHOWN_ROWS) -> list[Apart]:
    """The rows whose answers differ most in goodness between aligned runs, the furthest apart first."""
    good_RN = np.stack([goodness(run.fields, run.predictions) for run in runs])
    spread_N = good_RN.max(0) - good_RN.min(0)
    found = []
    for place in np.argsort(-spread_N, kind="stable")[:most].tolist():
        if spread_N[place] <= 0:
            break
        row = runs[0].predictions[place]
        answers = {run.name: run.predictions[place]["answer"] for run in runs}
        found.append(Apart(row["file_name"], row["truth"], answers, float(spread_N[place]), place))
    return found


def _signed(each: Compared, place: int) -> tuple[str, str]:
    """A difference and its interval, for people."""
    found = each.differences[place]
    if found is None:
        return "", ""
    value, low, high = (each.metric.show_difference(found[end]) for end in ("value", "low", "high"))
    return value, f"{low} to {high}"


def _title(each: Compared) -> str:
    return f"{each.field}, estimated" if each.part == "estimates" else each.field


def comparison_table(split: str, runs: Sequence[Evaluated], compared: Sequence[Compared]) -> Table:
    """Scores and paired differences for the terminal."""
    rows = len(runs[0].predictions)
    table = plain_table(
        f"{rows:,} rows of the {split} split; differences to {runs[0].name}, with 95 % intervals",
        verdict(runs, compared),
    )
    table.add_column("", min_width=14, overflow="fold")
    for place, run in enumerate(runs):
        table.add_column(Text(run.name), justify="right", overflow="fold")
        if place:
            table.add_column("difference", justify="left")
    field = ""
    for each in compared:
        if _title(each) != field:
            field = _title(each)
            table.add_row(Text(field, style="bold cyan"))
        table.add_row(Text(f"  {each.metric.label}"), *_cells(each, rows))
    return table


def _cells(each: Compared, rows: int) -> list[Text]:
    cells = []
    for place, found in enumerate(each.scores):
        cells.append(Text("" if found is None else each.metric.show(found["value"])))
        if place:
            found_verdict = each.verdict(place, rows)
            value, interval = _signed(each, place)
            text = Text(f"{value} ({interval})" if value else "")
            text.append(f" {found_verdict}" if found_verdict else "", style=_COLOURS[found_verdict])
            cells.append(text)
    return cells


def verdict(runs: Sequence[Evaluated], compared: Sequence[Compared]) -> str:
    """One sentence for each run beside the first: in how many scores it is better, worse, or not told apart."""
    rows = len(runs[0].predictions)
    if rows < FEWEST_ROWS:
        return f"{rows} row{'s' * (rows > 1)} of the split: too few to tell the runs apart."
    sentences = []
    for place, run in enumerate(runs[1:], 1):
        told = [each.verdict(place, rows) for each in compared if each.differences[place] is not None]
        better, worse = told.count("better"), told.count("worse")
        sentences.append(
            f"{run.name} is better than {runs[0].name} in {better} of {len(told)} scores and worse in {worse}; "
            f"in {len(told) - better - worse} the interval of the difference holds zero."
        )
    return " ".join(sentences)


def render_comparison(
    split: str, runs: Sequence[Evaluated], compared: Sequence[Compared], apart: Sequence[Apart]
) -> str:
    """The page's HTML."""
    folder, missing = _pictures(runs)
    album = Album(folder, PICTURE_BYTES) if folder else None
    fields: dict[str, list[Compared]] = {}
    for each in compared:
        fields.setdefault(_title(each), []).append(each)
    return fill(
        "comparison.html.jinja",
        ("page.css", "comparison.css"),
        split=split,
        rows=len(runs[0].predictions),
        names=[run.name for run in runs],
        models=[str(run.folder) for run in runs],
        verdict=verdict(runs, compared),
        fields=fields,
        signed=_signed,
        shelves=[_shelf(runs, each, album) for each in apart],
        missing=missing,
        settings=_settings_apart(runs),
        few=len(runs[0].predictions) < FEWEST_ROWS,
        estimates=any(each.part == "estimates" for each in compared),
    )


def _shelf(runs: Sequence[Evaluated], apart: Apart, album: Album | None) -> Shelf:
    cards = [(run.name, card(run.fields, run.predictions[apart.place])) for run in runs]
    picture = album.thumbnail(apart.file_name) if album else None
    return Shelf(apart.file_name, picture, [(name, show(value)) for name, value in apart.truth.items()], cards)


def _pictures(runs: Sequence[Evaluated]) -> tuple[Path | None, str]:
    """The folder of the first run's catalogue that can be opened, or None and why the first cannot."""
    problems = []
    for run in runs:
        try:
            return open_catalogue(load_recipe(Run(run.folder).recipe).data.path).path, ""
        except (HangtagError, OSError) as error:
            problems.append(str(error))
    return None, problems[0]


def _settings_apart(runs: Sequence[Evaluated]) -> list[tuple[str, list[str]]]:
    """The recipes' keys in which the runs differ, and each run's value; a key that a run lacks is a dash."""
    recipes = [_flat(run) for run in runs]
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    values = [(key, [recipe.get(key, "–") for recipe in recipes]) for key in keys]
    return [(key, found) for key, found in values if len(set(found)) > 1]


def _flat(run: Evaluated) -> dict[str, str]:
    """A recipe's keys with dots; nothing where there is no readable recipe."""
    try:
        values = tomllib.loads(Run(run.folder).recipe.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found: dict[str, str] = {}

    def walk(table: Mapping[str, Any], before: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{before}{key}.")
            else:
                found[before + key] = str(value)

    walk(values, "")
    return found
