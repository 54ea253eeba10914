"""Texts written anew in the manner of a source's: its frequent words in its order, invented words for its rare ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hangtag.catalogue.like.invented import Inventor
from hangtag.catalogue.like.pieces import Piece, Vocabulary, anew
from hangtag.catalogue.like.texts import Places, Taken, as_list, fold_all, joined_texts, ragged, strings
from hangtag.catalogue.split import fold

MOST_WORDS = 120
"""A longer text is cut."""
_TRIES = 6
_AT_ONCE = 50_000
_WORD = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)


class Writer:
    """Writes texts like the learned ones and equal to none of the source."""

    def __init__(self, texts: Sequence[str], forbidden: Any, min_count: int, rng: np.random.Generator) -> None:
        """
        Args:
            texts: distinct ones to learn from.
            forbidden: all texts of the source.
            min_count: a word is kept that stands in so many of the distinct texts.
        """
        split = [text.split()[:MOST_WORDS] or ["Edition"] for text in texts]
        words = list(dict.fromkeys(["Edition", *(word for text in split for word in text)]))
        parts = [_parts(word) for word in words]
        folded = {word: fold(core) for word, (_, core, _) in zip(words, parts, strict=True)}
        counts = Counter(word for text in split for word in {folded[word] for word in text})
        standing = [Piece(before + core + after) for before, core, after in parts]
        new = [anew(core or "Item", before, after) for before, core, after in parts]
        self.words = len(words)
        self.pieces = Vocabulary(standing + new, Inventor(counts, rng), rng)
        cores = {core: place for place, core in enumerate(dict.fromkeys(core for _, core, _ in parts))}
        self.cores = np.array([cores[core] if core else -1 for _, core, _ in parts], np.int64)
        kept = [not core or counts[folded[word]] >= min_count for word, (_, core, _) in zip(words, parts, strict=True)]
        places = {word: place if kept[place] else place + len(words) for place, word in enumerate(words)}
        self.flat = np.array([places[word] for text in split for word in text], np.int64)
        self.lengths = np.array([len(text) for text in split], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.taken = Taken(fold_all(forbidden))
        self.rng = rng

    def write(self, donors: Sequence[Places]) -> Any:
        """New texts from the places of some learned ones each, the first its pattern; never the same twice.

        Args:
            donors: for each new text the place of its first learned text, of its second, and so on.
        """
        starts = range(0, len(donors[0]), _AT_ONCE)
        made = [self._write([each[start : start + _AT_ONCE] for each in donors]) for start in starts]
        return joined_texts(*made) if made else strings([])

    def _write(self, donors: Sequence[Places]) -> Any:
        waiting = np.arange(len(donors[0]))
        rows, made = [waiting[:0]], [strings([])]
        for attempt in range(_TRIES):
            first, other = donors[0][waiting], donors[attempt % len(donors)][waiting]
            pieces, lengths = self._crossed(first, other) if attempt else self._whole(first)
            new, texts = self._new(pieces, lengths)
            rows.append(waiting[new])
            made.append(texts)
            waiting = waiting[~new]
        pieces, lengths = self._whole(donors[0][waiting])
        while len(waiting):
            place = np.cumsum(lengths) - lengths + (self.rng.random(len(lengths)) * lengths).astype(np.int64)
            pieces[place] = pieces[place] % self.words + self.words
            new, texts = self._new(pieces, lengths)
            rows.append(waiting[new])
            made.append(texts)
            waiting = waiting[~new]
            pieces, lengths = self._longer(pieces, lengths, ~new)
        back = np.empty(len(donors[0]), np.int64)
        back[np.concatenate(rows)] = np.arange(len(back))
        return joined_texts(*made).take(pa.array(back))

    def _new(self, pieces: Places, lengths: Places) -> tuple[Places, Any]:
        """Which of the texts of these pieces are new, and those."""
        texts = self.pieces.write(pieces, lengths, " ")
        new = self.taken.admit(fold_all(texts))
        return new, texts.filter(pa.array(new))

    def _whole(self, texts: Places) -> tuple[Places, Places]:
        """The pieces of learned texts, and how many each has."""
        lengths = self.lengths[texts]
        return self.flat[ragged(self.starts[texts], lengths)], lengths

    def _crossed(self, first: Places, other: Places) -> tuple[Places, Places]:
        """The beginning of one and the end of the other, without a word that stands there already."""
        cut = self.rng.random(len(first))
        begin = np.maximum(np.rint(cut * self.lengths[first]).astype(np.int64), 1)
        skipped = np.rint(cut * self.lengths[other]).astype(np.int64)
        starts = np.stack([self.starts[first], self.starts[other] + skipped], 1).ravel()
        lengths = np.stack([begin, self.lengths[other] - skipped], 1).ravel()
        pieces = self.flat[ragged(starts, lengths)]
        rows = np.repeat(np.arange(len(first)), lengths[::2] + lengths[1::2])
        cores = self.cores[pieces % self.words]
        keep = cores < 0
        keys = rows * (int(self.cores.max(initial=0)) + 1) + cores
        worded = np.flatnonzero(~keep)
        keep[worded[np.unique(keys[worded], return_index=True)[1]]] = True
        return pieces[keep], np.bincount(rows[keep], minlength=len(first))

    def _longer(self, pieces: Places, lengths: Places, chosen: Places) -> tuple[Places, Places]:
        """Some of the texts, each with one more word to invent at its end."""
        starts = (np.cumsum(lengths) - lengths)[chosen]
        ends = np.cumsum(lengths[chosen] + 1) - 1
        made = np.full(int(ends[-1]) + 1 if len(ends) else 0, self.words, np.int64)
        before = np.ones(len(made), bool)
        before[ends] = False
        made[before] = pieces[ragged(starts, lengths[chosen])]
        return made, lengths[chosen] + 1


def _parts(word: str) -> tuple[str, str, str]:
    found = _WORD.match(word)
    assert found
    before, core, after = found.groups()
    return (before, core, after) if len(before) + len(after) <= 6 else ("", core or "-", "")


def slug(text: str, joint: str = "-") -> str:
    """A title as it stands in a URL."""
    return joint.join(re.findall(r"[a-z0-9]+", fold(text)))


def slugs(texts: Any) -> Any:
    """`slug` of every text."""
    made = as_list(pc.utf8_trim(pc.replace_substring_regex(pc.ascii_lower(texts), "[^a-z0-9]+", "-"), "-"))
    for place in np.flatnonzero(~pc.string_is_ascii(texts).to_numpy(zero_copy_only=False)).tolist():
        made[place] = slug(texts[place].as_py())
    return strings(made)
