"""Pictures that are nearly the same: a perceptual hash, and the pairs of hashes within a distance.

The hash is the sign pattern of a picture's coarse shape, not of its colours: 256 low frequencies (a cosine transform of
64 x 64 greys), each above or below their median. Photos saved again, made smaller or lighter stay within DISTANCE,
nearly all that lose a hundredth at each side too, and photos of different things lie twice as far apart
(benchmarks/duplicates.py). So photos of one thing in several colours are near duplicates when everything else is alike,
which is what a split must not divide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DISTANCE = 24
"""Bits out of 256 in which two hashes of near-duplicate pictures differ at most."""

_SIDE, _LOW = 64, 16
_FLATTEST = 2.0
"""Standard deviation in grey levels below which a picture has no shape to speak of."""
_BLOCK = 2048
Places = NDArray[np.int64]


def picture_hash(image: Image.Image) -> str:
    """64 hex digits, or "" for a picture without structure, such as one even colour.

    Args:
        image: of any size and mode.
    """
    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.float64)
    if grey.std() < _FLATTEST:
        return ""
    low = (_COSINES @ grey @ _COSINES.T).ravel()
    return np.packbits(low > np.median(low)).tobytes().hex()


def near_duplicates(
    hashes: Sequence[str], distance: int = DISTANCE, progress: Callable[[int, int], Any] | None = None
) -> list[tuple[int, int, int]]:
    """Pairs (i, j, bits that differ), i < j, of places in `hashes` with at most `distance` differing bits.

    All are compared with all, which takes 100,000 different hashes half a minute on two idle cores, or several. Of the
    pairs found only so many are given that they hold every group together: N like pictures make N - 1 pairs, not
    N * N / 2. An empty hash is like nothing.

    Args:
        progress: called with hashes compared with all others, and all.
    """
    first: dict[str, int] = {}
    pairs = [(first[each], at, 0) for at, each in enumerate(hashes) if each and first.setdefault(each, at) != at]
    places, signs = list(first.values()), _signs(list(first))
    group = list(range(len(places)))
    for top in range(0, len(places), _BLOCK):
        for left in range(top, len(places), _BLOCK):
            bits = (signs.shape[1] - signs[top : top + _BLOCK] @ signs[left : left + _BLOCK].T) / 2
            rows, columns = np.nonzero(bits <= distance)
            for place in _joining(rows + top, columns + left, group):
                i, j = rows[place], columns[place]
                pairs.append((places[top + i], places[left + j], int(bits[i, j])))
        if progress is not None:
            progress(min(top + _BLOCK, len(places)), len(places))
    return sorted(pairs)


def alike_pictures(
    hashes: Mapping[str, str], distance: int = DISTANCE, progress: Callable[[int, int], Any] | None = None
) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Pairs of file names whose pictures are near duplicates, and what catalogue.json says of them.

    Args:
        hashes: of every picture by file name.
        distance, progress: as of `near_duplicates`.
    """
    files = list(hashes)
    pairs = [(files[i], files[j]) for i, j, _ in near_duplicates(list(hashes.values()), distance, progress)]
    return pairs, {"distance": distance, "pictures": len({name for pair in pairs for name in pair})}


def _joining(rows: Places, columns: Places, group: list[int]) -> Iterator[int]:
    """The places in `rows` and `columns` (of like pairs) that join two groups; `group` is brought up to date.

    The first pair of every row is looked at, then those that still lie between two groups: a few rounds, where
    looking at each pair would take N * N steps for N like pictures.
    """

    def of(member: int) -> int:
        while group[member] != member:
            group[member] = group[group[member]]
            member = group[member]
        return member

    left = np.flatnonzero(rows < columns)
    while len(left):
        for place in left[np.unique(rows[left], return_index=True)[1]]:
            low, high = sorted((of(rows[place]), of(columns[place])))
            if low != high:
                group[high] = low
                yield place
        members = np.unique(np.concatenate([rows[left], columns[left]]))
        label = np.array([of(member) for member in members], int)
        among = [np.searchsorted(members, each[left]) for each in (rows, columns)]
        left = left[label[among[0]] != label[among[1]]]


def _signs(hashes: Sequence[str]) -> NDArray[np.float32]:
    """(N, bits): +1 and -1, so that a product of two rows is bits - 2 * distance, exactly."""
    if not hashes:
        return np.empty((0, 1), np.float32)
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), -1)
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1


def _cosines() -> NDArray[np.float64]:
    """(16, 64): the cosine transform's rows 1 to 16; row 0, the mean, tells only how light a picture is."""
    frequency, place = np.arange(1, _LOW + 1)[:, None], np.arange(_SIDE)[None]
    return np.cos(math.pi * frequency * (2 * place + 1) / (2 * _SIDE))


_COSINES = _cosines()
