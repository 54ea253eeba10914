"""The bound of the cache of vision features: whether a run's features fit, and what makes way for them.

First go other towers' features, the least recently used tower first, then this tower's entries that the run does not
need. What a living process uses is never removed, and nothing is removed where that would not be enough. A tower in
use counts with what its run said it would need, also while that is still being written; runs of one tower are taken to
need the same pictures.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hangtag.examples.features import LOCK, FeatureCache, on_disk, unwritable

with suppress(ImportError):  # without it there is no FeatureCache either
    import fcntl

RESERVE_BYTES = 2_000_000_000
"""What stays free on the disk, for checkpoints and everybody else."""
STALE_SECONDS = 3600
"""A temporary file of this age belongs to a process that was killed."""


@dataclass(frozen=True)
class NoRoom:
    """Why a run's features do not fit; as a string, a clause with the way out.

    Args:
        needed_bytes: all features of the run.
        missing_bytes: of them those still to be written.
        in_use_bytes: what other runs use.
        limit_bytes: what all may take together.
        free_bytes: on the disk, with what could be removed.
        root: the cache's.
    """

    needed_bytes: int
    missing_bytes: int
    in_use_bytes: int
    limit_bytes: int
    free_bytes: int
    root: Path

    @property
    def beyond_limit(self) -> bool:
        """Whether the limit is too low; otherwise the disk is too full."""
        return self.needed_bytes + self.in_use_bytes > self.limit_bytes

    @property
    def beyond_disk(self) -> bool:
        return self.missing_bytes > 0 and self.missing_bytes + RESERVE_BYTES > self.free_bytes

    def __str__(self) -> str:
        if self.beyond_limit:
            used = f" and other runs use {gigabytes(self.in_use_bytes)}" if self.in_use_bytes else ""
            enough = math.ceil((self.needed_bytes + self.in_use_bytes) / 1e9)
            return (
                f"it needs {gigabytes(self.needed_bytes)}{used}, the limit is {gigabytes(self.limit_bytes)}; "
                f"--set train.vision_cache_gb={enough} allows it"
            )
        return (
            f"it needs another {gigabytes(self.missing_bytes)}; {self.root} has {gigabytes(self.free_bytes)} free, "
            f"and {gigabytes(RESERVE_BYTES)} must stay so; free some, or set HANGTAG_CACHE to a folder on another disk"
        )


def gigabytes(size: int) -> str:
    """A size in powers of ten, as people read it: 18.2 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


class Removable(NamedTuple):
    """A tower's folder or an entry's file: when it was last needed, what it takes on disk, where it lies."""

    used: float
    size: int
    path: Path


def make_room(cache: FeatureCache, crops: Mapping[str, int]) -> NoRoom | None:
    """See that the features of a run's pictures fit, removing others where they must go.

    With several processes one calls this, and the others open the cache after it: entries of this tower that the run
    does not need could be theirs as long as they have it open, and stay.

    Args:
        crops: of every picture of the run, by content hash (see `crop_count`).

    Returns:
        None where they fit; otherwise nothing was removed.

    Raises:
        CacheError: the folder cannot be read or written.
    """
    sizes = {picture: cache.entry_bytes(count) for picture, count in crops.items()}
    try:
        with _deciding(cache.folder.parent), ExitStack() as locks:
            return _make_room(cache, sizes, locks)
    except OSError as error:
        raise unwritable(cache.root, error) from None


def _make_room(cache: FeatureCache, sizes: Mapping[str, int], locks: ExitStack) -> NoRoom | None:
    missing = set(cache.missing(sizes))
    missing_bytes = sum(sizes[picture] for picture in missing)
    for picture in sizes.keys() - missing:
        os.utime(cache.path(picture))
    # Nobody else can take the lock between the two: all who want it alone decide one after another.
    alone = _try_alone(cache.lock)
    locks.callback(fcntl.flock, cache.lock, fcntl.LOCK_SH)

    towers, in_use = _other_towers(cache.folder, locks)
    own = _entries(cache.folder)
    unneeded = {each for each in own if each.path.name not in sizes or each.path.name in missing}
    own_bytes = sum(each.size for each in own)
    removable = [*sorted(towers), *(sorted(unneeded) if alone else [])]
    needed_bytes = sum(sizes.values())
    if not alone:
        in_use += max(own_bytes + missing_bytes, _reserved(cache.lock)) - needed_bytes

    removable_bytes = sum(each.size for each in removable)
    free = shutil.disk_usage(cache.folder).free
    refusal = NoRoom(needed_bytes, missing_bytes, in_use, cache.limit_bytes, free + removable_bytes, cache.root)
    if refusal.beyond_limit or refusal.beyond_disk:
        return refusal
    used = needed_bytes + in_use + removable_bytes
    excess = max(used - cache.limit_bytes, missing_bytes + RESERVE_BYTES - free if missing else 0)
    for each in removable:
        if excess <= 0:
            break
        _remove(each.path)
        excess -= each.size
        own_bytes -= each.size if each in unneeded else 0
    _reserve(cache.lock, max(own_bytes + missing_bytes, 0 if alone else _reserved(cache.lock)))
    return None


def _other_towers(own: Path, locks: ExitStack) -> tuple[list[Removable], int]:
    """The towers that nobody uses, locked until `locks` ends, and the bytes of those that somebody does."""
    unused, in_use = [], 0
    for folder in own.parent.iterdir():
        if folder == own or not folder.is_dir():
            continue
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        locks.callback(os.close, lock)
        size = sum(each.size for each in _entries(folder))
        if _try_alone(lock):
            unused.append(Removable(os.fstat(lock).st_mtime, size, folder))
        else:
            in_use += max(size, _reserved(lock))
    return unused, in_use


def _entries(folder: Path) -> list[Removable]:
    """A tower's files; what killed processes left half written is removed."""
    found, stale = [], time.time() - STALE_SECONDS
    for each in folder.glob("??/*"):
        with suppress(FileNotFoundError):  # another process has just given it its name
            facts = each.stat()
            if each.suffix == ".tmp" and facts.st_mtime < stale:
                each.unlink()
            else:
                found.append(Removable(facts.st_mtime, on_disk(facts.st_size), each))
    return found


def _remove(path: Path) -> None:
    """An entry, or a tower whose lock is held: the lock file last, so that whoever waits for it finds it gone."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for each in path.iterdir():
        if each.name != LOCK:
            shutil.rmtree(each)
    (path / LOCK).unlink()
    with suppress(OSError):  # somebody has just begun anew in it
        path.rmdir()


@contextmanager
def _deciding(features: Path) -> Iterator[None]:
    """One process at a time decides what goes."""
    with open(features / LOCK, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _try_alone(lock: int) -> bool:
    """Whether nobody else holds a lock; then it is held exclusively."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _reserve(lock: int, size: int) -> None:
    """Note in the lock file how large a tower's folder may grow while it is in use."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(size).encode(), 0)


def _reserved(lock: int) -> int:
    noted = os.pread(lock, 20, 0)
    return int(noted) if noted.isdigit() else 0
