"""fetched.jsonl: what has become of every place a picture was looked for, a line each as soon as it is known.

A line is written after its picture lies whole in `images/`, so a run that was killed at any moment knows afterwards
what is there; a last line without its end is dropped. The first line says from which table and how large.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hangtag.catalogue.facts import PictureFacts
from hangtag.errors import DataError, UsageError
from hangtag.files import require_new_folder

NAME = "fetched.jsonl"
VERSION = 1
_PICTURE = re.compile(r"images/[0-9a-f]{32}\.jpg")


@dataclass(frozen=True)
class Kept:
    """A picture that lies in the catalogue."""

    file_name: str
    facts: PictureFacts


@dataclass(frozen=True)
class Refused:
    """A place without a picture that can be used: a short reason, a sentence, and how often it was asked for."""

    reason: str
    detail: str
    attempts: int = 0


Entry = Kept | Refused


class Journal:
    """What is known, by place; open it with `open_journal`."""

    def __init__(self, folder: Path, descriptor: int, known: dict[str, Entry]) -> None:
        self.folder, self.known = folder, known
        self._descriptor = descriptor

    def add(self, place: str, entry: Entry) -> None:
        """Note what became of a place. OSError where the disk is full."""
        self.known[place] = entry
        said = {"file_name": entry.file_name, **asdict(entry.facts)} if isinstance(entry, Kept) else asdict(entry)
        _write(self._descriptor, {"place": place, **said})


@contextmanager
def open_journal(folder: Path, source: str, max_side: int, retry_rejected: bool = False) -> Iterator[Journal]:
    """The journal of a new or interrupted or finished catalogue; no other process can open it meanwhile.

    Args:
        retry_rejected: forget what was refused, so that it is tried again.

    Raises:
        OutputNotEmpty: the folder holds something else. UsageError: it was made from another table or with another
            size, or another process is at work in it. DataError: the journal is damaged.
    """
    if not (folder / NAME).is_file():
        require_new_folder(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        _lock(descriptor, folder)
        known = _resume(folder, descriptor, {"version": VERSION, "source": source, "max_side": max_side})
        for leftover in (folder / "images").glob(".*.tmp"):
            leftover.unlink()
        if retry_rejected:
            known = {place: entry for place, entry in known.items() if isinstance(entry, Kept)}
        yield Journal(folder, descriptor, known)
    finally:
        os.close(descriptor)


def known_facts(folder: Path) -> dict[str, PictureFacts]:
    """The facts of the pictures that a journal tells of, by file name; none without one."""
    known: dict[str, PictureFacts] = {}
    with suppress(OSError), open(folder / NAME, "rb") as file:
        for line in file:
            place = _entry(line)
            if place is not None and isinstance(place[1], Kept):
                known[place[1].file_name] = place[1].facts
    return known


def _lock(descriptor: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"another hangtag is fetching into {folder}; wait for it or choose another folder") from None


def _resume(folder: Path, descriptor: int, head: Mapping[str, Any]) -> dict[str, Entry]:
    """What an earlier run has written; its last line is cut off if it is not whole."""
    with open(folder / NAME, "rb") as file:
        data = file.read()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.ftruncate(descriptor, whole)
    lines = data[:whole].splitlines()
    if not lines:
        _write(descriptor, head)
        return {}
    _check_head(folder, lines[0], head)
    known: dict[str, Entry] = {}
    for place, entry in filter(None, map(_entry, lines[1:])):
        known[place] = entry
    return {place: entry for place, entry in known.items() if not isinstance(entry, Kept) or _is_there(folder, entry)}


def _check_head(folder: Path, line: bytes, head: Mapping[str, Any]) -> None:
    try:
        found = json.loads(line)
        before = {key: found[key] for key in head}
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{folder / NAME} does not begin as a journal; remove the folder and fetch again") from None
    differ = [f"{key} {before[key]!r}, now {head[key]!r}" for key in head if before[key] != head[key]]
    if differ:
        raise UsageError(f"{folder} was begun with {'; '.join(differ)}; choose another folder, or remove it first")


def _entry(line: bytes) -> tuple[str, Entry] | None:
    """One line's place and entry; None for a line that says nothing sensible: its place is looked at again."""
    try:
        value = json.loads(line)
        place = value.pop("place")
        if "file_name" not in value:
            return place, Refused(str(value["reason"]), str(value["detail"]), int(value["attempts"]))
        name = value.pop("file_name")
        return (place, Kept(name, PictureFacts(**value))) if _PICTURE.fullmatch(name) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_there(folder: Path, entry: Kept) -> bool:
    try:
        return (folder / entry.file_name).stat().st_size == entry.facts.bytes
    except OSError:
        return False


def _write(descriptor: int, value: Mapping[str, Any]) -> None:
    line = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    while line:
        line = line[os.write(descriptor, line) :]
