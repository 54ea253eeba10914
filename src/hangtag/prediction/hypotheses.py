"""The likeliest ways to write an answer up to a number: a beam over whole prefixes, not the written one alone.

A price depends on the title before it: a bag believed to be of leather costs more. What the model holds likely about
the price is therefore a mixture over what it holds likely about the title, and a distribution that stands on the one
title that was written is far too sure (docs/log.md).

The tokens that are written are computed where they are written; only what might stand in their place is computed here.

Shapes: S signs (see numbers.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hangtag.answer import Template
from hangtag.prediction.nodes import Node, Program
from hangtag.prediction.pieces import Pieces
from hangtag.prediction.writing import Row

BEAMS = 4
"""Most prefixes that are followed on a level of a row."""
LEAST = 1e-2
"""Least probability of a prefix that is followed, beside the likeliest one of its row."""
LONGER = 8
"""How many tokens a prefix may be longer than the answer that was written."""
_MOSTLY_NUMBER = 0.5


@dataclass(frozen=True)
class Prefix:
    """An answer written up to a number: its text and log probability, what follows it, and what a next token sees."""

    text: str
    log_p: float
    signs_S: NDArray[np.float64]
    sees: int


@dataclass
class _Branch:
    """The beginning of an answer; `written` where it is that of the row's own."""

    log_p: float
    text: bytes
    token: int
    sees: int
    written: bool


class Hypotheses:
    """Finds prefixes for one number field of a template.

    Args:
        signs: which of the decoder's signs the number is made of [S].
    """

    def __init__(self, pieces: Pieces, template: Template, name: str, signs: Sequence[int], beams: int = BEAMS) -> None:
        self.pieces, self.beams, self.signs = pieces, beams, list(signs)
        self.pattern = re.compile(template.before(name), re.DOTALL)

    def prefixes(self, row: Row) -> Program[list[Prefix]]:
        """The prefixes found, the likeliest first.

        It runs beside the row's writing, or after it, and ends where the answer is cut; the row must be traced.
        """
        found: list[Prefix] = []
        level = [_Branch(0.0, b"", -1, row.sights[0], True)]
        depth = 0
        while level and depth <= row.room and not (row.over and (not row.ended or depth > len(row.tokens) + LONGER)):
            grown = [branch for branch in level if not branch.written]
            for branch in grown:
                branch.sees |= row.new_place()
            after = yield [Node(branch.token, branch.sees, likeliest=True) for branch in grown]
            place, candidates = 0, []
            for branch in level:
                if branch.written:
                    branch.sees, (seen, at) = row.sights[depth], (row.trace[depth], 0)
                else:
                    seen, at, place = after, place, place + 1
                if prefix := self._begins_number(branch, seen.signs[at, self.signs]):
                    found.append(prefix)
                else:
                    candidates += [
                        (branch.log_p + more, branch, token)
                        for more, token in zip(
                            seen.likeliest_log_p[at].tolist(), seen.likeliest[at].tolist(), strict=True
                        )
                    ]
            own = row.tokens[depth] if depth < len(row.tokens) else -1
            level = self._next(candidates, found, own)
            depth += 1
        return sorted(found, key=lambda one: -one.log_p)

    def _begins_number(self, branch: _Branch, signs_S: NDArray[np.float64]) -> Prefix | None:
        """The prefix, where the number begins behind this branch; else None."""
        if np.exp(signs_S).sum() < _MOSTLY_NUMBER:
            return None
        text = branch.text.decode(errors="replace").lstrip()
        return Prefix(text, branch.log_p, signs_S, branch.sees) if self.pattern.fullmatch(text) else None

    def _next(self, candidates: list[tuple[float, _Branch, int]], found: Sequence[Prefix], own: int) -> list[_Branch]:
        """The next level: the likeliest continuations, as many as there is place beside the prefixes found.

        Args:
            own: the token that follows in the row's answer; -1 where none does.
        """
        likeliest = max([one.log_p for one in found] + [log_p for log_p, _, _ in candidates], default=-math.inf)
        likely = [each for each in candidates if each[0] >= likeliest + math.log(LEAST)]
        likely.sort(key=lambda each: -each[0])
        return [
            _Branch(log_p, branch.text + self.pieces.of(token), token, branch.sees, branch.written and token == own)
            for log_p, branch, token in likely[: max(self.beams - len(found), 0)]
        ]
