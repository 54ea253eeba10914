"""Texts put together from pieces, all rows at once: a piece stands as it is, or something new is made in its place.

A piece is a number: its place in a vocabulary. What is made anew - words, digits, letters - becomes a vocabulary too,
so that any number of texts is one look-up of all their pieces and one joining.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hangtag.catalogue.like.invented import INVENTED, Inventor
from hangtag.catalogue.like.texts import Places, joined_texts, strings

SIGNS = {
    "9": "0123456789", "1": "123456789", "a": "abcdefghijklmnopqrstuvwxyz", "A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "x": "0123456789abcdef", "X": "0123456789ABCDEF",
}  # fmt: skip
"""What each sign of a form stands for; every other sign stands for itself."""


def of_form(form: str, count: int, rng: np.random.Generator, fixed: Sequence[str] = ()) -> Any:
    """Texts of signs drawn by chance as the form says.

    Args:
        fixed: for each place the sign that always stands there, or "".
    """
    columns = np.empty((count, len(form)), "U1")
    for place, kind in enumerate(form):
        choice = (fixed and fixed[place]) or SIGNS.get(kind, kind)
        columns[:, place] = choice if len(choice) == 1 else np.array(list(choice))[rng.integers(0, len(choice), count)]
    return pa.array(columns.view(f"U{len(form)}")[:, 0], pa.large_string())


def by_form(
    codes: Places, forms: Sequence[str], rng: np.random.Generator, fixed: Sequence[Sequence[str]] | None = None
) -> Any:
    """For each code a text of that one of the forms."""
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(forms)).tolist()
    made = [
        of_form(forms[code], count, rng, fixed[code] if fixed else ()) for code, count in enumerate(counts) if count
    ]
    back = np.empty(len(codes), np.int64)
    back[order] = np.arange(len(codes))
    return joined_texts(*made).take(pa.array(back)) if made else strings([])


class Piece(NamedTuple):
    """A piece of a text: `text` as it stands, or something new like it between the signs `before` and `after`.

    `form`: None where it stands; WORD for an invented word; else as `of_form` takes it.
    """

    text: str
    before: str = ""
    after: str = ""
    form: str | None = None


WORD = ""


def anew(text: str, before: str = "", after: str = "") -> Piece:
    """A piece to be made like `text`: a word, or where it holds digits signs of the same kinds, the first no 0."""
    form = WORD
    if text.isdigit():
        form = "1" + "9" * (len(text) - 1)
    elif not text.isalpha() and any(sign.isdigit() for sign in text):
        form = "".join(
            "9" if sign.isdigit() else "A" if sign.isupper() else "a" if sign.isalpha() else sign for sign in text
        )
    return Piece(text, before, after, form)


class Vocabulary:
    """Pieces by number, and the texts that are made of them."""

    def __init__(self, pieces: Sequence[Piece], inventor: Inventor, rng: np.random.Generator) -> None:
        self.rng, self.inventor = rng, inventor
        self.standing = strings("" if each.form is not None else each.text for each in pieces)
        self.words = np.array([inventor.first(each.text) if each.form == WORD else -1 for each in pieces], np.int64)
        self.forms = list(dict.fromkeys(each.form for each in pieces if each.form))
        places = {form: place for place, form in enumerate(self.forms)}
        self.formed = np.array([places[each.form] if each.form else -1 for each in pieces], np.int64)
        self.before, self.after = (
            strings(signs) for signs in zip(*((each.before, each.after) for each in pieces), strict=True)
        )
        self.signed = np.array([bool(each.before or each.after) for each in pieces])

    def write(self, pieces: Places, lengths: Places, sign: str, given: Sequence[Any] = ()) -> Any:
        """Texts of `lengths` pieces each, with `sign` between them.

        Args:
            given: a piece -1 is the row's own text in the first of these, -2 in the second.
        """
        parts = [self.standing, self.inventor.words, *given]
        size = sum(map(len, parts))
        own = np.maximum(pieces, 0)
        ids = own.copy()
        words = np.flatnonzero((pieces >= 0) & (self.words[own] >= 0))
        ids[words] = len(self.standing) + self.words[own[words]] + self.rng.integers(0, INVENTED, len(words))
        formed = np.flatnonzero((pieces >= 0) & (self.formed[own] >= 0))
        if len(formed):
            parts.append(by_form(self.formed[own[formed]], self.forms, self.rng))
            ids[formed] = size + np.arange(len(formed))
            size += len(formed)
        signed = np.flatnonzero((pieces >= 0) & self.signed[own])
        if len(signed):
            before, after = (each.take(pa.array(own[signed])) for each in (self.before, self.after))
            middle = joined_texts(*parts).take(pa.array(ids[signed]))
            parts.append(pc.binary_join_element_wise(before, middle, after, pa.scalar("", pa.large_string())))
            ids[signed] = size + np.arange(len(signed))
        start = len(self.standing) + len(self.inventor.words)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        for number, texts in enumerate(given, 1):
            place = np.flatnonzero(pieces == -number)
            ids[place] = start + rows[place]
            start += len(texts)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        lists = pa.LargeListArray.from_arrays(pa.array(offsets), joined_texts(*parts).take(pa.array(ids)))
        return pc.binary_join(lists, pa.scalar(sign, pa.large_string()))
