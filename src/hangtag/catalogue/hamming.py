"""Pairs of bit strings that differ in few bits, exactly: by bands where these tell most apart, else all with all.

The bits are dealt to bands, more than half as many as may differ. Of two strings within the distance some band then
differs in one bit or none (pigeonhole), so only pairs that do are compared (multi-index hashing, Norouzi et al. 2012).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BANDS = 13
"""At least so many: of 256 bits a band has 20, so that each of its values has a place in a table."""
FEW = 8192
"""Up to so many strings all with all is as quick (docs/log.md)."""
WORTH = 5
"""A pair that a band tells costs at most so many times one of all with all (docs/log.md)."""
_BLOCK, _AT_ONCE = 2048, 1 << 20

Strings = NDArray[np.uint64]
"""(N, words)."""
Keys = NDArray[np.int64]
Places = NDArray[np.int64]
Found = tuple[Places, Places, Places]
"""Places of the one and of the other string, and how many bits differ."""


def close_pairs(strings: Strings, distance: int, progress: Callable[[int, int], Any]) -> Iterator[Found]:
    """All pairs at most `distance` apart, i != j, in parts; a pair may come repeatedly.

    Args:
        progress: called with strings compared with all others, and all.
    """
    count = len(strings)
    if count > FEW:
        bands = max(BANDS, distance // 2 + 1)
        if WORTH * sum(map(neighbours, band_keys(strings, bands))) < count * count / 2:
            return by_bands(strings, bands, distance, progress)
    return all_with_all(strings, distance, progress)


def all_with_all(strings: Strings, distance: int, progress: Callable[[int, int], Any]) -> Iterator[Found]:
    """The pairs by products of signs, which are bits - 2 * distance, exactly."""
    signs = _bits(strings).astype(np.float32) * 2 - 1
    for top in range(0, len(signs), _BLOCK):
        for left in range(top, len(signs), _BLOCK):
            apart = (signs.shape[1] - signs[top : top + _BLOCK] @ signs[left : left + _BLOCK].T) / 2
            rows, columns = np.nonzero(apart <= distance)
            one = rows + top != columns + left
            rows, columns = rows[one], columns[one]
            yield rows + top, columns + left, apart[rows, columns].astype(np.int64)
        progress(min(top + _BLOCK, len(signs)), len(signs))


def by_bands(strings: Strings, bands: int, distance: int, progress: Callable[[int, int], Any]) -> Iterator[Found]:
    """The pairs of which one of so many bands differs in one bit or none."""
    for band, keys in enumerate(band_keys(strings, bands), 1):
        for one, other in _neighbours(keys):
            apart = np.bitwise_count(strings.take(one, 0) ^ strings.take(other, 0)).sum(1, dtype=np.int64)
            near = apart <= distance
            yield one[near], other[near], apart[near]
        progress(len(strings) * band // bands, len(strings))


def band_keys(strings: Strings, bands: int) -> Iterator[Keys]:
    """Each band's bits, every `bands`-th one, as a number."""
    bits = _bits(strings)
    for band in range(bands):
        own = bits[:, band::bands]
        yield own @ (1 << np.arange(own.shape[1]))


def neighbours(keys: Keys) -> int:
    """How many pairs of keys differ in one bit or none."""
    bits = int(keys.max()).bit_length()
    counts = np.bincount(keys, minlength=1 << bits)
    pairs = int((counts * (counts - 1)).sum()) // 2
    for bit in range(bits):
        halves = counts.reshape(-1, 2, 1 << bit)
        pairs += int((halves[:, 0] * halves[:, 1]).sum())
    return pairs


def _neighbours(keys: Keys) -> Iterator[tuple[Places, Places]]:
    """The places of those pairs, in parts."""
    bits = int(keys.max()).bit_length()
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << bits))])
    here = np.arange(len(keys))
    yield from _ranges(order, here, here + 1, starts[ordered + 1])
    for bit in range(bits):
        low = np.flatnonzero(ordered >> bit & 1 == 0)
        other = ordered[low] | 1 << bit
        yield from _ranges(order, low, starts[other], starts[other + 1])


def _ranges(order: Places, one: Places, begin: Places, end: Places) -> Iterator[tuple[Places, Places]]:
    """Each `one` with all from its `begin` to its `end`, all of them places in `order`; not too many at once."""
    some = end > begin
    one, begin, count = one[some], begin[some], (end - begin)[some]
    last = np.cumsum(count)
    cuts = np.searchsorted(last, np.arange(_AT_ONCE, last[-1] if len(last) else 0, _AT_ONCE))
    for part in np.split(np.arange(len(one)), np.unique(cuts)):
        if len(part):
            before = np.repeat(last[part] - count[part] - begin[part], count[part])
            at = np.arange(last[part[0]] - count[part[0]], last[part[-1]]) - before
            yield order.take(np.repeat(one[part], count[part])), order.take(at)


def _bits(strings: Strings) -> NDArray[np.uint8]:
    return np.unpackbits(strings.view(np.uint8), axis=1)
