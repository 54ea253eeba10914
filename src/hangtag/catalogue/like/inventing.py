"""The columns of new rows that are nobody's: titles and other texts, identifiers, URLs, paths.

Rows share a new identifier or title where the rows of the source that they are like share theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hangtag.catalogue.like.fresh import Codes, Links
from hangtag.catalogue.like.joint import Cells
from hangtag.catalogue.like.parts import COARSE_BINS, Part, bins
from hangtag.catalogue.like.sampling import Donors, Drawn, Skeleton
from hangtag.catalogue.like.table_model import TableModel
from hangtag.catalogue.like.words import Writer
from hangtag.catalogue.split import fold

PICTURE_PATH = ""
"""What stands for a picture's path until there is a picture."""
MENTIONED = 0.1
"""A category goes with a text where so many rows name it there."""
_LEARNED_TEXTS, _LEARNED_LINKS = 20_000, 5_000
_PATTERNS = 3


@dataclass
class Tokens:
    """Which new rows share a value: `of_row` gives its number, -1 where it is missing; `row` the learning row
    that a value is like, `first` its first new row."""

    of_row: np.ndarray
    row: np.ndarray
    first: np.ndarray


class Inventing:
    """Fills the special columns, one after the other: identifiers, then texts, then URLs that show both."""

    def __init__(self, model: TableModel, skeleton: Skeleton, found: Donors, rng: np.random.Generator) -> None:
        self.model, self.skeleton, self.found, self.rng = model, skeleton, found, rng
        self.codes: tuple[Part, Tokens, list[str]] | None = None
        self.title: tuple[Part, Tokens, list[str]] | None = None

    def columns(self) -> dict[str, Drawn]:
        """The new columns by name."""
        parts = self.model.parts
        order = {"counter": 0, "code": 1, "text": 2, "url": 3, "path": 4}
        places = [place for place, part in enumerate(parts) if part.nature.kind in order]
        title = self.model.roles.title
        places.sort(key=lambda place: (order[parts[place].nature.kind], parts[place].name != title))
        return {parts[place].name: self._column(place) for place in places}

    def _column(self, place: int) -> Drawn:
        part = self.model.parts[place]
        tokens = self._tokens(place, part)
        values = self._values(part, tokens)
        if part.nature.kind == "code" and self.codes is None:
            self.codes = (part, tokens, values)
        if part.nature.kind == "text" and self.title is None:
            self.title = (part, tokens, values)
        codes = np.where(tokens.of_row >= 0, tokens.of_row + len(part.texts), part.folded[self.found.rows[place]])
        return Drawn(part.name, part.nature.kind, codes, part.texts + values)

    def _tokens(self, place: int, part: Part) -> Tokens:
        valued = part.valued
        shown = valued[self.found.rows[place]]
        like = self.skeleton.row.copy()
        bare = shown & ~valued[like]
        like[bare] = self.rng.choice(np.flatnonzero(valued), int(bare.sum())) if bare.any() else 0
        raw = part.column.codes[self.model.learned[like]].astype(np.int64)
        if part.nature.kind == "counter":
            raw = np.arange(len(raw))
        key = self.skeleton.product[shown] * (int(raw.max(initial=0)) + 1) + raw[shown]
        _, first, codes = np.unique(key, return_index=True, return_inverse=True)
        of_row = np.full(len(shown), -1, np.int64)
        of_row[shown] = codes
        where = np.flatnonzero(shown)[first]
        return Tokens(of_row, like[where], where)

    def _source(self, part: Part, rows: np.ndarray) -> list[str]:
        """The source's texts of learning rows."""
        return part.column.values.take(part.column.codes[self.model.learned[rows]]).to_pylist()

    def _values(self, part: Part, tokens: Tokens) -> list[str]:
        kind = part.nature.kind
        if not len(tokens.row):
            return []
        if kind == "counter":
            start = int(part.numbers.values.min())
            return [str(start + int(row)) for row in tokens.first]
        if kind == "path":
            return [PICTURE_PATH] * len(tokens.row)
        if kind == "text":
            return self._texts(part, tokens)
        known = [text for text, each in zip(part.column.texts(), part.nature.present, strict=True) if each]
        if kind == "code":
            return Codes(known, self.model.min_count, self.rng).draw(self._source(part, tokens.row))
        _, firsts = np.unique(part.column.codes[self.model.learned[tokens.row]], return_index=True)
        learned = tokens.row[np.sort(firsts)[:_LEARNED_LINKS]]
        shown = [self._source(part, learned), *self._old_names(learned)]
        links = Links(known, list(zip(*shown, strict=True)), self.model.min_count, self.rng)
        shapes = self._shapes(learned, shown[0], tokens)
        return [links.write(*each) for each in zip(shapes, *self._new_names(tokens), strict=True)]

    def _shapes(self, learned: np.ndarray, urls: list[str], tokens: Tokens) -> list[int]:
        """Places of learned URLs whose shapes the new ones have: of the same country, where URLs name it."""
        shown = [" ".join(re.findall(r"[a-z0-9]+", url.lower())) for url in urls]
        views = self._views(self._mentioned(learned, shown, None), learned, tokens)
        cells = Cells(len(learned), [view for view, _ in views], [1] * (len(views) + 1), rng=self.rng)
        return cells.draw(len(tokens.row), [view for _, view in views], self.rng).tolist()

    def _views(self, places: Sequence[int], rows: np.ndarray, tokens: Tokens) -> list[tuple[np.ndarray, np.ndarray]]:
        """The categories of learning rows and of tokens."""
        folded = [self.model.parts[place].folded for place in places]
        taken = [self.found.rows[place][tokens.first] for place in places]
        return [(each[rows], each[new]) for each, new in zip(folded, taken, strict=True)]

    def _old_names(self, rows: np.ndarray) -> list[list[str]]:
        """Titles and identifiers of learning rows."""
        return [self._source(named[0], rows) if named else [""] * len(rows) for named in (self.title, self.codes)]

    def _new_names(self, tokens: Tokens) -> list[list[str]]:
        """Titles and identifiers of the tokens' own rows."""
        made = []
        for named in (self.title, self.codes):
            if named is None:
                made.append([""] * len(tokens.row))
            else:
                _, theirs, values = named
                made.append([values[place] if place >= 0 else "" for place in theirs.of_row[tokens.first].tolist()])
        return made

    def _texts(self, part: Part, tokens: Tokens) -> list[str]:
        model, rng = self.model, self.rng
        valued = np.flatnonzero(part.valued)
        _, firsts = np.unique(part.column.codes[model.learned[valued]], return_index=True)
        rows = np.sort(valued[firsts])
        if len(rows) > _LEARNED_TEXTS:
            rows = np.sort(rng.choice(rows, _LEARNED_TEXTS, replace=False))
        texts = self._source(part, rows)
        present = (text for text, each in zip(part.column.texts(), part.nature.present, strict=True) if each)
        writer = Writer(texts, present, model.min_count, rng)
        views = self._contexts(rows, texts, tokens)
        cells = Cells(len(rows), [view for view, _ in views], [model.min_count] * (len(views) + 1), rng=rng)
        chosen = []
        for _ in range(_PATTERNS):
            order = rng.permutation(len(tokens.row))
            drawn = np.empty(len(order), np.int64)
            drawn[order] = cells.draw(len(order), [view[order] for _, view in views], rng)
            chosen.append(drawn.tolist())
        return [writer.write(each) for each in zip(*chosen, strict=True)]

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
