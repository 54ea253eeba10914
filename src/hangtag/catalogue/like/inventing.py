"""The columns of new rows that are nobody's: titles and other texts, identifiers, URLs, paths.

Rows share a new identifier or title where the rows of the source that they are like share theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hangtag.catalogue.like.fresh import Codes, Links
from hangtag.catalogue.like.joint import Cells
from hangtag.catalogue.like.parts import COARSE_BINS, Part, bins
from hangtag.catalogue.like.sampling import Donors, Drawn, Skeleton
from hangtag.catalogue.like.table_model import TableModel
from hangtag.catalogue.like.texts import joined_texts, strings
from hangtag.catalogue.like.words import Writer, slugs
from hangtag.catalogue.split import fold

PICTURE_PATH = ""
"""What stands for a picture's path until there is a picture."""
MENTIONED = 0.1
"""A category goes with a text where so many rows name it there."""
_LEARNED_TEXTS, _LEARNED_LINKS = 20_000, 5_000
_PATTERNS = 3
_AT_ONCE = 2
"""Columns that are made at the same time: each takes some hundred megabytes for a million rows."""


@dataclass
class Tokens:
    """Which new rows share a value: `of_row` gives its number, -1 where it is missing; `row` the learning row
    that a value is like, `first` its first new row."""

    of_row: np.ndarray
    row: np.ndarray
    first: np.ndarray


@dataclass
class Named:
    """A column that URLs may show."""

    part: Part
    tokens: Tokens
    values: Any


class Inventing:
    """Fills the special columns: identifiers, then texts, then URLs that show both.

    Each column has a generator of its own, so columns of one kind are made side by side.
    """

    def __init__(self, model: TableModel, skeleton: Skeleton, found: Donors, rng: np.random.Generator) -> None:
        self.model, self.skeleton, self.found = model, skeleton, found
        self.rngs = rng.spawn(len(model.parts))
        self.codes: Named | None = None
        self.title: Named | None = None

    def columns(self) -> dict[str, Drawn]:
        """The new columns by name."""
        parts, title = self.model.parts, self.model.roles.title
        made = {}
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for kinds in (("counter", "code"), ("text",), ("url", "path")):
                places = [place for place, part in enumerate(parts) if part.nature.kind in kinds]
                places.sort(key=lambda place: (parts[place].nature.kind != "code", parts[place].name != title))
                for named, drawn in threads.map(self._column, places):
                    kind = named.part.nature.kind
                    if kind == "code" and self.codes is None:
                        self.codes = named
                    if kind == "text" and self.title is None:
                        self.title = named
                    made[drawn.name] = drawn
        return made

    def _column(self, place: int) -> tuple[Named, Drawn]:
        part, rng = self.model.parts[place], self.rngs[place]
        tokens = self._tokens(place, part, rng)
        values = self._values(part, tokens, rng)
        codes = np.where(tokens.of_row >= 0, tokens.of_row + len(part.texts), part.folded[self.found.rows[place]])
        drawn = Drawn(part.name, part.nature.kind, codes.astype(np.int32), joined_texts(strings(part.texts), values))
        return Named(part, tokens, values), drawn

    def _tokens(self, place: int, part: Part, rng: np.random.Generator) -> Tokens:
        valued = part.valued
        shown = valued[self.found.rows[place]]
        like = self.skeleton.row.copy()
        bare = shown & ~valued[like]
        like[bare] = rng.choice(np.flatnonzero(valued), int(bare.sum())) if bare.any() else 0
        raw = part.column.codes[self.model.learned[like]].astype(np.int64)
        if part.nature.kind == "counter":
            raw = np.arange(len(raw))
        key = self.skeleton.product[shown] * (int(raw.max(initial=0)) + 1) + raw[shown]
        _, first, codes = np.unique(key, return_index=True, return_inverse=True)
        of_row = np.full(len(shown), -1, np.int64)
        of_row[shown] = codes
        where = np.flatnonzero(shown)[first]
        return Tokens(of_row, like[where], where)

    def _source(self, part: Part, rows: np.ndarray) -> Any:
        """The source's texts of learning rows."""
        return part.column.values.take(pa.array(part.column.codes[self.model.learned[rows]]))

    def _values(self, part: Part, tokens: Tokens, rng: np.random.Generator) -> Any:
        kind = part.nature.kind
        if not len(tokens.row):
            return strings([])
        if kind == "counter":
            return pa.array(int(part.numbers.values.min()) + tokens.first).cast(pa.large_string())
        if kind == "path":
            return pa.repeat(pa.scalar(PICTURE_PATH, pa.large_string()), len(tokens.row))
        known = part.column.values.filter(pa.array(part.nature.present))
        if kind == "text":
            return self._texts(part, tokens, known, rng)
        if kind == "code":
            return Codes(known, self.model.min_count, rng).draw(self._source(part, tokens.row))
        _, firsts = np.unique(part.column.codes[self.model.learned[tokens.row]], return_index=True)
        learned = tokens.row[np.sort(firsts)[:_LEARNED_LINKS]]
        urls = self._source(part, learned).to_pylist()
        names = [
            self._source(named.part, learned).to_pylist() if named else [""] * len(learned) for named in self._named()
        ]
        links = Links(known, list(zip(urls, *names, strict=True)), self.model.min_count, rng)
        shapes = self._shapes(learned, urls, tokens, rng)
        return links.write(shapes, *self._new_names(tokens))

    def _named(self) -> list[Named | None]:
        return [self.title, self.codes]

    def _shapes(self, learned: np.ndarray, urls: list[str], tokens: Tokens, rng: np.random.Generator) -> np.ndarray:
        """Places of learned URLs whose shapes the new ones have: of the same country, where URLs name it."""
        shown = [" ".join(re.findall(r"[a-z0-9]+", url.lower())) for url in urls]
        views = self._views(self._mentioned(learned, shown, None), learned, tokens)
        cells = Cells(len(learned), [view for view, _ in views], [1] * (len(views) + 1), rng=rng)
        return cells.draw(len(tokens.row), [view for _, view in views], rng)

    def _views(self, places: Sequence[int], rows: np.ndarray, tokens: Tokens) -> list[tuple[np.ndarray, np.ndarray]]:
        """The categories of learning rows and of tokens."""
        folded = [self.model.parts[place].folded for place in places]
        taken = [self.found.rows[place][tokens.first] for place in places]
        return [(each[rows], each[new]) for each, new in zip(folded, taken, strict=True)]

    def _new_names(self, tokens: Tokens) -> list[Any]:
        """Titles, as slugs, and identifiers of the tokens' own rows; "" where there is none."""
        made = []
        for named in self._named():
            if named is None:
                made.append(pa.repeat(pa.scalar("", pa.large_string()), len(tokens.row)))
                continue
            shown = slugs(named.values) if named is self.title else named.values
            places = named.tokens.of_row[tokens.first]
            made.append(joined_texts(shown, strings([""])).take(pa.array(np.where(places < 0, len(shown), places))))
        return made

    def _texts(self, part: Part, tokens: Tokens, known: Any, rng: np.random.Generator) -> Any:
        model = self.model
        valued = np.flatnonzero(part.valued)
        _, firsts = np.unique(part.column.codes[model.learned[valued]], return_index=True)
        rows = np.sort(valued[firsts])
        if len(rows) > _LEARNED_TEXTS:
            rows = np.sort(rng.choice(rows, _LEARNED_TEXTS, replace=False))
        texts = self._source(part, rows).to_pylist()
        writer = Writer(texts, known, model.min_count, rng)
        views = self._contexts(rows, texts, tokens)
        cells = Cells(len(rows), [view for view, _ in views], [model.min_count] * (len(views) + 1), rng=rng)
        chosen = []
        for _ in range(_PATTERNS):
            order = rng.permutation(len(tokens.row))
            drawn = np.empty(len(order), np.int64)
            drawn[order] = cells.draw(len(order), [view[order] for _, view in views], rng)
            chosen.append(drawn)
        return writer.write(chosen)

    def _contexts(self, rows: np.ndarray, texts: list[str], tokens: Tokens) -> list[tuple[np.ndarray, np.ndarray]]:
        """Views of texts and tokens: their category, then what the texts name, then the price."""
        model, found = self.model, self.found
        main = model.place(model.roles.category) if model.roles.category else None
        places = [*([] if main is None else [main]), *self._mentioned(rows, texts, main)]
        views = self._views(places, rows, tokens)
        if model.roles.price:
            place = model.place(model.roles.price)
            both = np.concatenate([model.parts[place].amounts[rows], found.amounts[place][tokens.first]])
            split = bins(both, COARSE_BINS)
            views.append((split[: len(rows)], split[len(rows) :]))
        return views

    def _mentioned(self, rows: np.ndarray, texts: list[str], main: int | None) -> list[int]:
        """Places of the categories, other than `main`, that the texts name, such as a colour."""
        sample = range(0, len(rows), max(1, len(rows) // 2000))
        folded = [f" {fold(texts[number])} " for number in sample]
        chosen = []
        for place, part in enumerate(self.model.parts):
            if part.nature.kind != "category" or place == main or len(part.texts) < 2:
                continue
            names = [f" {fold(text)} " for text in part.texts]
            held = [names[part.folded[rows[number]]] in text for number, text in zip(sample, folded, strict=True)]
            if np.mean(held) >= MENTIONED:
                chosen.append(place)
        return chosen[:2]
