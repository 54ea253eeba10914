"""How a room tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Called now and then with units done, units in all, and perhaps a note such as the loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


class Stages(Protocol):
    """Opens one stage of the work under a title: `with stages("training") as progress: ...`"""

    def __call__(self, title: str) -> AbstractContextManager[Progress]: ...


@contextmanager
def silent(title: str) -> Iterator[Progress]:
    """Stages that nobody watches."""

    def progress(done: int, total: int, note: str = "") -> None:
        pass

    yield progress
