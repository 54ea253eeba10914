"""Who runs the model: threads of this process, or processes forked from it, whose weights lie in memory once.

On a CPU several processes answer sooner than one: Python's lock is not shared with the server. They are forked when the
model is loaded and before anything runs, and end with their pipe.
"""

from __future__ import annotations

import gc
import multiprocessing
import queue
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch

from hangtag.errors import RunError, UsageError
from hangtag.machine import cores
from hangtag.prediction.processes import can_fork, useful_processes
from hangtag.prediction.tagger import Tagger
from hangtag.serving.engine import Engine, run

_MOST = 4
Heard = Callable[["Hand", "tuple[Any, ...] | None"], None]
MakeEngine = Callable[[Tagger, Callable[[tuple[Any, ...]], None]], Engine]


class WorkerLost(RunError):
    """A model process ended by itself, or was ended."""


class Hand:
    """An engine at the other end of a pipe.

    Args:
        ended: waits until it has ended.
    """

    def __init__(self, connection: Connection, ended: Callable[[float], None]) -> None:
        self._connection, self._ended = connection, ended
        self._outgoing: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def listen(self, heard: Heard) -> None:
        """Let `heard` be told, on a thread of its own, what the engine tells, and None at its end."""
        for work in (self._send, lambda: self._receive(heard)):
            threading.Thread(target=work, name="model", daemon=True).start()

    def send(self, what: str, value: Any) -> None:
        """Ask something of the engine; returns at once."""
        self._outgoing.put((what, value))

    def close(self) -> None:
        """Let it end behind the step that it takes."""
        self.send("stop", None)
        self._ended(5)

    def _send(self) -> None:
        """The pipe may be full for as long as a step of the model takes."""
        try:
            while True:
                self._connection.send(message := self._outgoing.get())
                if message[0] == "stop":
                    return
        except OSError:
            return

    def _receive(self, heard: Heard) -> None:
        try:
            while True:
                heard(self, self._connection.recv())
        except (EOFError, OSError):
            heard(self, None)


def in_thread(tagger: Tagger, make: MakeEngine = Engine) -> Hand:
    """An engine in this process."""
    ours, theirs = multiprocessing.Pipe()

    def live() -> None:
        with theirs:
            run(make(tagger, theirs.send), theirs)

    thread = threading.Thread(target=live, name="engine", daemon=True)
    thread.start()
    return Hand(ours, thread.join)


def in_process(tagger: Tagger, threads: int, others: Sequence[Any]) -> Hand:
    """An engine in a process of its own, forked from this one.

    Args:
        others: what it shall not hold open.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_live, args=(tagger, theirs, threads, [ours, *others]), daemon=True)
    process.start()
    theirs.close()
    return Hand(ours, process.join)


def _live(tagger: Tagger, connection: Connection, threads: int, inherited: Sequence[Any]) -> None:
    for each in inherited:
        each.close()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)  # the server says when
    torch.set_num_threads(threads)
    run(Engine(tagger, connection.send), connection)


def hands(tagger: Tagger, count: int | None, listener: socket.socket) -> list[Hand]:
    """So many engines: in processes, or for one in this process.

    Args:
        count: None: one for each core, at most four, where the model is small and on the CPU; else one.
        listener: not for them.

    Raises:
        UsageError: more than one where the model is on an accelerator or the system is not Linux.
    """
    count = useful_processes(tagger, _MOST) if count is None else count
    if count == 1:
        torch.set_num_threads(cores())
        return [in_thread(tagger)]
    if not can_fork(tagger):
        raise UsageError(f"--workers {count}: several are for a model on the CPU, on Linux; use 1")
    gc.freeze()  # what lies in memory now stays shared
    made: list[Hand] = []
    for _ in range(count):
        made.append(in_process(tagger, max(1, cores() // count), [listener, *(each._connection for each in made)]))
    return made
