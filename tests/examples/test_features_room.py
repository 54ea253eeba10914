"""The bound of the cache of vision features: what goes, what stays, and what is said where nothing fits."""

import os
import subprocess
import sys
import time
from collections import namedtuple

import pytest
import torch

from hangtag.errors import CacheError
from hangtag.examples import features_room
from hangtag.examples.features import LOCK, FeatureCache
from hangtag.examples.features_room import make_room

SHAPE = (4, 128)
SIZE = 8192
"""An entry of two crops on disk: 4,224 bytes are two blocks."""
HOUR = 3600

# Holds a tower's lock as a FeatureCache does, without torch's seconds of import, until it is told to end.
HOLDER = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(descriptor, fcntl.LOCK_SH)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def name(index):
    return f"{index % 256:02x}{index:062x}"


def opened(root, key, limit):
    return FeatureCache(root, key, limit * SIZE, SHAPE, torch.float32)


def filled(root, key, entries, age):
    """A tower with some entries, last used `age` hours ago by a run that has ended."""
    cache = opened(root, key, 100)
    for index in entries:
        cache.put(name(index), torch.zeros(2, *SHAPE))
        os.utime(cache.path(name(index)), (time.time() - age * HOUR,) * 2)
    os.utime(cache.folder / LOCK, (time.time() - age * HOUR,) * 2)
    cache.close()
    return cache


def pictures(*indices):
    return dict.fromkeys(map(name, indices), 2)


def there(cache):
    return sorted(int(each.name[2:], 16) for each in cache.folder.glob("??/*") if each.suffix != ".tmp")


def disk_with(monkeypatch, free):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(features_room.shutil, "disk_usage", lambda path: usage(0, 0, free))


class Holder:
    """Another process that uses a tower."""

    def __init__(self, cache):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, cache.folder / LOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout.readline() == b"held\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()


def test_what_fits_removes_nothing(root):
    other = filled(root, "other", range(3), age=5)
    cache = opened(root, "own", limit=7)
    assert make_room(cache, pictures(0, 1, 2, 3)) is None
    assert there(other) == [0, 1, 2]


def test_the_least_recently_used_tower_goes_first_and_whole(root):
    old, older, newer = (filled(root, key, range(3), age) for key, age in (("a", 5), ("b", 9), ("c", 1)))
    cache = opened(root, "own", limit=10)
    assert make_room(cache, pictures(0, 1, 2, 3)) is None
    assert not older.folder.exists()
    assert there(old) == there(newer) == [0, 1, 2]
    assert make_room(cache, pictures(*range(7))) is None
    assert not old.folder.exists()
    assert there(newer) == [0, 1, 2]


def test_then_own_entries_that_are_not_needed(root):
    filled(root, "own", [0, 1], age=3)
    filled(root, "own", [2, 3], age=7)
    other = filled(root, "other", [0], age=1)
    cache = opened(root, "own", limit=4)
    assert make_room(cache, pictures(1, 2, 8)) is None
    assert not other.folder.exists()
    assert there(cache) == [0, 1, 2]  # 3 was needed longer ago than 0
    cache.put(name(8), torch.zeros(2, *SHAPE))
    assert make_room(cache, pictures(0, 1, 2, 8)) is None
    assert there(cache) == [0, 1, 2, 8]


def test_what_a_run_needs_counts_as_used(root):
    filled(root, "own", range(4), age=5)
    first = opened(root, "own", limit=4)
    assert make_room(first, pictures(0)) is None
    assert make_room(first, pictures(7)) is None
    assert 0 in there(first)
    assert len(there(first)) == 3


def test_a_run_beyond_the_limit_is_refused_and_nothing_goes(root):
    other = filled(root, "other", range(3), age=5)
    cache = opened(root, "own", limit=4)
    refusal = make_room(cache, pictures(*range(5)))
    assert (refusal.needed_bytes, refusal.limit_bytes, refusal.in_use_bytes) == (5 * SIZE, 4 * SIZE, 0)
    assert there(other) == [0, 1, 2]


def test_the_refusal_says_what_would_do(root):
    cache = FeatureCache(root, "own", 10 * 10**9, (144, 4096), torch.bfloat16)
    refusal = make_room(cache, {name(index): 5 for index in range(3080)})
    assert str(refusal) == "it needs 18.2 GB, the limit is 10.0 GB; --set train.vision_cache_gb=19 allows it"
    allowed = FeatureCache(root, "own", 19 * 10**9, (144, 4096), torch.bfloat16)
    assert make_room(allowed, {name(index): 5 for index in range(3080)}) is None


def test_a_full_disk_is_said_and_the_reserve_stays(root, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        features_room.shutil, "disk_usage", lambda path: usage(0, 0, features_room.RESERVE_BYTES + SIZE)
    )
    other = filled(root, "other", [0], age=5)
    cache = opened(root, "own", limit=100)
    refusal = make_room(cache, pictures(0, 1, 2))
    assert str(refusal) == (
        f"it needs another 0.0 MB; {root} has 2.0 GB free, and 2.0 GB must stay so; "
        "free some, or set HANGTAG_CACHE to a folder on another disk"
    )
    assert there(other) == [0]
    assert make_room(cache, pictures(0, 1)) is None  # with the other's place
    assert not other.folder.exists()


def test_a_full_cache_needs_no_free_disk(root, monkeypatch):
    disk_with(monkeypatch, 0)
    filled(root, "own", range(3), age=1)
    other = filled(root, "other", [0], age=5)
    assert make_room(opened(root, "own", limit=100), pictures(0, 1, 2)) is None
    assert there(other) == [0]


def test_a_tower_in_use_is_not_removed(root):
    busy = filled(root, "busy", range(3), age=9)
    cache = opened(root, "own", limit=4)
    with Holder(busy):
        refusal = make_room(cache, pictures(0, 1))
        assert (refusal.needed_bytes, refusal.in_use_bytes) == (2 * SIZE, 3 * SIZE)
        assert "other runs use" in str(refusal)
        assert there(busy) == [0, 1, 2]
        idle = filled(root, "idle", [0], age=0)
        assert make_room(cache, pictures(0)) is None
        assert not idle.folder.exists()
    assert make_room(cache, pictures(0, 1)) is None
    assert not busy.folder.exists()


def test_what_a_run_has_yet_to_write_counts(root):
    first = opened(root, "first", limit=10)
    assert make_room(first, pictures(*range(8))) is None
    second = opened(root, "second", limit=10)
    assert make_room(second, pictures(0, 1, 2)).in_use_bytes == 8 * SIZE
    assert make_room(second, pictures(0, 1)) is None
    first.close()
    assert make_room(second, pictures(0, 1, 2)) is None


def test_what_was_removed_counts_no_longer(root):
    filled(root, "first", range(4), age=5)
    first = opened(root, "first", limit=4)
    assert make_room(first, pictures(7, 8, 9)) is None
    assert len(there(first)) == 1
    assert make_room(opened(root, "second", limit=4), pictures(0)).in_use_bytes == 4 * SIZE


def test_runs_of_one_tower_share_their_entries_and_keep_each_others(root):
    filled(root, "own", range(4), age=5)
    first = opened(root, "own", limit=6)
    with Holder(first):
        assert make_room(first, pictures(0, 1, 2, 3, 4, 5)) is None
        assert make_room(first, pictures(0, 1, 2, 3, 4, 5)) is None
        assert make_room(first, pictures(6, 7, 8)).in_use_bytes == 4 * SIZE
        roomier = opened(root, "own", limit=7)
        assert make_room(roomier, pictures(6, 7, 8)) is None
        assert there(first) == [0, 1, 2, 3]
        roomier.close()
    assert make_room(first, pictures(6, 7, 8)) is None
    assert len(there(first)) == 3


def test_a_decision_leaves_the_tower_in_use(root):
    cache = opened(root, "own", limit=4)
    assert make_room(cache, pictures(0)) is None
    other = opened(root, "other", limit=4)
    assert make_room(other, pictures(*range(4))).in_use_bytes == SIZE
    assert cache.folder.exists()


def test_a_tower_that_was_removed_can_be_opened_again(root):
    first = filled(root, "first", range(3), age=5)
    assert make_room(opened(root, "own", limit=3), pictures(0, 1, 2)) is None
    assert not first.folder.exists()
    again = opened(root, "first", limit=3)
    again.put(name(0), torch.zeros(2, *SHAPE))
    assert again.missing([name(0), name(1)]) == [name(1)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_towers_are_opened_while_others_remove_them(root):
    """Whoever holds a tower that others would like to remove finds its entry, every time."""
    stop = root.with_name("stop")
    root.mkdir()
    child = os.fork()
    if not child:
        try:
            cache = opened(root, "remover", limit=1)
            while not stop.exists():
                make_room(cache, pictures(0))
                cache.path(name(0)).unlink(missing_ok=True)
        finally:
            os._exit(1)
    try:
        for _ in range(300):
            cache = opened(root, "wanted", limit=1)
            cache.put(name(1), torch.ones(2, *SHAPE))
            assert cache.missing([name(1)]) == []
            cache.close()
    finally:
        stop.touch()
        os.waitpid(child, 0)


def test_damaged_entries_and_leftovers_of_killed_processes_go(root):
    cache = opened(root, "own", limit=2)
    cache.put(name(0), torch.zeros(2, *SHAPE))
    os.truncate(cache.path(name(0)), 5000)
    old, new = (cache.path(name(0)).with_name(f".{each}.tmp") for each in "ab")
    for each in (old, new):
        each.write_bytes(bytes(10))
    os.utime(old, (time.time() - 2 * HOUR,) * 2)
    assert make_room(cache, pictures(0)) is None
    assert not old.exists()
    assert make_room(cache, pictures(0, 1)) is None
    assert there(cache) == []


def test_what_lies_beside_the_towers_is_left_alone(root):
    cache = opened(root, "own", limit=1)
    (root / "features" / "notes.txt").write_text("mine")
    assert make_room(cache, pictures(0)) is None
    assert (root / "features" / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_decided_about_is_named(root):
    cache = opened(root, "own", limit=1)
    (root / "features" / LOCK).mkdir()
    with pytest.raises(CacheError, match="HANGTAG_CACHE"):
        make_room(cache, pictures(0))
