"""Texts written anew in the manner of a source's: its frequent words in its order, invented words for its rare ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from hangtag.catalogue.split import fold

MOST_WORDS = 120
"""A longer text is cut."""
_TRIES = 6
_LONGEST_TOKEN = 8
"""A missing value's token is no longer."""
_INVENTED, _LONGEST_INVENTED = 400, 10
_ONSETS = [
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "g",
    "gl",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "qu",
    "r",
    "s",
    "sk",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "z",
]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "io"]
_CODAS = ["l", "n", "r", "s", "th", "nd", "rn", "x", "m", "lt"]
_WORD = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)

Piece = tuple[str, str, str, bool]
"""Signs before a word, the word, signs after it, and whether it is one that may be kept."""


class Inventor:
    """Words that are in nobody's vocabulary, the source's least of all, and signs by chance."""

    def __init__(self, known: Iterable[str], rng: np.random.Generator) -> None:
        self.known = set(known)
        self.rng = rng
        self.numbers: list[int] = []
        self.words = [self._invented(length) for length in range(3, _LONGEST_INVENTED)]

    def below(self, end: int) -> int:
        """A number from 0 on; drawn by the thousand, since one at a time is slow."""
        if not self.numbers:
            self.numbers = self.rng.integers(0, 1 << 62, 4096).tolist()
        return self.numbers.pop() % end

    def _invented(self, length: int) -> list[str]:
        """Many words of about `length` letters."""
        made: list[str] = []
        while len(made) < _INVENTED:
            word = ""
            while len(word) < length:
                word += _ONSETS[self.below(len(_ONSETS))] + _VOWELS[self.below(len(_VOWELS))]
            word += _CODAS[self.below(len(_CODAS))]
            if word not in self.known:
                made.append(word)
        return made

    def word(self, like: str) -> str:
        """A word of about the length and of the case of `like`; a number where it holds digits."""
        if not like.isalpha() and any(sign.isdigit() for sign in like):
            return self.code(like)
        words = self.words[min(max(len(like) - 4, 0), len(self.words) - 1)]
        made = words[self.below(len(words))]
        return made.upper() if like.isupper() else made.capitalize() if like[:1].isupper() else made

    def code(self, like: str) -> str:
        """Digits for digits (the first of them no 0), letters for letters, every other sign as it stands."""
        if like.isdigit():
            first = 10 ** (len(like) - 1)
            return str(first + self.below(9 * first))
        return "".join(
            "0123456789"[self.below(10)] if sign.isdigit() else
            chr((65 if sign.isupper() else 97) + self.below(26)) if sign.isalpha() else sign
            for sign in like
        )  # fmt: skip


class Writer:
    """Writes texts like the learned ones and equal to none of the source."""

    def __init__(
        self, texts: Sequence[str], forbidden: Iterable[str], min_count: int, rng: np.random.Generator
    ) -> None:
        """
        Args:
            texts: distinct ones to learn from.
            forbidden: all texts of the source.
            min_count: a word is kept that stands in so many of the distinct texts.
        """
        split = [[_parts(word) for word in text.split()[:MOST_WORDS]] for text in texts]
        counts = Counter(word for parts in split for word in {fold(core) for _, core, _ in parts})
        self.texts: list[list[Piece]] = [
            [(before, core, after, not core or counts[fold(core)] >= min_count) for before, core, after in parts]
            for parts in split
        ]
        self.taken = {hash(_folded(text)) for text in forbidden}
        self.rng = rng
        self.inventor = Inventor(counts, rng)

    def write(self, donors: Sequence[int]) -> str:
        """A new text from the places of some learned ones, the first its pattern; never the same twice."""
        first = self.texts[donors[0]]
        for attempt in range(_TRIES):
            other = self.texts[donors[attempt % len(donors)]]
            made = self._words(first if attempt == 0 else self._crossed(first, other))
            if self._take(made):
                return made
        pieces = list(first) or [("", "", "", True)]
        while True:
            place = int(self.rng.integers(len(pieces)))
            before, core, after, _ = pieces[place]
            pieces[place] = (before, core or "Item", after, False)
            made = self._words(pieces)
            if self._take(made):
                return made
            pieces.append(("", "Edition", "", False))

    def _take(self, text: str) -> bool:
        folded = _folded(text)
        key = hash(folded)
        if key in self.taken or not folded:
            return False
        self.taken.add(key)
        return True

    def _crossed(self, first: list[Piece], other: list[Piece]) -> list[Piece]:
        """The beginning of one and the end of the other."""
        if not first or not other:
            return first or other
        cut = self.rng.random()
        joined = first[: max(1, round(cut * len(first)))] + other[round(cut * len(other)) :]
        seen: set[str] = set()
        return [piece for piece in joined if not piece[1] or not (piece[1] in seen or seen.add(piece[1]))]  # type: ignore[func-returns-value]

    def _words(self, pieces: Sequence[Piece]) -> str:
        word = self.inventor.word
        return " ".join([f"{before}{core if kept else word(core)}{after}" for before, core, after, kept in pieces])


def _folded(text: str) -> str:
    """As `fold`, quicker for plain letters."""
    if len(text) > _LONGEST_TOKEN and text.isascii():
        return " ".join(text.lower().split())
    return fold(text)


def _parts(word: str) -> tuple[str, str, str]:
    found = _WORD.match(word)
    assert found
    before, core, after = found.groups()
    return (before, core, after) if len(before) + len(after) <= 6 else ("", core or "-", "")


def slug(text: str, joint: str = "-") -> str:
    """A title as it stands in a URL."""
    return joint.join(re.findall(r"[a-z0-9]+", fold(text)))
