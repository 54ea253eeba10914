"""A joint distribution over discrete columns, drawn column by column from rows of the source.

Each column has a few parents among the columns before it, chosen greedily by conditional mutual information (the
Chow-Liu tree's measure, with up to MOST_PARENTS parents), as far as it is more than in a shuffled column. A new row
takes a column's value from a donor: a row of the source that agrees with it in those parents, in as many as leave at
least `least` rows to choose from.
Donors are drawn systematically, each of a cell as often as any other, so shares hold more exactly than by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

MOST_PARENTS = 4
MOST_CANDIDATES = 10
SCORED_ROWS = 10_000
LEAST_GAIN = 0.003
"""Nats by which a further parent must tell more than chance would."""
DEVIATIONS = 1.0
"""Standard deviations of what chance tells that are taken from what a parent seems to tell."""
_DENSE = 4_000_000
_NOTHING_LEFT = 1e-9


@dataclass
class Factor:
    """One column of the learning rows as codes from 0 on.

    `fine` is what is drawn and scored; `coarse` has fewer codes, for cells of several parents. `position` is where
    a number lies among all, 0 to 1, so that within a cell large goes with large; None for categories.
    """

    name: str
    fine: np.ndarray
    coarse: np.ndarray
    position: np.ndarray | None = None
    parents: list[int] = field(default_factory=list)
    decided_by: int = 0
    """So many parents leave nothing open; 0 where something always stays open."""


def entropy(codes: np.ndarray) -> float:
    """In nats."""
    shares = np.bincount(codes) / max(len(codes), 1)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def joined(*columns: np.ndarray) -> np.ndarray:
    """One code from 0 on for every combination that occurs."""
    key = columns[0].astype(np.int64)
    for column in columns[1:]:
        key = key * (int(column.max(initial=0)) + 1) + column
        if key.max(initial=0) > _DENSE:
            key = np.unique(key, return_inverse=True)[1]
    return np.unique(key, return_inverse=True)[1] if key.max(initial=0) > 4 * len(key) else key


def order_factors(factors: Sequence[Factor], first: int = 0) -> list[int]:
    """Places of the factors in the order of drawing: the first `first` as they stand, categories before numbers,
    the most specific category first, so that what it decides follows it."""
    rest = range(first, len(factors))
    ranked = sorted(rest, key=lambda place: (factors[place].position is not None, -entropy(factors[place].fine), place))
    return [*range(first), *ranked]


def choose_parents(factors: Sequence[Factor], known: int, rng: np.random.Generator) -> None:
    """Set the parents of the factors from place `known` on, each among the factors before it."""
    rows = len(factors[0].fine) if factors else 0
    scored = rng.choice(rows, SCORED_ROWS, replace=False) if rows > SCORED_ROWS else np.arange(rows)
    fine = [_compact(each.fine[scored]) for each in factors]
    coarse = [_compact(each.coarse[scored]) for each in factors]
    for place in range(known, len(factors)):
        _choose(factors[place], place, fine, coarse, rng)


def _compact(codes: np.ndarray) -> np.ndarray:
    return np.unique(codes, return_inverse=True)[1]


def _choose(
    factor: Factor, place: int, fine: Sequence[np.ndarray], coarse: Sequence[np.ndarray], rng: np.random.Generator
) -> None:
    child, rows = fine[place], len(fine[place])
    left = entropy(child)
    chance = _shuffled(child, None, rng)
    gains = np.array([_gain(child, chance, fine[other], None, left) for other in range(place)])
    candidates = [int(other) for other in np.argsort(-gains, kind="stable")[:MOST_CANDIDATES]]
    factor.parents, factor.decided_by = [], 0
    condition: np.ndarray | None = None
    while left > _NOTHING_LEFT and candidates and len(factor.parents) < MOST_PARENTS:
        view = coarse if factor.parents else fine
        child = fine[place] if not factor.parents else coarse[place]
        base = left if condition is None else entropy(joined(condition, child)) - entropy(_compact(condition))
        chance = _shuffled(child, condition, rng)
        scores = [_gain(child, chance, view[other], condition, base) for other in candidates]
        best = int(np.argmax(scores))
        if scores[best] < LEAST_GAIN:
            return
        chosen = candidates.pop(best)
        factor.parents.append(chosen)
        condition = _compact(view[chosen] if condition is None else joined(condition, view[chosen]))
        left = entropy(_compact(joined(condition, fine[place]))) - entropy(condition)
        if left <= _NOTHING_LEFT and rows > 1:
            factor.decided_by = len(factor.parents)


def _shuffled(child: np.ndarray, condition: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """The child's codes in a random order, within the cells of the condition."""
    if condition is None:
        return rng.permutation(child)
    made = np.empty_like(child)
    made[np.argsort(condition, kind="stable")] = child[np.lexsort((rng.random(len(child)), condition))]
    return made


def _gain(child: np.ndarray, chance: np.ndarray, other: np.ndarray, condition: np.ndarray | None, left: float) -> float:
    """Nats that `other` tells about `child` beyond `condition`, less what it tells about `chance`, the child
    shuffled: in small cells that is much, and more than asymptotic corrections take off."""
    cells = _compact(other if condition is None else joined(condition, other))
    known, pairs, by_chance = entropy(cells), _compact(joined(cells, child)), entropy(joined(cells, chance))
    told, told_by_chance = left - (entropy(pairs) - known), left - (by_chance - known)
    if left - told <= _NOTHING_LEFT and told_by_chance < left / 2:
        return left - 1e-6 * int(cells.max(initial=0))  # it decides the child; of several such, the smallest
    before = 1 if condition is None else int(condition.max()) + 1
    known_pairs = int(child.max()) + 1 if condition is None else int(_compact(joined(condition, child)).max()) + 1
    freedom = (int(pairs.max()) + 1) - (int(cells.max()) + 1) - known_pairs + before
    return told - told_by_chance - DEVIATIONS * float(np.sqrt(max(freedom, 0) / 2)) / len(child)


class Cells:
    """Rows of the source in cells of ever more views, and donors from them.

    A view is one code a row. At level k a cell is one combination of the first k views; at level 0 all are one cell.
    """

    def __init__(
        self, rows: int, views: Sequence[np.ndarray], least: Sequence[int], keys: np.ndarray | None = None, *,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        """
        Args:
            least: for each level, how many rows of the source a cell must have for donors to be drawn from it.
            keys: in a cell, new rows with low keys take source rows with low keys.
        """
        self.least = least
        self.keyed = keys is not None
        self.levels: list[_Level] = []
        cell, cells = np.zeros(rows, np.int64), 1
        tie = rng.random(rows) if keys is None else keys
        for depth in range(len(views) + 1):
            codes, known = 1, np.zeros(1, np.int64)
            if depth:
                codes = int(views[depth - 1].max(initial=0)) + 1
                known, cell = np.unique(cell * codes + views[depth - 1], return_inverse=True)
            self.levels.append(_Level(known, cells * codes, codes, cell, np.lexsort((tie, cell))))
            cells = len(known)

    def draw(
        self, rows: int, views: Sequence[np.ndarray], rng: np.random.Generator, keys: np.ndarray | None = None
    ) -> np.ndarray:
        """A source row for each of `rows` new rows with these views, from the deepest cell that has enough."""
        cells = [np.zeros(rows, np.int64)]
        for level, view in zip(self.levels[1:], views, strict=True):
            cells.append(level.find(cells[-1], view))
        found = np.full(rows, -1, np.int64)
        waiting = np.arange(rows)
        for depth in range(len(cells) - 1, -1, -1):
            level, wanted = self.levels[depth], cells[depth][waiting]
            ready = (wanted >= 0) & (level.counts[wanted] >= (self.least[depth] if depth else 1))
            chosen = waiting[ready]
            if len(chosen):
                found[chosen] = level.take(
                    wanted[ready], rng, keys[chosen] if self.keyed and keys is not None else None
                )
            waiting = waiting[~ready]
        return found


class _Level:
    """The cells of one level. A combination that the source does not have is cell -1."""

    def __init__(self, known: np.ndarray, possible: int, codes: int, cell: np.ndarray, order: np.ndarray) -> None:
        self.known, self.codes = known, codes
        self.order = order.astype(np.int32)
        self.counts = np.bincount(cell, minlength=1)
        self.starts = np.cumsum(self.counts) - self.counts
        self.places = None
        if possible <= _DENSE:
            self.places = np.full(possible, -1, np.int32)
            self.places[known] = np.arange(len(known))

    def find(self, before: np.ndarray, view: np.ndarray) -> np.ndarray:
        key = before * self.codes + view
        outside = (before < 0) | (view >= self.codes)
        key[outside] = 0
        if self.places is not None:
            found = self.places[key].astype(np.int64)
        else:
            found = np.minimum(np.searchsorted(self.known, key), len(self.known) - 1)
            found[self.known[found] != key] = -1
        found[outside] = -1
        return found

    def take(self, wanted: np.ndarray, rng: np.random.Generator, keys: np.ndarray | None) -> np.ndarray:
        """In each cell the k-th of its m new rows takes source row number floor((k + u) n / m) of its n."""
        order = np.argsort(wanted, kind="stable") if keys is None else np.lexsort((keys, wanted))
        cells = wanted[order]
        asked = np.bincount(wanted, minlength=len(self.counts))
        rank = np.arange(len(wanted)) - (np.cumsum(asked) - asked)[cells]
        counts = self.counts[cells]
        place = ((rank + rng.random(len(self.counts))[cells]) * counts / asked[cells]).astype(np.int64)
        result = np.empty(len(wanted), np.int64)
        result[order] = self.order[self.starts[cells] + np.minimum(place, counts - 1)]
        return result


class Drawer:
    """Draws one factor's donors, given those of its parents."""

    def __init__(self, factor: Factor, factors: Sequence[Factor], least: int, rng: np.random.Generator) -> None:
        decided = factor.decided_by
        self.factors, self.parents = factors, factor.parents[:1] if decided == 1 else factor.parents
        thresholds = [1 if decided and level >= decided else least for level in range(len(self.parents) + 1)]
        lead = factors[self.parents[0]].position if self.parents else None
        self.lead = lead if factor.position is not None else None
        self.blur = least / max(len(factor.fine), 1)
        keys = None
        if self.lead is not None and factor.position is not None:
            # among equal codes of the parent, source rows lie as the parent does, its donors likewise
            keys = self.lead + rng.uniform(-self.blur, self.blur, len(self.lead))
        self.cells = Cells(len(factor.fine), self._views(None), thresholds, keys, rng=rng)

    def _views(self, drawn: dict[int, np.ndarray] | None) -> list[np.ndarray]:
        views = []
        for number, parent in enumerate(self.parents):
            view = self.factors[parent].coarse if number else self.factors[parent].fine
            views.append(view if drawn is None else view[drawn[parent]])
        return views

    def draw(self, rows: int, drawn: dict[int, np.ndarray], rng: np.random.Generator) -> np.ndarray:
        """Donors for new rows whose earlier factors have the donors `drawn`."""
        keys = None
        if self.lead is not None:
            keys = self.lead[drawn[self.parents[0]]] + rng.uniform(-self.blur, self.blur, rows)
        return self.cells.draw(rows, self._views(drawn), rng, keys)
