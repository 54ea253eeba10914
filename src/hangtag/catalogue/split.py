"""Which rows are for training, validation and test: by hash, and never one product on two sides.

Rows that share a product code, a title or a picture, or whose pictures are near duplicates, form one group
(union-find), and a group goes where the hash of its first key falls: not by the order of the table, and hardly ever
elsewhere when rows are added.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

SPLITS = ("train", "validation", "test")
GROUP_KEYS = ("product_code", "title")
TOLERANCE = 0.005
"""How far, as a share of all rows, the end of a split may lie from where it should."""
_NO_VALUE = frozenset({"", "-", "n.a.", "n/a", "na", "nan", "none", "null"})

Key = tuple[int, str]
"""Rank of the column (0 is the coarsest) and its folded value."""


def fold(text: str) -> str:
    """A value as it is compared: NFKC, case-folded, runs of white space as one space; "" for N.A. and the like."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = " ".join(folded.split())
    return "" if folded in _NO_VALUE else folded


def group_rows(
    rows: Sequence[Mapping[str, str]], keys: Sequence[str] = GROUP_KEYS, alike: Iterable[tuple[str, str]] = ()
) -> list[Key]:
    """For every row the first key of its group: equal keys, and only they, are one group.

    Rows that share a value of any of `keys`, or a `file_name`, are in one group, also through other rows.
    A row without any value stands alone, under the hash of its whole content. A group's first key is taken
    from the last of `keys` (the coarsest, such as the title of all colours) for which it has a value.

    Args:
        alike: pairs of file names whose pictures are near duplicates; their rows are in one group too.
    """
    ranks = {name: rank for rank, name in enumerate([*reversed([k for k in keys if k != "file_name"]), "file_name"])}
    parent: dict[Key, Key] = {}

    def first(key: Key) -> Key:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    own: list[Key] = []
    for row in rows:
        found = [(rank, value) for name, rank in ranks.items() if (value := fold(row.get(name, "")))]
        for key in found or [(len(ranks), _content(row))]:
            parent.setdefault(key, key)
            low, high = sorted((first(key), first(found[0]) if found else key))
            parent[high] = low
        own.append(found[0] if found else (len(ranks), _content(row)))
    for pair in alike:
        low, high = sorted(first((ranks["file_name"], fold(name))) for name in pair)
        parent[high] = low
    return [first(key) for key in own]


def assign_splits(
    rows: Sequence[Mapping[str, str]],
    keys: Sequence[str] = GROUP_KEYS,
    seed: int = 0,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    alike: Iterable[tuple[str, str]] = (),
) -> list[str]:
    """The split of every row: "train", "validation" or "test".

    Args:
        rows: any mappings; missing columns and empty values group nothing.
        keys: columns whose equal values must not be divided; `file_name` always counts, where it is there.
        shares: of the three splits, adding up to 1. Each holds within .01 of the rows as far as whole groups
            allow, and no split with a share is empty while there are groups for all.
        alike: pairs of file names whose pictures are near duplicates.
    """
    assert len(shares) == len(SPLITS)
    assert min(shares) >= 0
    assert abs(sum(shares) - 1) < 1e-9
    groups = group_rows(rows, keys, alike)
    sizes = Counter(groups)
    points = {group: _point(group, seed) for group in sizes}
    ordered = sorted(sizes, key=lambda group: (points[group], group))
    cuts = _cuts([points[group] for group in ordered], [sizes[group] for group in ordered], shares)
    names = {group: SPLITS[bisect_right(cuts, place)] for place, group in enumerate(ordered)}
    return [names[group] for group in groups]


def _cuts(points: Sequence[float], sizes: Sequence[int], shares: Sequence[float]) -> list[int]:
    """How many of the groups, in the order of their hashes, come before the end of each split but the last.

    An end lies at its own hash value, whatever the rows; only where the rows before it are off by more than
    TOLERANCE is it moved, to the nearest place where they are not. So splits stay as rows are added, but for
    groups beside an end of a small table.
    """
    before = [0, *accumulate(sizes)]
    cuts: list[int] = []
    for split, share in enumerate(shares[:-1]):
        end = sum(shares[: split + 1])
        own = bisect_left(points, end)
        off = [max(abs(count / max(before[-1], 1) - end), TOLERANCE) for count in before]
        cut = min(range(len(before)), key=lambda place: (off[place], abs(place - own)))
        least = cuts[-1] if cuts else 0
        most = len(points) - sum(later > 0 for later in shares[split + 1 :])
        cuts.append(least if share == 0 else max(min(cut, most), min(least + 1, len(points))))
    return cuts


def _point(key: Key, seed: int) -> float:
    """A number in [0, 1) that follows from key value and seed."""
    digest = hashlib.sha256(f"{seed}\0{key[1]}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _content(row: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(row.items())).encode()).hexdigest()
