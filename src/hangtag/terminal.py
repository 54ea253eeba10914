"""What the commands show: progress with time left, tables, tags. Bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
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
    with Bars(*columns, console=Console(stderr=True)) as bars:
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


def say_json(records: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
    for record in records:
        print(json.dumps(record, ensure_ascii=False))


def say_tags(records: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Tags as a table: the picture, then its fields, or the reason why there are none."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("picture", overflow="fold")
    for name in names:
        table.add_column(name, overflow="fold")
    for record in records:
        fields = record["fields"] or {}
        cells = [Text(written(fields[name])) for name in names] if fields else [Text(record["error"], style="red")]
        table.add_row(Text(record["path"]), *cells)
    Console().print(table)
