"""What has been asked of a model so far, batch by batch, so that an interrupted evaluation goes on where it stopped.

The first line says what was asked of whom; a journal of anything else is begun anew. A batch is one line, flushed
before the next is asked, and a line cut in half by a crash is dropped. Numbers come back to the last bit, and batches
are the same ones again, so what goes on ends as what was never interrupted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hangtag.files import lock


class Journal:
    """Batches by name and place. Without a file it keeps nothing."""

    def __init__(self, file: IO[bytes] | None = None, known: dict[tuple[str, int], Any] | None = None) -> None:
        self._file = file
        self._known = known or {}
        self.batches = len(self._known)

    def find(self, name: str, place: int) -> Any:
        """What was written down for a batch; None where it was not."""
        return self._known.get((name, place))

    def write(self, name: str, place: int, found: Any) -> None:
        """Write a batch down."""
        self.append([name, place, found])
        self.batches += 1

    def append(self, line: Any) -> None:
        """One line more, flushed to disk."""
        if self._file is None:
            return
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_journal(path: Path, asked: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal at `path`, going on where it is about `asked`; removed where the block ends without an error.

    Args:
        asked: JSON that decides every answer: the model's files, the rows and their pictures, the settings.

    Raises:
        RunError: another process writes this journal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        lock(file, f"another hangtag is evaluating into {path.parent}; wait for it")
        file.seek(0)
        lines, size = _whole_lines(file.read())
        if not lines or lines[0] != json.loads(json.dumps(asked)):
            lines, size = [], 0
        file.truncate(size)
        journal = Journal(file, {(name, place): found for name, place, found in lines[1:]})
        if not lines:
            journal.append(asked)
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


def _whole_lines(data: bytes) -> tuple[list[Any], int]:
    """The lines up to the first that is cut or damaged, and how many bytes they are."""
    found, size = [], 0
    for line in data.split(b"\n")[:-1]:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
        size += len(line) + 1
    return found, size
