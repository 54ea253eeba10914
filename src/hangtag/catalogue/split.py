"""Which rows are for training, validation and test: by hash, and never one product on two sides.

Rows that share a product code, a title or a picture, or whose pictures are near duplicates, form one group
(connected components), and a group goes where the hash of its first key falls: not by the order of the table, and
hardly ever elsewhere when rows are added.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)
GROUP_KEYS = ("product_code", "title")
TOLERANCE = 0.005
"""How far, as a share of all rows, the end of a split may lie from where it should."""
_NO_VALUE = frozenset({"", "-", "n.a.", "n/a", "na", "nan", "none", "null"})

Key = tuple[int, str]
"""Rank of the column (0 is the coarsest) and its folded value."""
Places = NDArray[np.int64]


class Coded(NamedTuple):
    """One column: row r shows `values[codes[r]]`."""

    codes: Places
    values: Sequence[str]


def fold(text: str) -> str:
    """A value as it is compared: NFKC, case-folded, runs of white space as one space; "" for N.A. and the like."""
    if text.isascii():
        folded = text.lower()
    else:
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
    groups = _group(_coded(rows, keys), keys, alike, rows.__getitem__)
    return [groups.key(node) for node in groups.of_row.tolist()]


def assign_splits(
    rows: Sequence[Mapping[str, str]],
    keys: Sequence[str] = GROUP_KEYS,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
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
    splits = _divide(_group(_coded(rows, keys), keys, alike, rows.__getitem__), seed, shares)
    return [SPLITS[place] for place in splits.tolist()]


def assign_splits_by_column(
    columns: Mapping[str, Coded],
    keys: Sequence[str] = GROUP_KEYS,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    alike: Iterable[tuple[str, str]] = (),
) -> Places:
    """As `assign_splits` for rows that have these columns and no other; each row's place in SPLITS."""

    def row(number: int) -> dict[str, str]:
        return {name: column.values[column.codes[number]] for name, column in columns.items()}

    return _divide(_group(columns, keys, alike, row), seed, shares)


class _Groups(NamedTuple):
    """Each row's group, by the place of its first key among all keys in their order."""

    of_row: Places
    values: list[str]
    starts: list[int]

    def key(self, node: int) -> Key:
        return bisect_right(self.starts, node) - 1, self.values[node]


def _ordered(keys: Sequence[str]) -> list[str]:
    """The columns that group rows, the coarsest first, without those that stand twice."""
    ranks = {name: rank for rank, name in enumerate([*reversed([k for k in keys if k != "file_name"]), "file_name"])}
    return sorted(ranks, key=ranks.__getitem__)


def _coded(rows: Sequence[Mapping[str, str]], keys: Sequence[str]) -> dict[str, Coded]:
    coded = {}
    for name in _ordered(keys):
        places: dict[str, int] = {}
        codes = [places.setdefault(row.get(name, ""), len(places)) for row in rows]
        coded[name] = Coded(np.array(codes, np.int64), list(places))
    return coded


def _group(
    columns: Mapping[str, Coded],
    keys: Sequence[str],
    alike: Iterable[tuple[str, str]],
    row: Callable[[int], Mapping[str, str]],
) -> _Groups:
    """Keys are numbered in their order, so that the lowest number of a group is its first key."""
    count = max((len(column.codes) for column in columns.values()), default=0)
    own = np.full(count, -1, np.int64)
    values: list[str] = []
    starts: list[int] = []
    edges: list[tuple[Places, Places]] = []
    pictures: dict[str, int] = {}
    for name in _ordered(keys):
        starts.append(len(values))
        if name not in columns:
            continue
        folded = [fold(value) for value in columns[name].values]
        found = sorted({*folded} - {""})
        places = dict(zip(found, range(len(values), len(values) + len(found)), strict=True))
        values += found
        node = np.array([places.get(value, -1) for value in folded], np.int64)[columns[name].codes]
        both = (node >= 0) & (own >= 0)
        edges.append((own[both], node[both]))
        own = np.where(own < 0, node, own)
        pictures = places if name == "file_name" else pictures
    bare = np.flatnonzero(own < 0).tolist()
    contents = [_content(row(number)) for number in bare]
    found = sorted({*contents})
    places = dict(zip(found, range(len(values), len(values) + len(found)), strict=True))
    own[bare] = [places[content] for content in contents]
    pairs = [(pictures[fold(one)], pictures[fold(other)]) for one, other in alike]
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    for one, other in edges:
        left, right = np.concatenate([left, one]), np.concatenate([right, other])
    starts.append(len(values))
    return _Groups(_lowest(len(values) + len(found), left, right)[own], values + found, starts)


def _lowest(count: int, left: Places, right: Places) -> Places:
    """For each of `count` nodes the lowest one that edges join it with, itself included."""
    lowest = np.arange(count)
    while True:
        left, right = lowest[left], lowest[right]
        open_ = left != right
        if not open_.any():
            return lowest
        left, right = np.minimum(left, right)[open_], np.maximum(left, right)[open_]
        np.minimum.at(lowest, right, left)
        while (lowest[lowest] != lowest).any():
            lowest = lowest[lowest]


def _divide(groups: _Groups, seed: int, shares: Sequence[float]) -> Places:
    """Each row's place in SPLITS."""
    assert len(shares) == len(SPLITS)
    assert min(shares) >= 0
    assert abs(sum(shares) - 1) < 1e-9
    nodes, of_row, sizes = np.unique(groups.of_row, return_inverse=True, return_counts=True)
    points = np.array([_point(groups.values[node], seed) for node in nodes.tolist()])
    order = np.argsort(points, kind="stable")
    splits = np.empty(len(nodes), np.int64)
    cuts = _cuts(points[order], sizes[order], shares)
    splits[order] = np.searchsorted(cuts, np.arange(len(nodes)), "right")
    return splits[of_row]


def _cuts(points: NDArray[np.float64], sizes: Places, shares: Sequence[float]) -> list[int]:
    """How many of the groups, in the order of their hashes, come before the end of each split but the last.

    An end lies at its own hash value, whatever the rows; only where the rows before it are off by more than
    TOLERANCE is it moved, to the nearest place where they are not. So splits stay as rows are added, but for
    groups beside an end of a small table.
    """
    before = np.concatenate([[0], np.cumsum(sizes)])
    cuts: list[int] = []
    for split, share in enumerate(shares[:-1]):
        end = sum(shares[: split + 1])
        own = int(np.searchsorted(points, end))
        off = np.maximum(np.abs(before / max(int(before[-1]), 1) - end), TOLERANCE)
        best = np.flatnonzero(off == off.min())
        cut = int(best[np.argmin(np.abs(best - own))])
        least = cuts[-1] if cuts else 0
        most = len(points) - sum(later > 0 for later in shares[split + 1 :])
        cuts.append(least if share == 0 else max(min(cut, most), min(least + 1, len(points))))
    return cuts


def _point(value: str, seed: int) -> float:
    """A number in [0, 1) that follows from key value and seed."""
    digest = hashlib.sha256(f"{seed}\0{value}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _content(row: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(row.items())).encode()).hexdigest()
