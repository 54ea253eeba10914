"""The page's rows for its script: pictures once each, shared by the gallery and the scatter's dots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hangtag.answer import Kind
from hangtag.report.gallery import Card, Line, Ranking
from hangtag.report.thumbnails import Album

PICTURE_BYTES = 11_000_000
"""Of all thumbnails together; with 3,000 rows' texts and dots the page stays below 15 MB."""


@dataclass(frozen=True)
class Pictures:
    """Thumbnails by file: `number` of a file in `uris`, None where there is none; `left_out` were too many."""

    number: dict[str, int]
    uris: list[str | None]
    left_out: int

    def of(self, card: Card) -> str | None:
        """A card's picture as a data URI."""
        return self.uris[self.number[card.file_name]]


def pictures(ranking: Ranking, folder: Path | None, most_bytes: int = PICTURE_BYTES) -> Pictures:
    """A thumbnail for each file; those of the first cards take their room first."""
    first = [ranking.cards[place].file_name for place in (*ranking.worst, *ranking.best, *ranking.random)]
    names = list(dict.fromkeys([*first, *(card.file_name for card in ranking.cards)]))
    number = {name: index for index, name in enumerate(names)}
    if folder is None:
        return Pictures(number, [None] * len(names), 0)
    album = Album(folder, most_bytes)
    return Pictures(number, album.thumbnails(names), album.left_out)


def payload(fields: Mapping[str, Kind], ranking: Ranking, pictures: Pictures) -> dict[str, Any]:
    """What the script reads.

    Returns:
        fields    [name, kind] each
        pictures  data URIs, null where the page has none or shows it in a card of its own (`data-picture`)
        rows      worst first; f file, p picture's number, v a letter for each field's verdict, t true and w written
                  values, n notes, d doubts, o whether outside the interval, s [estimate, low, high]; x the text of an
                  unreadable answer, null where it never ended. What a row has none of is left out.
    """
    shown = {
        pictures.number[ranking.cards[place].file_name] for place in (*ranking.worst, *ranking.best, *ranking.random)
    }
    return {
        "fields": [[name, kind] for name, kind in fields.items()],
        "pictures": [None if index in shown else uri for index, uri in enumerate(pictures.uris)],
        "rows": [_row(card, pictures) for card in ranking.cards],
    }


def _row(card: Card, pictures: Pictures) -> dict[str, Any]:
    lines = card.lines
    row: dict[str, Any] = {
        "f": card.file_name,
        "p": pictures.number[card.file_name],
        "v": "".join(line.verdict[0] for line in lines),
        "t": [line.true for line in lines],
    }
    if not card.readable:
        return row | {"x": card.raw}
    row["w"] = [line.written for line in lines]
    if any(line.note for line in lines):
        row["n"] = [line.note for line in lines]
    if any(line.doubt for line in lines):
        row["d"] = [line.doubt for line in lines]
        row["o"] = [int(line.outside) for line in lines]
    if any(line.span for line in lines):
        row["s"] = [_rounded(line) for line in lines]
    return row


def _rounded(line: Line) -> list[float | None] | None:
    """Enough digits for a drawing."""
    return line.span and [None if each is None else float(f"{each:.4g}") for each in line.span]
