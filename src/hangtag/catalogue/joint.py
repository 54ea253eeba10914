"""A joint distribution over discrete columns, drawn column by column from rows of the source.

Each column has a few parents among the columns before it, chosen greedily by conditional mutual information
(the Chow-Liu tree's measure, with up to MOST_PARENTS parents). A new row takes a column's value from a donor: a
row of the source that agrees with it in those parents, in as many as leave at least `least` rows to choose from.
Donors are drawn systematically, each of a cell as often as any other, so shares hold more exactly than by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

MOST_PARENTS = 4
MOST_CANDIDATES = 10
SCORED_ROWS = 20_000
LEAST_GAIN = 0.01
"""Nats by which a further parent must tell more, after the correction for chance."""
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
        _choose(factors[place], place, fine, coarse)


def _compact(codes: np.ndarray) -> np.ndarray:
    return np.unique(codes, return_inverse=True)[1]


def _choose(factor: Factor, place: int, fine: Sequence[np.ndarray], coarse: Sequence[np.ndarray]) -> None:
    child, rows = fine[place], len(fine[place])
    left = entropy(child)
    gains = np.array([_gain(child, fine[other], None, left) for other in range(place)])
    candidates = [int(other) for other in np.argsort(-gains, kind="stable")[:MOST_CANDIDATES]]
    factor.parents, factor.decided_by = [], 0
    condition: np.ndarray | None = None
    while left > _NOTHING_LEFT and candidates and len(factor.parents) < MOST_PARENTS:
        view = coarse if factor.parents else fine
        child = fine[place] if not factor.parents else coarse[place]
        base = left if condition is None else entropy(joined(condition, child)) - entropy(_compact(condition))
        scores = [_gain(child, view[other], condition, base) for other in candidates]
        best = int(np.argmax(scores))
        if scores[best] < LEAST_GAIN:
            return
        chosen = candidates.pop(best)
        factor.parents.append(chosen)
        condition = _compact(view[chosen] if condition is None else joined(condition, view[chosen]))
        left = entropy(_compact(joined(condition, fine[place]))) - entropy(condition)
        if left <= _NOTHING_LEFT and rows > 1:
            factor.decided_by = len(factor.parents)


def _gain(child: np.ndarray, other: np.ndarray, condition: np.ndarray | None, left: float) -> float:
    """Nats that `other` tells about `child` beyond `condition`, less what chance alone would seem to tell."""
    cells = _compact(other if condition is None else joined(condition, other))
    pairs = _compact(joined(cells, child))
    told = left - (entropy(pairs) - entropy(cells))
    if left - told <= _NOTHING_LEFT:
        return left - 1e-6 * int(cells.max(initial=0))  # it decides the child; of several such, the smallest
    before = 1 if condition is None else int(condition.max()) + 1
    known_pairs = int(child.max()) + 1 if condition is None else int(_compact(joined(condition, child)).max()) + 1
    freedom = (int(pairs.max()) + 1) - (int(cells.max()) + 1) - known_pairs + before
    return told - max(freedom, 0) / (2 * len(child))


def levels(factor: Factor, factors: Sequence[Factor], drawn: dict[int, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For no parent, one, two, ...: the cell of every source row, and of every new row.

    `drawn` has for each factor the donors that the new rows took; -1 never occurs.
    """
    rows, new = len(factor.fine), len(next(iter(drawn.values()))) if drawn else 0
    cells = [(np.zeros(rows, np.int64), np.zeros(new, np.int64))]
    codes: list[np.ndarray] = []
    for number, parent in enumerate(factor.parents):
        view = factors[parent].coarse if number else factors[parent].fine
        codes.append(np.concatenate([view, view[drawn[parent]]]))
        both = joined(*codes)
        codes = [both]
        cells.append((both[:rows], both[rows:]))
    return cells


def donors(
    cells: Sequence[tuple[np.ndarray, np.ndarray]],
    least: Sequence[int],
    rng: np.random.Generator,
    keys: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """A source row for each new row, from its cell at the deepest level with at least `least[level]` source rows.

    Args:
        keys: of source and new rows; in a cell, low keys go with low keys.
    """
    new = len(cells[0][1])
    found = np.full(new, -1, np.int64)
    waiting = np.arange(new)
    for level in range(len(cells) - 1, -1, -1):
        source, wanted = cells[level]
        wanted = wanted[waiting]
        counts = np.bincount(source, minlength=int(wanted.max(initial=0)) + 1)
        ready = counts[wanted] >= (least[level] if level else 1)
        chosen = waiting[ready]
        if len(chosen):
            pair = (keys[0], keys[1][chosen]) if keys else (rng.random(len(source)), rng.random(len(chosen)))
            found[chosen] = _systematic(source, wanted[ready], counts, pair, rng)
        waiting = waiting[~ready]
        if not len(waiting):
            break
    return found


def _systematic(
    source: np.ndarray,
    wanted: np.ndarray,
    counts: np.ndarray,
    keys: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """In each cell the k-th of its m new rows takes source row number floor((k + u) n / m) of its n."""
    source_order = np.lexsort((keys[0], source))
    source_start = np.cumsum(counts) - counts
    order = np.lexsort((keys[1], wanted))
    sorted_cells = wanted[order]
    asked = np.bincount(wanted, minlength=len(counts))
    start = np.cumsum(asked) - asked
    rank = np.arange(len(wanted)) - start[sorted_cells]
    shift = rng.random(len(counts))[sorted_cells]
    place = np.floor((rank + shift) * counts[sorted_cells] / asked[sorted_cells]).astype(np.int64)
    result = np.empty(len(wanted), np.int64)
    result[order] = source_order[source_start[sorted_cells] + np.minimum(place, counts[sorted_cells] - 1)]
    return result


def draw(
    factors: Sequence[Factor], drawn: dict[int, np.ndarray], place: int, least: int, rng: np.random.Generator
) -> np.ndarray:
    """Donors of factor `place` for rows whose parents have the donors `drawn`."""
    factor = factors[place]
    cells = levels(factor, factors, drawn)
    decided = factor.decided_by
    thresholds = [1 if decided and level >= decided else least for level in range(len(cells))]
    if factor.parents and decided == 1:
        cells, thresholds = cells[:2], thresholds[:2]
    keys = None
    lead = factors[factor.parents[0]] if factor.parents else None
    if lead is not None and lead.position is not None and factor.position is not None:
        blur = least / max(len(factor.fine), 1)
        own = lead.position + rng.uniform(-blur, blur, len(lead.position))
        theirs = lead.position[drawn[factor.parents[0]]] + rng.uniform(-blur, blur, len(drawn[factor.parents[0]]))
        keys = (own, theirs)
    return donors(cells, thresholds, rng, keys)
