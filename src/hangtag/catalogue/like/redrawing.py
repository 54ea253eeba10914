"""New rows drawn again, or moved a little, where they are too like rows of the source; `novelty` says which are."""

from __future__ import annotations

import numpy as np

from hangtag.catalogue.like.novelty import Source, choose_excess, nearness
from hangtag.catalogue.like.numbers import FEW_VALUES
from hangtag.catalogue.like.sampling import Donors, Skeleton, contents, draw_rows, follow
from hangtag.catalogue.like.table_model import TableModel

ROUNDS = 20
"""So often products with rows too near the source's are drawn again, the first half only in their free numbers."""
STEPS = 10
"""A number is moved by so many steps at most, away from a row that the source has; where none helps, it stays."""


def draw_new_rows(model: TableModel, skeleton: Skeleton, source: Source, rng: np.random.Generator) -> Donors:
    """As `draw_rows`; what is nearer to rows of the source than its own products are is drawn again."""
    found = draw_rows(model, skeleton, rng)
    gaps = source.gaps(*contents(model, found))
    for turn in range(ROUNDS):
        products = choose_excess(gaps, source.allowed, skeleton.product, rng)
        if not len(products):
            break
        again, other = _draw_again(model, skeleton, found, products, rng, free=turn < ROUNDS // 2)
        new = source.gaps(*contents(model, other))
        _take_better(skeleton, found, other, again, nearness(gaps[again]), nearness(new))
        gaps = source.gaps(*contents(model, found))
    _part_from_source(model, skeleton, found, source, rng)
    return found


def _draw_again(
    model: TableModel, skeleton: Skeleton, found: Donors, products: np.ndarray, rng: np.random.Generator, free: bool
) -> tuple[np.ndarray, Donors]:
    """The rows of some products, and other content for them; `free`: only other free numbers."""
    again = np.flatnonzero(np.isin(skeleton.product, products))
    part = Skeleton(skeleton.like[products], np.searchsorted(products, skeleton.product[again]), skeleton.row[again])
    return again, draw_rows(model, part, rng, found.some(again, products) if free else None)


def _take_better(
    skeleton: Skeleton, found: Donors, other: Donors, again: np.ndarray, before: np.ndarray, after: np.ndarray
) -> None:
    """Products whose rows `again` are less bad in the other draw, taken together, have its content from now on."""
    products, product = np.unique(skeleton.product[again], return_inverse=True)
    fewer = np.bincount(product, after) < np.bincount(product, before)
    found.put(other, again, fewer[product])
    for place in found.products:
        found.products[place][products[fewer]] = other.products[place][fewer]


def _part_from_source(
    model: TableModel, skeleton: Skeleton, found: Donors, source: Source, rng: np.random.Generator
) -> None:
    """Rows that are the source's in every column become others.

    A number or date is moved by some steps; where there is none, products are drawn again, unless `min_count` rows
    of the source are so: what is common is nobody's, and without it the distribution would be another.
    """
    for place in sorted(range(len(model.parts)), key=lambda place: place in model.product_places):
        part = model.parts[place]
        if part.is_number() and part.base < 0 and part.spread and len(part.spread.distinct) > FEW_VALUES:
            for step in range(1, STEPS + 1):
                known = source.holders_of(*contents(model, found)) > 0
                if not (known & part.valued[found.rows[place]]).any():
                    break
                again, other = _moved(model, skeleton, found, place, known, step, rng)
                after = source.holders_of(*contents(model, other)) > 0
                _take_better(skeleton, found, other, again, known[again], after)
    for _ in range(ROUNDS):
        holders = source.holders_of(*contents(model, found))
        known = (holders > 0) & (holders < model.min_count)
        if not known.any():
            break
        again, other = _draw_again(model, skeleton, found, np.unique(skeleton.product[known]), rng, free=False)
        after = source.holders_of(*contents(model, other))
        _take_better(skeleton, found, other, again, known[again], (after > 0) & (after < model.min_count))


def _moved(
    model: TableModel, skeleton: Skeleton, found: Donors, place: int, known: np.ndarray, step: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Donors]:  # fmt: skip
    """The rows of products with known rows, and their content with a number moved up or down: of the known rows, of
    all where it is the product's number."""
    part = model.parts[place]
    assert part.spread is not None
    products = np.unique(skeleton.product[known])
    again = np.flatnonzero(np.isin(skeleton.product, products))
    moved = found.some(again, products)
    changed = part.valued[moved.rows[place]] & (known[again] | (place in model.product_places))
    way = rng.choice([-step, step], len(skeleton.like))[skeleton.product[again]]
    amounts = moved.amounts[place]
    amounts[changed] = part.spread.step(amounts[changed], way[changed])
    follow(model, moved, rng)
    return again, moved
