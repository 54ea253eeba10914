"""What long work has found out so far, as JSON lines that outlive a kill at any moment.

Each line is flushed to disk before the next piece of work begins; one that was cut in half is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hangtag.files import lock


class Lines:
    """The whole lines of an open file, and more behind them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[Any]:
        """The lines up to the first that is cut or damaged, one at a time; that one and what follows it are dropped."""
        self._file.seek(0)
        size = 0
        for line in iter(self._file.readline, b""):
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if value is None or not line.endswith(b"\n"):
                break
            size += len(line)
            yield value
            self._file.seek(size)
        self._file.truncate(size)

    def append(self, value: Any) -> None:
        """One line more, flushed to disk."""
        self._file.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Begin anew."""
        self._file.truncate(0)


@contextmanager
def open_lines(path: Path, refusal: str) -> Iterator[Lines]:
    """The lines of the file at `path`, which is made where there is none; no other process can open it meanwhile.

    Raises:
        RunError: another process has it open; `refusal` is the message.
    """
    with open(path, "a+b") as file:
        lock(file, refusal)
        yield Lines(file)
