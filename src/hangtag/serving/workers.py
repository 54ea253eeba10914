"""Who runs the model: this process, or some forked from it, whose weights lie in memory once.

On a CPU several processes answer sooner than one: what arrives need not wait for a whole batch, and Python's lock is
not shared with the server. They are forked when the model is loaded and before anything runs, and end with their pipe.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch
from PIL import Image

from hangtag.errors import HangtagError, RunError, UsageError
from hangtag.machine import cores
from hangtag.prediction.processes import can_fork, useful_processes
from hangtag.prediction.tag import Ask, Tag
from hangtag.prediction.tagger import Tagger
from hangtag.prediction.writing import Cancelled, OnText
from hangtag.serving.heat import heat

_MOST = 4
_LOOK = 0.02
"""Seconds between two looks at who has gone."""


class WorkerLost(RunError):
    """A model process ended by itself, or was ended."""


class Hand(Protocol):
    """What a batch is run with; one thread at a time."""

    def answer(self, asks: Sequence[Ask], on_text: OnText | None, cancelled: Cancelled) -> list[Tag]: ...

    def features(self, images: Sequence[Image.Image]) -> Any: ...

    def heat(self, picture: Image.Image, tag: Tag) -> dict[str, Any] | None: ...


class Local:
    """A hand in this process."""

    def __init__(self, tagger: Tagger) -> None:
        self.tagger = tagger

    def answer(self, asks: Sequence[Ask], on_text: OnText | None, cancelled: Cancelled) -> list[Tag]:
        """As `Tagger.answer`."""
        return self.tagger.answer(asks, on_text, cancelled)

    def features(self, images: Sequence[Image.Image]) -> Any:
        """As `Tagger.features`."""
        return self.tagger.features(images)

    def heat(self, picture: Image.Image, tag: Tag) -> dict[str, Any] | None:
        """A heat map's record; None where the tag has no fields."""
        found = heat(self.tagger, picture, tag)
        return None if found is None else dict(found.record())


class Worker:
    """A hand in a process of its own."""

    def __init__(self, tagger: Tagger, threads: int, rows: int, others: Sequence[Any]) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        self._gone = context.RawArray("b", rows)
        arguments = (tagger, theirs, self._gone, threads, [self._connection, *others])
        self._process = context.Process(target=_live, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def answer(self, asks: Sequence[Ask], on_text: OnText | None, cancelled: Cancelled) -> list[Tag]:
        """As `Tagger.answer`."""

        def look() -> None:
            for row in range(len(asks)):
                self._gone[row] = cancelled(row)

        look()
        found: list[Tag] = self._done("answer", (list(asks), on_text is not None), on_text, look)
        return found

    def features(self, images: Sequence[Image.Image]) -> Any:
        """As `Tagger.features`."""
        return self._done("features", (list(images),))

    def heat(self, picture: Image.Image, tag: Tag) -> dict[str, Any] | None:
        """As `Local.heat`."""
        found: dict[str, Any] | None = self._done("heat", (picture, tag))
        return found

    def close(self) -> None:
        """Let the process end."""
        self._connection.close()
        self._process.join(5)

    def _done(
        self, what: str, arguments: Any, on_text: OnText | None = None, look: Callable[[], None] = lambda: None
    ) -> Any:
        try:
            self._connection.send((what, arguments))
            while True:
                while not self._connection.poll(_LOOK):
                    look()
                kind, value = self._connection.recv()
                if kind == "text" and on_text:
                    on_text(*value)
                elif kind == "done":
                    return value
                elif kind == "failed":
                    raise value
        except (EOFError, OSError):
            raise WorkerLost("a process of the model has ended; is there memory enough for --workers?") from None


def _live(tagger: Tagger, connection: Connection, gone: Any, threads: int, inherited: Sequence[Any]) -> None:
    """A worker's life: do what comes through the pipe, until that is closed."""
    for each in inherited:
        each.close()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)  # the server says when
    torch.set_num_threads(threads)
    local = Local(tagger)

    def told(row: int, text: str) -> None:
        connection.send(("text", (row, text)))

    while True:
        try:
            what, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if what == "answer":
                asks, wanted = arguments
                done: Any = local.answer(asks, told if wanted else None, lambda row: bool(gone[row]))
            else:
                done = getattr(local, what)(*arguments)
            answer: tuple[str, Any] = ("done", done)
        except HangtagError as error:
            answer = ("failed", error)
        except Exception as error:  # not all errors can be sent
            answer = ("failed", RuntimeError(f"{type(error).__name__}: {error}"))
        try:
            connection.send(answer)
        except OSError:
            return


def hands(tagger: Tagger, count: int | None, rows: int, listener: socket.socket) -> list[Hand]:
    """So many hands: forked processes, or for one this process.

    Args:
        count: None: one for each core, at most four, where the model is small and on the CPU; else one.
        rows: the most that is asked of one at once.
        listener: not for them.

    Raises:
        UsageError: more than one where the model is on an accelerator or the system is not Linux.
    """
    count = useful_processes(tagger, _MOST) if count is None else count
    if count == 1:
        torch.set_num_threads(cores())
        return [Local(tagger)]
    if not can_fork(tagger):
        raise UsageError(f"--workers {count}: several are for a model on the CPU, on Linux; use 1")
    gc.freeze()  # what lies in memory now stays shared
    made: list[Worker] = []
    for _ in range(count):
        made.append(Worker(tagger, max(1, cores() // count), rows, [listener, *(each._connection for each in made)]))
    return list(made)
