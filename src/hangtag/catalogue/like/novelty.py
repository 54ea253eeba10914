"""Which new rows are too like a row of the source, and how many may be.

A second real sample has rows near the first one's too: of a few categories and prices in steps of ten, many. So new
rows may be as near as the source's own products are to each other, and only what is nearer than that is drawn again.
"""

from __future__ import annotations

import numpy as np

from hangtag.catalogue.like.parts import FINE_BINS, Part, amounts_of, fold_values
from hangtag.catalogue.like.table_model import TableModel

REACHES = np.array([0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2])
"""How near a row is, is told by its price's distance to that of a row equal in all else, as a share of its own."""
ALWAYS_NEW = ("code", "url", "path", "text")
"""Where a row has a value of such a column, it is no row of the source. Counters begin as the source's do."""
_WORD = 2**64
_SALT = 0x9E3779B97F4A7C15


class Source:
    """All rows of the source, to be looked up.

    Attributes:
        allowed: for each of REACHES the share of the learning rows that a row of another product is so near to.
    """

    def __init__(self, model: TableModel) -> None:
        self.model = model
        folded, amounts = [], []
        for column, part in zip(model.source, model.parts, strict=True):
            folded.append(fold_values(column, part.nature, model.min_count)[0][column.codes])
            counted = part.is_number() or part.nature.kind == "counter"
            amounts.append(amounts_of(part.nature)[column.codes] if counted else folded[-1])
        free = [p for p, part in enumerate(model.parts) if part.nature.kind == "number" and part.rates is None]
        main = model.place(model.roles.price) if model.roles.price else -1
        if main >= 0 and model.parts[main].rates is not None:
            main = model.parts[main].base
        self.main = main if main in free else free[0] if free else -1
        self.others = [place for place in free if place != self.main]
        self.edges = {place: _edges(model.parts[place], amounts[place], folded[place]) for place in self.others}
        self.mixed, cells = np.unique(self._mix(folded, amounts), return_inverse=True)
        points = cells + 1j * self._main(amounts, len(cells))
        self.points = np.sort(points)
        self.allowed = (self._held_out(points) <= REACHES[:, None]).mean(1)
        self.whole, self.holders = np.unique(self._whole(folded, amounts), return_counts=True)

    def _held_out(self, points: np.ndarray) -> np.ndarray:
        """For each learning row the gap to the nearest row of another product."""
        learned = self.model.learned
        product = np.arange(len(points)) + len(learned)
        product[learned] = self.model.groups.of_row
        order = np.lexsort((product, points.imag, points.real))
        ordered, same = points[order], product[order]
        starts = np.flatnonzero(np.r_[True, (same[1:] != same[:-1]) | (ordered.real[1:] != ordered.real[:-1])])
        run = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(order)]))
        ends = np.r_[starts[1:], len(order)]
        gaps = np.empty(len(points))
        gaps[order] = _least_gap(ordered, ordered, starts[run] - 1, ends[run])
        return gaps[learned]

    def _main(self, amounts: list[np.ndarray], rows: int) -> np.ndarray:
        return amounts[self.main].astype(float) if self.main >= 0 else np.zeros(rows)

    def _mix(self, folded: list[np.ndarray], amounts: list[np.ndarray]) -> np.ndarray:
        """One number a row that follows from categories, from what is missing among numbers, and from bins of all
        numbers but the main one."""
        made = np.zeros(len(folded[0]), np.uint64)
        for place, part in enumerate(self.model.parts):
            if part.nature.kind not in ("category", "number") or part.rates is not None:
                continue
            value = folded[place]
            if place in self.edges:
                value = np.where(value < len(part.texts), value, len(part.texts) + self._bin(place, amounts))
            made = _add(made, value, place)
        return made

    def _whole(self, folded: list[np.ndarray], amounts: list[np.ndarray]) -> np.ndarray:
        """One number a row that follows from what it shows in every column."""
        made = np.zeros(len(folded[0]), np.uint64)
        for place, part in enumerate(self.model.parts):
            made = _add(made, folded[place], place)
            if part.is_number() or part.nature.kind == "counter":
                made = _add(made, np.where(folded[place] < len(part.texts), 0, amounts[place]), place)
        return made

    def _bin(self, place: int, amounts: list[np.ndarray]) -> np.ndarray:
        """Where a number lies; of one that is a share of another, the share in twentieths."""
        part = self.model.parts[place]
        if part.shares is None:
            return np.searchsorted(self.edges[place], amounts[place])
        base = amounts[part.base] * (self.model.parts[part.base].numbers.unit / part.numbers.unit)
        return np.rint(20 * np.clip(amounts[place] / np.where(base == 0, 1, base), 0, 100)).astype(np.int64)

    def gaps(self, folded: list[np.ndarray], amounts: list[np.ndarray]) -> np.ndarray:
        """How near each new row is to the source's nearest: infinite where none is equal in all but its price."""
        mixed = self._mix(folded, amounts)
        cells = np.minimum(np.searchsorted(self.mixed, mixed), len(self.mixed) - 1)
        points = cells + 1j * self._main(amounts, len(mixed))
        after = np.searchsorted(self.points, points)
        return np.where(self.mixed[cells] == mixed, _least_gap(points, self.points, after - 1, after), np.inf)

    def holders_of(self, folded: list[np.ndarray], amounts: list[np.ndarray]) -> np.ndarray:
        """For each new row how many of the source are equal to it in every column."""
        bare = np.ones(len(folded[0]), bool)
        amounts = list(amounts)
        for place, part in enumerate(self.model.parts):
            if part.nature.kind in ALWAYS_NEW:
                bare &= folded[place] < len(part.texts)
            if part.nature.kind == "counter":
                amounts[place] = part.numbers.values.min() + np.arange(len(bare))
        if not bare.any():
            return np.zeros(len(bare), np.int64)
        whole = self._whole(folded, amounts)
        places = np.minimum(np.searchsorted(self.whole, whole), len(self.whole) - 1)
        return np.where(bare & (self.whole[places] == whole), self.holders[places], 0)


def choose_excess(gaps: np.ndarray, allowed: np.ndarray, product: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Products, so many that the rows of the others are as near as `allowed`: chosen at random among those with rows
    within a reach, and none within the reach before it, where these are not too many already."""
    chosen = np.zeros(int(product.max()) + 1, bool)
    closest = np.full(len(chosen), np.inf)
    np.minimum.at(closest, product, gaps)
    before = -np.inf
    for reach, share in zip(REACHES, allowed, strict=True):
        counts = np.bincount(product, gaps <= reach, len(chosen)).astype(np.int64)
        excess = int(counts[~chosen].sum()) - round(share * len(gaps))
        order = rng.permutation(np.flatnonzero((closest > before) & (counts > 0) & ~chosen))
        ahead = np.cumsum(counts[order]) - counts[order]
        chosen[order[ahead < excess]] = True
        before = reach
    return np.flatnonzero(chosen)


def nearness(gaps: np.ndarray) -> np.ndarray:
    """In how many of REACHES each row lies."""
    return (gaps[:, None] <= REACHES).sum(1)


def _least_gap(points: np.ndarray, others: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The gap of each point to the nearer of two of the others, as a share of its own size; infinite in other cells."""
    gaps = np.full(len(points), np.inf)
    for places in (before, after):
        near = others[np.clip(places, 0, len(others) - 1)]
        valid = (places >= 0) & (places < len(others)) & (near.real == points.real)
        distance = np.abs(near.imag - points.imag)
        size = np.abs(points.imag)
        share = np.divide(distance, size, out=np.where(distance > 0, np.inf, 0.0), where=size > 0)
        gaps = np.where(valid, np.minimum(gaps, share), gaps)
    return gaps


def _add(made: np.ndarray, value: np.ndarray, place: int) -> np.ndarray:
    """Hashes with one more column's values in them."""
    mixed = value.astype(np.uint64) + np.uint64((place + 1) * _SALT % _WORD)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return made * np.uint64(31) + (mixed ^ (mixed >> np.uint64(31)))


def _edges(part: Part, amounts: np.ndarray, folded: np.ndarray) -> np.ndarray:
    """Ends of bins of about as many rows each; every value its own where there are few."""
    present = amounts[folded >= len(part.texts)]
    distinct = np.unique(present)
    if len(distinct) <= FINE_BINS:
        return distinct
    return np.unique(np.quantile(present, np.arange(1, FINE_BINS) / FINE_BINS, method="lower"))
