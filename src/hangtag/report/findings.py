"""What an audit found: a table for the terminal, a CSV of all rows, and a page to go through, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from hangtag.answer import Kind, Value
from hangtag.catalogue.store import csv_text, spreadsheet_text
from hangtag.evaluation.disagreement import EVERYTHING
from hangtag.report.gallery import show
from hangtag.report.table import plain_table
from hangtag.report.templates import fill
from hangtag.report.thumbnails import Album
from hangtag.report.words import counted

SHOWN_ROWS = 300
SHOWN_ON_TERMINAL = 10
SHOWN_REJECTED = 20
PICTURE_BYTES = 8_000_000


@dataclass(frozen=True)
class Finding:
    """A row with what its judge makes of it.

    Args:
        row: its number in metadata.csv, from 1.
        picture: the first of its pictures.
        score, scores: how much picture and tag disagree, together and by field; see evaluation/disagreement.py.
        truth, written: the tag, and what the judge would have written; None where that is unreadable.
        most: the field that disagrees most, or EVERYTHING.
        judge: 0 the run's own model, k the model of fold k.
    """

    row: int
    file_name: str
    picture: Path | None
    split: str
    score: float
    scores: dict[str, float]
    truth: Mapping[str, Value]
    written: Mapping[str, Value] | None
    most: str
    judge: int

    def tag(self, name: str) -> str:
        """A field as the tag has it."""
        return show(self.truth[name])

    def read(self, name: str) -> str:
        """A field as the judge reads it."""
        return "" if self.written is None else show(self.written[name])

    def marked(self, name: str) -> bool:
        """Whether the field is under suspicion."""
        return self.most in (name, EVERYTHING) and (self.written is None or self.written[name] != self.truth[name])

    @property
    def judged_by(self) -> str:
        return "the run's model" if self.judge == 0 else f"fold {self.judge}"


def in_words(kinds: Mapping[str, Kind], found: Finding) -> str:
    """What disagrees most, in a few words."""
    if found.written is None:
        return "nothing readable was written for this picture"
    if found.most == EVERYTHING:
        return f"everything: perhaps the picture of another product, read as {found.read(next(iter(kinds)))}"
    name = found.most
    if found.written[name] == found.truth[name]:
        return f"{name}: the same is read, but not for sure"
    words = f"{name}: the tag says {show(found.truth[name])}, the model reads {found.read(name)}"
    return words + (_times(found.truth[name], found.written[name]) if kinds[name] == "number" else "")


def _times(true: Value, written: Value) -> str:
    """How many times another a number is, where that says something."""
    true, written = float(true), float(written)
    if true <= 0 or written <= 0 or true == written:
        return ""
    return f" ({true / written:.3g} times as much)" if true > written else f" (1/{written / true:.3g} of it)"


def findings_csv(kinds: Mapping[str, Kind], found: Sequence[Finding]) -> str:
    """All rows, worst first. Texts that a spreadsheet would take for a formula get an apostrophe in front."""
    columns = ["rank", "row", "file_name", "split", "score", "disagrees", "judged by"]
    for name in kinds:
        columns += [f"{name} score", f"{name} in the tag", f"{name} read"]
    lines = []
    for rank, each in enumerate(found, 1):
        line = {
            "rank": str(rank),
            "row": str(each.row),
            "file_name": spreadsheet_text(each.file_name),
            "split": each.split,
            "score": f"{each.score:z.3f}",
            "disagrees": spreadsheet_text(in_words(kinds, each)),
            "judged by": each.judged_by,
        }
        for name, kind in kinds.items():
            words = (show(each.truth[name]), each.read(name))
            tag, read = words if kind == "number" else map(spreadsheet_text, words)
            line |= {f"{name} score": f"{each.scores[name]:z.3f}", f"{name} in the tag": tag, f"{name} read": read}
        lines.append([line[column] for column in columns])
    header = [spreadsheet_text(column) for column in columns]
    return csv_text(header, [dict(zip(header, line, strict=True)) for line in lines])


def findings_table(kinds: Mapping[str, Kind], found: Sequence[Finding]) -> Table:
    """The worst rows for the terminal."""
    table = plain_table(f"the worst of {counted(len(found), 'row')}")
    table.add_column("", justify="right")
    table.add_column("score", justify="right")
    table.add_column("row", justify="right")
    table.add_column("what disagrees", overflow="fold")
    for rank, each in enumerate(found[:SHOWN_ON_TERMINAL], 1):
        cells = [str(rank), f"{each.score:z.1f}", str(each.row), in_words(kinds, each)]
        table.add_row(*map(Text, cells))
    return table


@dataclass(frozen=True)
class Shown:
    """A finding as the page shows it. `group` is the place of its filter."""

    rank: int
    found: Finding
    picture: str | None
    words: str
    group: int


def render_findings(
    name: str,
    kinds: Mapping[str, Kind],
    found: Sequence[Finding],
    folder: Path,
    split: str,
    rejected: Sequence[Mapping[str, str]],
) -> str:
    """The page's HTML, with at most SHOWN_ROWS rows.

    Args:
        folder: the catalogue's.
        rejected: rows that were not judged, as `rejected.csv` lines.
    """
    album = Album(folder, PICTURE_BYTES)
    groups = [*kinds, EVERYTHING]
    rows = [
        Shown(
            rank,
            each,
            album.thumbnail(each.picture.relative_to(folder).as_posix()) if each.picture else None,
            in_words(kinds, each),
            groups.index(each.most),
        )
        for rank, each in enumerate(found[:SHOWN_ROWS], 1)
    ]
    return fill(
        "audit.html.jinja",
        ("page.css", "audit.css"),
        name=name,
        data=str(folder),
        split=split,
        kinds=kinds,
        groups=groups,
        counts=[sum(row.group == place for row in rows) for place in range(len(groups))],
        rows=rows,
        total=len(found),
        judged_own=sum(each.judge == 0 for each in found),
        rejected=[f"row {each['row']}: {each['detail']}" for each in rejected[:SHOWN_REJECTED]],
        left_out=len(rejected),
    )
