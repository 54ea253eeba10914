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
    """While this is open, the first SIGINT or SIGTERM sets `asked`; the next SIGINT is what it always was.

    A further SIGTERM changes nothing: `torchrun` sends one to every process after a terminal's Ctrl-C has reached them.
    """
    wish = Interrupt()
    before: dict[signal.Signals, signal._HANDLER] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        if not wish.asked:
            wish.asked = True
            signal.signal(signal.SIGINT, before[signal.SIGINT])
            line = "stopping: this step is finished and saved; Ctrl-C again stops at once"
            # Not from here: what was interrupted may be writing to the same stream, which would be an error.
            threading.Thread(target=say, args=[line]).start()

    if threading.current_thread() is threading.main_thread():
        for name in (signal.SIGINT, signal.SIGTERM):
            before[name] = signal.signal(name, ask)
    try:
        yield wish
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
