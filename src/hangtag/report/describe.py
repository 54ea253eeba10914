"""From a catalogue's folder to its facts and its page: what `hangtag describe` does."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from hangtag.catalogue import Catalogue, open_catalogue
from hangtag.catalogue.description import Description, describe
from hangtag.files import write_whole
from hangtag.progress import Stages, silent
from hangtag.report.description import render_description

PAGE = "description.html"


def look_at(
    data: str | Path,
    title: str | None = None,
    category: str | None = None,
    price: str | None = None,
    stages: Stages = silent,
) -> tuple[Description, Catalogue]:
    """Open a catalogue, read its pictures and describe it; nothing is written.

    Args:
        title, category, price: columns, where the guess by name and kind is wrong.

    Raises:
        TableError: the catalogue cannot be opened, or a named column is absent.
    """
    catalogue = open_catalogue(data)
    catalogue.require_columns(name for name in (title, category, price) if name is not None)
    refused: dict[str, str] = {}
    with stages("looking at pictures") as progress:
        pictures = catalogue.picture_facts(progress, refused)
        progress(len(pictures), len(pictures))
    with stages("comparing pictures") as progress:
        return describe(catalogue, pictures, refused, title, category, price, progress), catalogue


def write_description(description: Description, catalogue: Catalogue, page: Path | None = None) -> Path:
    """Write the page, into the catalogue's folder if nothing else is said; return its path."""
    page = page or catalogue.path / PAGE
    write_whole(page, render_description(description, catalogue))
    return page


def description_json(description: Description) -> str:
    """All facts as one JSON object."""
    return json.dumps(asdict(description), ensure_ascii=False, allow_nan=False)
