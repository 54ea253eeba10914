"""A batch of answers being written: each row held to its grammar, watched token by token, ended on its own.

Shapes: B rows, V entries of the vocabulary.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from hangtag.prediction.grammar import Grammar
from hangtag.prediction.pieces import Pieces

OnText = Callable[[int, str], None]
Cancelled = Callable[[int], bool]


@dataclass
class Row:
    """One answer: what it is held to, where it is cut, and what has been written.

    Args:
        grammar: None where any text may be written.
        most: tokens after which a held answer is hurried to its end, and another one is cut.
        cut: whether a held answer is cut there, too.
    """

    grammar: Grammar | None
    most: int
    cut: bool = False
    state: int = 0
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    over: bool = False
    ended: bool = False
    hurried: bool = False

    def __post_init__(self) -> None:
        if self.grammar:
            self.state = self.grammar.start

    @property
    def longest(self) -> int:
        """Most tokens that it can have, its end included."""
        return self.most if self.cut or self.grammar is None else self.most + self.grammar.rest

    def allowed(self, free: torch.Tensor) -> torch.Tensor:
        """Whether each token may stand next: bool [V]."""
        if self.grammar is None or self.over:
            return free
        self.hurried = not self.cut and len(self.tokens) + 1 >= self.most
        return self.grammar.allowed(self.state, self.hurried)


class _Told:
    """A row's text as it is told: whole letters, without white space at both ends."""

    def __init__(self) -> None:
        self._letters = codecs.getincrementaldecoder("utf-8")("replace")
        self._kept = ""
        self._begun = False

    def more(self, letters: bytes, last: bool) -> str:
        self._kept += self._letters.decode(letters, last)
        text = self._kept.rstrip()
        self._kept = self._kept[len(text) :]
        if not self._begun:
            text, self._kept = text.lstrip(), self._kept if text.strip() else ""
            self._begun = bool(text)
        return text


class Writing:
    """Greedy decoding of some rows; `held` and `watched` are for `generate`.

    A held row's tokens are the likeliest of those that its grammar allows, their log probabilities the model's own,
    over all tokens. A row is over at its end, where it is cut, and when it is cancelled.

    Args:
        free: whether each token may stand in a row without a grammar: bool [V], on the model's device.
        on_text: told each row's new text as it is written.
        cancelled: asked at each step whether nobody waits for a row any more.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        pieces: Pieces,
        stops: set[int],
        free: torch.Tensor,
        on_text: OnText | None = None,
        cancelled: Cancelled | None = None,
    ) -> None:
        self.rows, self.pieces, self.stops, self.free = rows, pieces, stops, free
        self.on_text, self.cancelled = on_text, cancelled
        self._told = [_Told() for _ in rows]
        self._log_probs: list[float] = []

    @property
    def held(self) -> LogitsProcessor:
        return _Held(self)

    @property
    def watched(self) -> StoppingCriteria:
        return _Watched(self)

    def narrow(self, scores_BV: torch.Tensor) -> torch.Tensor:
        """Scores in which what may not stand next is -inf."""
        log_probs_BV = scores_BV.float().log_softmax(-1)
        allowed_BV = torch.stack([row.allowed(self.free) for row in self.rows])
        held_BV = scores_BV.masked_fill(~allowed_BV, -torch.inf)
        self._log_probs = log_probs_BV.gather(-1, held_BV.argmax(-1, keepdim=True))[:, 0].double().tolist()
        return held_BV

    def took(self, tokens_B: torch.Tensor) -> list[bool]:
        """Note what was chosen; whether each row is over."""
        for place, (row, token) in enumerate(zip(self.rows, tokens_B.tolist(), strict=True)):
            if not row.over:
                self._note(place, row, token)
        return [row.over for row in self.rows]

    def _note(self, place: int, row: Row, token: int) -> None:
        row.log_probs.append(self._log_probs[place])
        if token in self.stops:
            row.over = row.ended = True
        else:
            row.tokens.append(token)
            if row.grammar:
                row.state = row.grammar.after(row.state, token)
            row.over = len(row.tokens) >= row.longest or bool(self.cancelled and self.cancelled(place))
        if self.on_text:
            text = self._told[place].more(b"" if row.ended else self.pieces.of(token), row.over)
            if text:
                self.on_text(place, text)


class _Held(LogitsProcessor):
    def __init__(self, writing: Writing) -> None:
        self.writing = writing

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return self.writing.narrow(scores)


class _Watched(StoppingCriteria):
    def __init__(self, writing: Writing) -> None:
        self.writing = writing

    def __call__(self, input_ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
        return torch.tensor(self.writing.took(input_ids[:, -1]), device=input_ids.device)
