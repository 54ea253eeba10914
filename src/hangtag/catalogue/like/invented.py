"""Words that nobody has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hangtag.catalogue.like.texts import strings

INVENTED = 400
"""Words of each length and case."""
_SHORTEST, _LONGEST = 3, 10
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


class Inventor:
    """Words that are in nobody's vocabulary, the source's least of all.

    `words` holds INVENTED of each length in lower case, as many capitalized, as many in upper case.
    """

    def __init__(self, known: Iterable[str], rng: np.random.Generator) -> None:
        self.known = set(known)
        self.rng = rng
        self.numbers: list[int] = []
        made = []
        for length in range(_SHORTEST, _LONGEST):
            words = self._invented(length)
            made += [*words, *map(str.capitalize, words), *map(str.upper, words)]
        self.words = strings(made)

    def _below(self, end: int) -> int:
        """A number from 0 on; drawn by the thousand, since one at a time is slow."""
        if not self.numbers:
            self.numbers = self.rng.integers(0, 1 << 62, 4096).tolist()
        return self.numbers.pop() % end

    def _invented(self, length: int) -> list[str]:
        """Many words of about `length` letters."""
        made: list[str] = []
        while len(made) < INVENTED:
            word = ""
            while len(word) < length:
                word += _ONSETS[self._below(len(_ONSETS))] + _VOWELS[self._below(len(_VOWELS))]
            word += _CODAS[self._below(len(_CODAS))]
            if word not in self.known:
                made.append(word)
        return made

    def first(self, like: str) -> int:
        """Where in `words` the INVENTED begin that have about the length and the case of `like`."""
        length = min(max(len(like) - 1 - _SHORTEST, 0), _LONGEST - _SHORTEST - 1)
        case = 2 if like.isupper() else 1 if like[:1].isupper() else 0
        return (3 * length + case) * INVENTED
