"""What has been asked of a model so far, batch by batch, so that an interrupted evaluation goes on where it stopped.

The first line says what was asked of whom; a journal of anything else is begun anew. A batch is one line. Numbers come
back to the last bit, and batches are the same ones again, so what goes on ends as what was never interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hangtag.journal import Lines, open_lines


class Journal:
    """Batches by name and place. Without a file it keeps nothing."""

    def __init__(self, lines: Lines | None = None, known: dict[tuple[str, int], Any] | None = None) -> None:
        self._lines = lines
        self._known = known or {}
        self.batches = len(self._known)

    def find(self, name: str, place: int) -> Any:
        """What was written down for a batch; None where it was not."""
        return self._known.get((name, place))

    def write(self, name: str, place: int, found: Any) -> None:
        """Write a batch down."""
        if self._lines is not None:
            self._lines.append([name, place, found])
        self.batches += 1


@contextmanager
def open_journal(path: Path, asked: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal at `path`, going on where it is about `asked`; removed where the block ends without an error.

    Args:
        asked: JSON that decides every answer: the model's files, the rows and their pictures, the settings.

    Raises:
        RunError: another process writes this journal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lines(path, f"another hangtag is evaluating into {path.parent}; wait for it") as lines:
        written = list(lines)
        if not written or written[0] != json.loads(json.dumps(asked)):
            written = []
            lines.clear()
            lines.append(asked)
        journal = Journal(lines, {(name, place): found for name, place, found in written[1:]})
        try:
            yield journal
        except BaseException:
            if not journal.batches:
                _forget(path)
            raise
        path.unlink()


def _forget(path: Path) -> None:
    """Leave no trace of an evaluation that asked nothing."""
    path.unlink()
    with suppress(OSError):
        path.parent.rmdir()
