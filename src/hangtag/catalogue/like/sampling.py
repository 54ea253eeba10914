"""New rows from a learned table: their products, their values, and what is nobody's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hangtag.catalogue.like.parts import Part
from hangtag.catalogue.like.table_model import TableModel
from hangtag.catalogue.like.texts import as_list, joined_texts, strings


@dataclass
class Drawn:
    """One column of the new rows: row r shows `values[codes[r]]`."""

    name: str
    kind: str
    codes: np.ndarray
    values: Any

    def texts(self) -> list[str]:
        values = as_list(self.values)
        return [values[code] for code in self.codes.tolist()]


@dataclass
class Sample:
    """New rows by column, in the source's order; `levels` is for each row where its price lies, 0 to 1.

    `repeated` rows are equal to one of the source in every column: what they show is too common to be avoided.
    """

    columns: list[Drawn]
    levels: np.ndarray
    repeated: int = 0


@dataclass
class Skeleton:
    """The new rows' products: `like` is for each product the one of the source whose size and sharing it has.

    `product` is each row's product, `row` the learning row in the same place of the product that it is like.
    """

    like: np.ndarray
    product: np.ndarray
    row: np.ndarray


@dataclass
class Donors:
    """For each place of a column the learning row whose value a new row takes, and the numbers that come of it;
    `products` has the donors of each product by place among the model's product factors."""

    rows: dict[int, np.ndarray]
    amounts: dict[int, np.ndarray]
    products: dict[int, np.ndarray]

    def some(self, rows: np.ndarray, products: np.ndarray) -> Donors:
        """Those of some rows and their products."""
        chosen, numbers = ({key: each[rows] for key, each in found.items()} for found in (self.rows, self.amounts))
        return Donors(chosen, numbers, {key: each[products] for key, each in self.products.items()})

    def put(self, other: Donors, rows: np.ndarray, taken: np.ndarray) -> None:
        """Those of `other` that are `taken` come in the place of `rows`."""
        for old, new in ((self.rows, other.rows), (self.amounts, other.amounts)):
            for place in old:
                old[place][rows[taken]] = new[place][taken]


def make_skeleton(model: TableModel, rows: int, rng: np.random.Generator) -> Skeleton:
    """Products enough for `rows` rows: every one of the source's as often as any other, in a new order."""
    sizes = model.groups.sizes
    rounds = -(-rows // int(sizes.sum()))
    like = np.concatenate([rng.permutation(len(sizes)) for _ in range(rounds)])
    ends = np.cumsum(sizes[like])
    like = like[: int(np.searchsorted(ends, rows)) + 1]
    counts = sizes[like].copy()
    counts[-1] -= int(ends[len(like) - 1]) - rows
    product = np.repeat(np.arange(len(like)), counts)
    rank = np.arange(rows) - (np.cumsum(counts) - counts)[product]
    return Skeleton(like, product, model.groups.order[model.groups.starts[like[product]] + rank])


def draw_rows(model: TableModel, skeleton: Skeleton, rng: np.random.Generator, earlier: Donors | None = None) -> Donors:
    """Donors for all columns of the skeleton's rows; after an `earlier` draw, for its free numbers alone."""
    groups = model.groups
    taken = {0: skeleton.like}
    for place, drawer in enumerate(model.product_drawers, 1):
        if earlier and not model.parts[model.product_places[place - 1]].is_free():
            taken[place] = earlier.products[place]
        else:
            taken[place] = drawer.draw(len(skeleton.like), taken, rng)
    amounts = {}
    for place, column in enumerate(model.product_places, 1):
        amounts[column] = near(model.parts[column], groups.first[taken[place]], rng)[skeleton.product]
    drawn = {place: groups.first[found][skeleton.product] for place, found in taken.items()}
    known = len(model.products)
    for place, column in enumerate(model.row_places, known):
        if earlier and not model.parts[column].is_free():
            drawn[place] = earlier.rows[column]
        elif place - known < len(model.members):
            drawn[place] = _draw_members(model, skeleton, taken, rng)
        else:
            drawer = model.row_drawers[place - known - len(model.members)]
            drawn[place] = drawer.draw(len(skeleton.row), drawn, rng)
        amounts[column] = near(model.parts[column], drawn[place], rng)
    columns = [*model.product_places, *model.row_places]
    found = Donors({column: drawn[place] for place, column in enumerate(columns, 1)}, amounts, taken)
    for column in range(len(model.parts)):
        if column not in found.rows:  # always the same, or it follows from another
            found.rows[column] = rng.integers(0, len(model.learned), len(skeleton.row))
    follow(model, found, rng)
    return found


def contents(model: TableModel, found: Donors) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Every column's places among its texts, and its numbers."""
    folded = [part.folded[found.rows[place]] for place, part in enumerate(model.parts)]
    return folded, [found.amounts.get(place, folded[place]) for place in range(len(folded))]


def _draw_members(
    model: TableModel, skeleton: Skeleton, taken: dict[int, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """The rows of one product for all rows of a new one: of its size and, where there are enough, its category."""
    groups, wanted = model.groups, np.bincount(skeleton.product)
    views = [wanted, *(each.fine[taken[1]] for each in model.products[1:2])]
    found = model.sets.draw(len(wanted), views, rng)
    rank = np.arange(len(skeleton.product)) - (np.cumsum(wanted) - wanted)[skeleton.product]
    chosen = found[skeleton.product]
    return groups.order[groups.starts[chosen] + rank % groups.sizes[chosen]]


def near(part: Part, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """New numbers near those of the learning rows; 0 where a row has none."""
    amounts = part.amounts[rows]
    valued = part.valued[rows] if part.is_number() else np.zeros(len(rows), bool)
    if part.spread is not None and part.base < 0 and valued.any():
        amounts[valued] = part.spread.near(amounts[valued], rng)
    return amounts


def follow(model: TableModel, found: Donors, rng: np.random.Generator) -> None:
    """The numbers that follow from others."""
    order = sorted(range(len(model.parts)), key=lambda place: _depth(model.parts, place))
    for place in order:
        part = model.parts[place]
        rows = found.rows[place]
        if not part.is_number() or part.spread is None:
            continue
        if place not in found.amounts:
            found.amounts[place] = near(part, rows, rng)
        if part.base < 0:
            continue
        source = model.parts[part.base]
        base = found.amounts[part.base] * (source.numbers.unit / part.numbers.unit)
        both = part.valued[rows] & source.valued[found.rows[part.base]]
        made = found.amounts[place]
        if part.rates is not None:
            codes = model.parts[part.by].folded[found.rows[part.by]] if part.by >= 0 else np.zeros(len(rows), np.int64)
            rates = part.rates[codes]
            both &= np.isfinite(rates)
            exact = np.rint(base * np.where(both, rates, 0)).astype(np.int64)
            outside = both & ((exact < part.spread.low) | (exact > part.spread.high))
            made[both] = np.clip(exact[both], part.spread.low, part.spread.high)
            if outside.any() and part.texts:  # larger than the source's largest: one of those that are missing
                rows[outside] = rng.choice(np.flatnonzero(~part.valued), int(outside.sum()))
        elif part.shares is not None:
            shares = part.shares[rows]
            snapped = part.spread.snap(base * shares, part.amounts[rows])
            made[both] = np.where(shares == 1, np.clip(np.rint(base), part.spread.low, part.spread.high), snapped)[both]
        alone = part.valued[rows] & ~both
        if alone.any():
            made[alone] = part.spread.near(part.amounts[rows[alone]], rng)


def _depth(parts: list[Part], place: int) -> int:
    depth = 0
    while parts[place].base >= 0:
        place, depth = parts[place].base, depth + 1
    return depth


def shown(part: Part, rows: np.ndarray, amounts: np.ndarray | None) -> Drawn:
    """A category's, number's or date's column."""
    folded = part.folded[rows]
    if not part.is_number() or amounts is None:
        return Drawn(part.name, part.nature.kind, folded.astype(np.int32), strings(part.texts))
    valued = folded >= len(part.texts)
    distinct, places = np.unique(amounts[valued], return_inverse=True)
    codes = folded.astype(np.int32)
    codes[valued] = len(part.texts) + places
    return Drawn(part.name, part.nature.kind, codes, joined_texts(strings(part.texts), part.numbers.write(distinct)))


def sample(model: TableModel, rows: int, seed: int = 0) -> Sample:
    """`rows` new rows; the same for the same model, number and seed."""
    from hangtag.catalogue.like.inventing import Inventing
    from hangtag.catalogue.like.novelty import Source
    from hangtag.catalogue.like.redrawing import draw_new_rows

    rng = np.random.default_rng([seed, rows])
    skeleton = make_skeleton(model, rows, rng)
    source = Source(model)
    found = draw_new_rows(model, skeleton, source, rng)
    made = Inventing(model, skeleton, found, rng).columns()
    for place, part in enumerate(model.parts):
        if part.name not in made:
            made[part.name] = shown(part, found.rows[place], found.amounts.get(place))
    repeated = int((source.holders_of(*contents(model, found)) > 0).sum())
    return Sample([made[part.name] for part in model.parts], _levels(model, found, rows), repeated)


def _levels(model: TableModel, found: Donors, rows: int) -> np.ndarray:
    """Each row's place among all by its price, 0 to 1; a half where it has none."""
    result = np.full(rows, 0.5)
    if model.roles.price:
        place = model.place(model.roles.price)
        part, amounts = model.parts[place], found.amounts[place]
        valued = np.flatnonzero(part.valued[found.rows[place]])
        ordered = np.sort(amounts[valued])
        if len(ordered) and ordered[0] < ordered[-1]:
            middle = (
                np.searchsorted(ordered, amounts[valued], "left")
                + np.searchsorted(ordered, amounts[valued], "right")
                - 1
            )
            result[valued] = middle / 2 / (len(ordered) - 1)
    return result
