"""Ctrl-C and SIGTERM as a wish: the step under way is finished and saved; a second Ctrl-C stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether an end was asked for."""

    asked = False


@contextmanager
def deferred_interrupt(say: Callable[[str], None]) -> Iterator[Interrupt]:
    """While this is open, the first SIGINT or SIGTERM sets `asked`; the next is what it always was."""
    wish = Interrupt()
    before: dict[signal.Signals, signal._HANDLER] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        wish.asked = True
        say("stopping: this step is finished and saved; Ctrl-C again stops at once")
        restore()

    def restore() -> None:
        while before:
            name, handler = before.popitem()
            signal.signal(name, handler)

    if threading.current_thread() is threading.main_thread():
        for name in (signal.SIGINT, signal.SIGTERM):
            before[name] = signal.signal(name, ask)
    try:
        yield wish
    finally:
        restore()
