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

from hangtag.catalogue.hamming import close_pairs

DISTANCE = 24
"""Bits out of 256 in which two hashes of near-duplicate pictures differ at most."""

_SIDE, _LOW = 64, 16
_FLATTEST = 2.0
"""Standard deviation in grey levels below which a picture has no shape to speak of."""
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

    Of the pairs found only so many are given that they hold every group together: N like pictures make N - 1 pairs,
    not N * N / 2. An empty hash is like nothing.

    Args:
        progress: called with hashes compared with all others, and all.
    """
    first: dict[str, int] = {}
    pairs = [(first[each], at, 0) for at, each in enumerate(hashes) if each and first.setdefault(each, at) != at]
    places = list(first.values())
    group = np.arange(len(places))
    for one, other, bits in close_pairs(_packed(list(first)), distance, progress or (lambda done, total: None)):
        for pair in _joining(one, other, group):
            i, j = sorted((places[one[pair]], places[other[pair]]))
            pairs.append((i, j, int(bits[pair])))
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


def _joining(one: Places, other: Places, group: Places) -> Iterator[int]:
    """Which of some like pairs join two groups; `group`, every member's lowest fellow, is brought up to date.

    In each round every group is joined to the lowest one below it that it is like, so no pair closes a ring.
    """
    while True:
        low, high = np.sort([group[one], group[other]], axis=0)
        order = np.lexsort((low, high))
        order = order[low[order] != high[order]]
        if not len(order):
            return
        chosen = order[np.unique(high[order], return_index=True)[1]]
        group[high[chosen]] = low[chosen]
        while (group[group] != group).any():
            group[:] = group[group]
        yield from chosen.tolist()


def _packed(hashes: Sequence[str]) -> NDArray[np.uint64]:
    """(N, words)."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint64).reshape(len(hashes), -1 if hashes else 1)


def _cosines() -> NDArray[np.float64]:
    """(16, 64): the cosine transform's rows 1 to 16; row 0, the mean, tells only how light a picture is."""
    frequency, place = np.arange(1, _LOW + 1)[:, None], np.arange(_SIDE)[None]
    return np.cos(math.pi * frequency * (2 * place + 1) / (2 * _SIDE))


_COSINES = _cosines()
