"""The columns of a table as the table model sees them: what is folded, what is binned, what follows from what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hangtag.catalogue.like.columns import Column, Nature
from hangtag.catalogue.like.joint import Factor
from hangtag.catalogue.like.numbers import FEW_VALUES, Numbers, Spread

OTHER = "other"
FINE_BINS, COARSE_BINS = 32, 8
EQUAL = 0.2
"""A number is drawn as a share of another where so many rows have the two equal."""
_RATE_GROUPS = 60
_LEAST_PAIRS, _TRIED_PAIRS = 20, 1000


@dataclass
class Part:
    """One column of the source over the learning rows.

    `folded` is for every row the place in `texts` of what a new row that copies it shows; places from
    `len(texts)` on are values that are never copied: numbers (then in `amounts`), identifiers, titles.
    `base`: this number follows from that of another part, by a fixed rate for each code of the part `by`
    (`rates`; `by` -1: one rate), or by a share that is drawn (`shares`).
    """

    name: str
    nature: Nature
    column: Column
    folded: np.ndarray
    texts: list[str]
    amounts: np.ndarray
    spread: Spread | None = None
    base: int = -1
    by: int = -1
    rates: np.ndarray | None = None
    shares: np.ndarray | None = None

    @property
    def numbers(self) -> Numbers:
        assert self.nature.numbers is not None
        return self.nature.numbers

    @property
    def valued(self) -> np.ndarray:
        """The learning rows whose value is not one of `texts`."""
        return self.folded >= len(self.texts)

    def is_number(self) -> bool:
        return self.nature.kind in ("number", "date")

    def is_free(self) -> bool:
        """A number of many values that follows from no other: it can be moved without touching anything else."""
        numbers = self.nature.kind == "number" and self.base < 0 and self.spread is not None
        return numbers and self.spread is not None and len(self.spread.distinct) > FEW_VALUES


def make_part(column: Column, nature: Nature, rows: np.ndarray, min_count: int) -> Part:
    """The part of a column, over the learning rows `rows`."""
    folded, texts = fold_values(column, nature, min_count)
    raw = column.codes[rows]
    amounts, spread = np.zeros(len(rows), np.int64), None
    if nature.kind in ("number", "date") and nature.numbers is not None:
        amounts = amounts_of(nature)[raw]
        valued = nature.present[raw]
        if valued.any():
            spread = Spread(amounts[valued], min_count, nature.kind == "date")
    return Part(column.name, nature, column, folded[raw], texts, amounts, spread)


def fold_values(column: Column, nature: Nature, min_count: int) -> tuple[np.ndarray, list[str]]:
    """For each distinct value its place among the texts that may be copied, or their number."""
    kept = ~nature.present
    if nature.kind == "category":
        kept = kept | (column.counts >= min_count)
    places = np.flatnonzero(kept)
    texts = [column.values[int(place)].as_py() for place in places]
    folded = np.full(len(kept), len(texts), np.int32)
    folded[places] = np.arange(len(places))
    if nature.kind == "category" and not kept.all():
        if OTHER in texts:
            folded[~kept] = texts.index(OTHER)
        else:
            texts.append(OTHER)
    return folded, texts


def amounts_of(nature: Nature) -> np.ndarray:
    """For each distinct value its number, 0 for a missing one."""
    amounts = np.zeros(len(nature.present), np.int64)
    assert nature.numbers is not None
    amounts[nature.present] = nature.numbers.values
    return amounts


def make_factor(part: Part, min_count: int) -> Factor:
    """The part as codes: its texts, then its bins (of a share, where it is drawn as one), or one code for all."""
    known, valued = len(part.texts), part.valued
    if not part.is_number() or part.spread is None or part.rates is not None:
        return Factor(part.name, part.folded, part.folded)
    amounts = part.amounts.astype(float) if part.shares is None else part.shares
    fine, coarse = part.folded.copy(), part.folded.copy()
    present = amounts[valued]
    fine[valued] = known + bins(present, min(FINE_BINS, max(1, len(present) // (2 * min_count))))
    coarse[valued] = known + bins(present, min(COARSE_BINS, max(1, len(present) // (4 * min_count))))
    ordered = np.sort(present)
    position = np.zeros(len(valued))
    middle = np.searchsorted(ordered, present, "left") + np.searchsorted(ordered, present, "right")
    position[valued] = middle / (2 * max(len(present), 1))
    return Factor(part.name, fine, coarse, position)


def bins(values: np.ndarray, most: int) -> np.ndarray:
    """Codes from 0 on: one a value where there are at most `most` of them, otherwise about equally many rows each."""
    distinct = np.unique(values)
    if len(distinct) <= most:
        return np.searchsorted(distinct, values)
    edges = np.unique(np.quantile(values, np.arange(1, most) / most, method="lower"))
    return np.searchsorted(edges, values, "left")


def relate(parts: Sequence[Part]) -> None:
    """Find the numbers that follow from others, and mark them."""
    numbers = [place for place, part in enumerate(parts) if part.nature.kind == "number" and part.spread is not None]
    numbers.sort(key=lambda place: (parts[place].numbers.decimals, place))
    groups = [
        place for place, part in enumerate(parts)
        if part.nature.kind == "category" and 1 < len(part.texts) <= _RATE_GROUPS
    ]  # fmt: skip
    for rank, place in enumerate(numbers):
        any(_relate(parts, place, base, groups, exact) for exact in (True, False) for base in numbers[:rank])


def _relate(parts: Sequence[Part], place: int, base: int, groups: Sequence[int], exact: bool) -> bool:
    """Note it where a number follows from another: by a rate, or, not `exact`, as a share."""
    part, source = parts[place], parts[base]
    both = np.flatnonzero(part.valued & source.valued)
    if len(both) > _TRIED_PAIRS and not _related(parts, place, base, groups, both[:: len(both) // _TRIED_PAIRS], exact):
        return False
    return _related(parts, place, base, groups, both, exact)


def _related(
    parts: Sequence[Part], place: int, base: int, groups: Sequence[int], both: np.ndarray, exact: bool
) -> bool:
    """Whether it is so in the rows `both`; then it is noted in the part."""
    part, source = parts[place], parts[base]
    own, theirs = part.amounts[both] * part.numbers.unit, source.amounts[both] * source.numbers.unit
    if len(both) < _LEAST_PAIRS or (theirs <= 0).any() or len(np.unique(own)) < 3:
        return False
    slack = 0.501 * part.numbers.unit + 1e-12 * np.abs(own)
    low, high = (own - slack) / theirs, (own + slack) / theirs
    part.base, part.by, part.rates, part.shares = -1, -1, None, None
    pairs = len(np.unique(own + 1j * theirs))
    for by in (-1, *groups) if exact else ():
        codes = np.zeros(len(low), np.int64) if by < 0 else parts[by].folded[both]
        size = 1 if by < 0 else len(parts[by].texts)
        least, most = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(least, codes, high)
        np.maximum.at(most, codes, low)
        used = np.isfinite(least)
        if (most[used] <= least[used]).all() and pairs >= 3 * used.sum():
            part.base, part.by = base, by
            part.rates = np.where(used, (np.where(used, most, 0) + np.where(used, least, 0)) / 2, np.nan)
            return True
    if not exact and (own == theirs).mean() >= EQUAL and source.shares is None and source.rates is None:
        part.base, part.shares = base, np.ones(len(part.folded))
        part.shares[both] = own / theirs
        return True
    return False
