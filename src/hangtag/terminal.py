"""What the commands show: progress with time left, tables, tags. Bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from hangtag.answer import written
from hangtag.progress import Progress

LINE_SECONDS = 10.0


def hush_transformers() -> None:
    """Turn off transformers' own bars: ours say what is going on."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def say(what: Any) -> None:
    """Print a line or a table on stdout; paths in a line are not wrapped, broken or coloured."""
    console = Console(highlight=False)
    console.print(Text(what) if isinstance(what, str) else what, soft_wrap=isinstance(what, str))


def note(line: str) -> None:
    """Print a line about how the work goes on stderr."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def terminal_stages(title: str) -> Iterator[Progress]:
    """One stage's progress on stderr, with time left."""
    with _bar(title) if sys.stderr.isatty() else _lines(title) as progress:
        yield progress


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    columns = [
        TextColumn("{task.description:<18}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    ]
    # Rich would send what is written to stdout meanwhile to the bar's own stream.
    with Bars(*columns, console=Console(stderr=True), redirect_stdout=False) as bars:
        task = bars.add_task(title, total=None, note="")

        def progress(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, note=note)

        yield progress


@contextmanager
def _lines(title: str) -> Iterator[Progress]:
    """A plain line every few seconds, and one at the end."""
    started = time.monotonic()
    shown = started
    last = (0, 0)

    def progress(done: int, total: int, note: str = "") -> None:
        nonlocal shown, last
        now, last = time.monotonic(), (done, total)
        if now - shown >= LINE_SECONDS and done:
            shown = now
            left = (now - started) / done * (total - done)
            print(f"{title}: {done}/{total}, {_clock(left)} left {note}".rstrip(), file=sys.stderr, flush=True)

    yield progress
    print(f"{title}: {last[0]}/{last[1]} in {_clock(time.monotonic() - started)}", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class TagTable:
    """Tags as a table that is printed bit by bit: the picture, its fields with their confidence, or what is wrong.

    All bits have the same widths, which depend on the terminal alone.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._console, self._begun = names, Console(highlight=False), False

    def add(self, records: Sequence[dict[str, Any]]) -> None:
        """Print some more rows."""
        table = Table(box=None, header_style="bold", pad_edge=False, expand=True, show_header=not self._begun)
        table.add_column("picture", overflow="fold", ratio=3)
        for name in self._names:
            table.add_column(name, overflow="fold", ratio=2)
        for record in records:
            where = next((str(record[each]) for each in ("path", "url", "row") if each in record), "")
            if record["fields"] is None:
                cells = [Text(record["error"], style="red")]
            else:
                cells = [Text(_with_doubt(name, record)) for name in self._names]
            table.add_row(Text(where), *cells)
        self._begun = True
        self._console.print(table)


def _with_doubt(name: str, record: dict[str, Any]) -> str:
    """A field's value, a number's interval, and how sure the model is: `1299 (1100 to 1450), 83 %`."""
    text = written(record["fields"][name])
    number = (record["numbers"] or {}).get(name) or {}
    if number.get("low") is not None:
        text += f" ({written(number['low'])} to {written(number['high'])})"
    sure = (record["confidence"] or {}).get(name)
    return text if sure is None else f"{text}, {100 * sure:.0f} %"
