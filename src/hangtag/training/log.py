"""log.jsonl: one record for each logged step, appended as training goes."""

from __future__ import annotations

import json
import time
from pathlib import Path

from hangtag.files import read_jsonl, write_jsonl


class Log:
    """Appends records with the seconds trained so far.

    A resumed run goes on from its checkpoint's step: later records, which are about to be made again, are dropped.
    """

    def __init__(self, path: Path, resumed_step: int = 0) -> None:
        self.path = path
        kept = [record for record in (read_jsonl(path) if path.exists() else []) if record["step"] <= resumed_step]
        write_jsonl(path, kept)
        self.before = kept[-1]["seconds"] if kept else 0.0
        self.started = time.monotonic()

    def add(self, **record: float) -> None:
        """Append one record; it is on disk when this returns, as far as the system keeps its word."""
        record["seconds"] = round(self.before + time.monotonic() - self.started, 2)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
