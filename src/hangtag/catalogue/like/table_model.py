"""Learns what a table is and invents another like it.

Promised: no title, identifier or URL of the source, so no row of it; in a table without such columns, no row that can
be avoided (a combination of categories that `min_count` rows have may come again). Rows are as near the source's as its
own products are to each other (see `novelty`). Categories that fewer than `min_count` rows
hold become OTHER; a number or date that fewer rows hold is moved among its neighbours; a word stays only where as
many distinct titles have it. Not promised: differential privacy. Column names, shares, ranges, categories and
common words are the source's own, and who knows the source may recognise a large group in what is invented.

Rows that share a product (the title or identifier that decides most of the other columns) are made together:
what the product decides is drawn once for it, the rest for each row; `joint` says how.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hangtag.catalogue.like.columns import TITLE_NAMES, Column, Nature, nature
from hangtag.catalogue.like.joint import Cells, Drawer, Factor, choose_parents, entropy, order_factors
from hangtag.catalogue.like.parts import Part, make_factor, make_part, relate
from hangtag.errors import TableError, nearest_name

LEARNING_ROWS = 60_000
"""Rows that the joint distribution is learned from; what is rare and what is forbidden is counted over all."""
ALWAYS = 0.99
"""A column is the product's where so many of the rows that share the product agree in it."""
DISTINCT = 0.95
"""A column tells a product's rows apart where it does so in so many products."""
SPECIAL = ("code", "url", "path", "text", "counter")
_CATEGORY = re.compile(r"categor|product_?type|^type$|department|^class$|^kind$|gattung")
_ONE_CURRENCY = re.compile(r"_(eur|usd|gbp|chf|cny)$")
_PRICE = re.compile(r"price|cost|amount|prix|preis")


@dataclass(frozen=True)
class Roles:
    """Which columns the picture is drawn from; None where there is none."""

    title: str | None
    category: str | None
    price: str | None


class Groups:
    """Which learning rows share a product."""

    def __init__(self, key: np.ndarray) -> None:
        """`key`: one number a row, equal for the rows of one product."""
        codes = np.unique(key, return_inverse=True)[1]
        self.of_row = codes
        self.order = np.argsort(codes, kind="stable")
        self.sizes = np.bincount(codes)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.first = self.order[self.starts]
        later = np.ones(len(codes), bool)
        later[self.first] = False
        self.later = np.flatnonzero(later)

    def agreement(self, codes: np.ndarray) -> float:
        """Share of the rows that follow the first of their product and are equal to it; 1 where none follows."""
        if not len(self.later):
            return 1.0
        return float((codes[self.later] == codes[self.first[self.of_row[self.later]]]).mean())

    def distinct(self, codes: np.ndarray) -> float:
        """Share of the products with several rows that have no code twice; 0 where there is none."""
        several = self.sizes > 1
        if not several.any():
            return 0.0
        pairs = np.unique(np.stack([self.of_row, codes]), axis=1)[0]
        return float((np.bincount(pairs, minlength=len(several)) == self.sizes)[several].mean())


class TableModel:
    """What was learned of one table; `sample` draws from it (see `sampling`).

    Attributes:
        parts: the columns in the source's order.
        groups: the products among the learning rows.
        products, rows: factors of products (over their first rows) and of rows (over all learning rows); both
            begin with the size of the product, the second goes on with the factors of the first.
        members: places in `rows` of the columns that tell a product's rows apart.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        min_count: int = 5,
        seed: int = 0,
        title: str | None = None,
        category: str | None = None,
        price: str | None = None,
    ) -> None:
        """Learn a table.

        Raises:
            TableError: a column named by title, category or price is not there or is not one.
        """
        self.min_count, self.seed = min_count, seed
        self.source = list(columns)
        _require(columns, title=title, category=category, price=price)
        title = title or _find_title(columns)
        rng = np.random.default_rng([seed, 1])
        natures = [nature(column, min_count, column.name == title, column.name == price) for column in columns]
        key = _product_key(columns, natures)
        self.learned = _learning_rows(key, rng)
        self.groups = Groups(key[self.learned])
        self.parts = [make_part(c, n, self.learned, min_count) for c, n in zip(columns, natures, strict=True)]
        relate(self.parts)
        self.roles = Roles(title, category or self._find_category(), price or self._find_price())
        if self.roles.price and not self._part(self.roles.price).is_number():
            raise TableError(f"column {self.roles.price!r} holds no numbers, so no price; choose another")
        self._learn(rng)

    def _part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def place(self, name: str) -> int:
        """The place of a column."""
        return next(place for place, part in enumerate(self.parts) if part.name == name)

    def _learn(self, rng: np.random.Generator) -> None:
        factors = [make_factor(part, self.min_count) for part in self.parts]
        varied = [place for place, factor in enumerate(factors) if self._varies(place, factor)]
        raw = [part.column.codes[self.learned] for part in self.parts]
        shared = [place for place in varied if self.groups.agreement(raw[place]) >= ALWAYS]
        rest = [place for place in varied if place not in shared]
        rest.sort(key=lambda place: -self._tells_apart(place, raw[place]))
        self.members = [n for n, place in enumerate(rest[:1]) if self._tells_apart(place, raw[place])]
        sizes = np.minimum(self.groups.sizes, 20)[self.groups.of_row]
        size = Factor("", sizes, np.minimum(sizes, 5))
        first = self.groups.first
        self.products = [_at(each, first) for each in (size, *(factors[place] for place in shared))]
        order = order_factors(self.products, 1)
        self.products = [self.products[place] for place in order]
        self.product_places = [shared[place - 1] for place in order[1:]]
        choose_parents(self.products, 1, rng)
        self.rows = [size, *(factors[place] for place in self.product_places), *(factors[place] for place in rest)]
        known = len(self.products)
        order = order_factors(self.rows, known + len(self.members))
        self.rows = [self.rows[place] for place in order]
        self.row_places = [[*self.product_places, *rest][place - 1] for place in order[known:]]
        choose_parents(self.rows, known, rng)
        least = self.min_count
        self.product_drawers = [Drawer(each, self.products, least, rng) for each in self.products[1:]]
        self.row_drawers = [Drawer(each, self.rows, least, rng) for each in self.rows[known + len(self.members) :]]
        views = [self.groups.sizes, *(each.fine for each in self.products[1:2])]
        self.sets = Cells(len(self.groups.sizes), views, [1, 1, least], rng=rng)

    def _varies(self, place: int, factor: Factor) -> bool:
        part = self.parts[place]
        return bool(np.ptp(factor.fine)) or (part.is_number() and part.base < 0 and bool(np.ptp(part.amounts)))

    def _tells_apart(self, place: int, codes: np.ndarray) -> bool:
        return self.parts[place].nature.kind == "category" and self.groups.distinct(codes) >= DISTINCT

    def _find_category(self) -> str | None:
        """The most specific of the columns that are called a category, else of all categories."""
        found = [part for part in self.parts if part.nature.kind == "category" and entropy(part.folded) > 0]
        named = [part for part in found if _CATEGORY.search(part.name.lower())]
        plain = [part for part in named if "path" not in part.name.lower()]
        chosen = plain or named or found
        return max(chosen, key=lambda part: entropy(part.folded)).name if chosen else None

    def _find_price(self) -> str | None:
        """Of the prices full_price, price, another; in one currency where the table has several."""
        found = [part.name for part in self.parts if part.nature.kind == "number" and _PRICE.search(part.name.lower())]
        several = any("currenc" in part.name.lower() and len(part.texts) > 1 for part in self.parts)

        def rank(name: str) -> tuple[bool, bool]:
            lower = name.lower()
            return several and not _ONE_CURRENCY.search(lower), not lower.startswith(("full_price", "price"))

        return min(found, key=rank, default=None)


def _at(factor: Factor, rows: np.ndarray) -> Factor:
    position = None if factor.position is None else factor.position[rows]
    return Factor(factor.name, factor.fine[rows], factor.coarse[rows], position)


def _require(columns: Sequence[Column], **wanted: str | None) -> None:
    names = [column.name for column in columns]
    absent = [
        f"no column {name!r} for the {role}{nearest_name(name, names)}"
        for role, name in wanted.items()
        if name is not None and name not in names
    ]
    if absent:
        raise TableError("\n".join(absent))


def _find_title(columns: Sequence[Column]) -> str | None:
    names = {re.sub(r"\W+", "_", column.name.strip().lower()): column.name for column in columns}
    return next((names[name] for name in TITLE_NAMES if name in names), None)


def _product_key(columns: Sequence[Column], natures: Sequence[Nature]) -> np.ndarray:
    """One number a row: the title or identifier that repeats and decides most other columns; else the row's own."""
    own = np.arange(len(columns[0].codes), dtype=np.int64)
    best, most = own, 0.0
    for column, each in zip(columns, natures, strict=True):
        present = each.present[column.codes]
        distinct = int(each.present.sum())
        if each.kind not in ("code", "text") or not 1 < distinct < present.sum():
            continue
        key = np.where(present, column.codes, own + len(column.values))
        groups = Groups(key)
        decided = sum(groups.agreement(other.codes) >= ALWAYS for other in columns) - 1
        score = decided * (1 - distinct / present.sum())
        if decided and score > most:
            best, most = key, score
    return best


def _learning_rows(key: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All rows, or of a large table those of products chosen at random."""
    if len(key) <= LEARNING_ROWS:
        return np.arange(len(key))
    codes = np.unique(key, return_inverse=True)[1]
    rank = rng.permutation(int(codes.max()) + 1)
    kept = np.cumsum(np.bincount(rank[codes])) <= LEARNING_ROWS
    return np.flatnonzero(kept[rank[codes]])
