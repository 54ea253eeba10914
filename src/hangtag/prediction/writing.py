"""An answer being written: held to its grammar, watched token by token, ended on its own.

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
from hangtag.prediction.nodes import Found, Node, Program, Task
from hangtag.prediction.pieces import Pieces

OnText = Callable[[int, str], None]
Cancelled = Callable[[int], bool]


@dataclass
class Row:
    """One answer: what it is held to, where it is cut, what has been written, and which places its tokens have.

    Args:
        grammar: None where any text may be written.
        most: tokens after which a held answer is hurried to its end, and another one is cut.
        cut: whether a held answer is cut there, too.
        last: the prompt's last token.
        prompt: the prompt's tokens, pictures included; the first so many places are theirs.
        longest_sequence: tokens that prompt, answer and a branch can have together.
        ends: tokens that end the answer.
        traced: whether what else might have stood at each step is noted, for numbers to be read out of it.

    `sights` is what each written token sees, the prompt's last one first; `trace` what follows each of these.
    """

    grammar: Grammar | None
    most: int
    cut: bool
    last: int
    prompt: int
    longest_sequence: int
    ends: set[int]
    traced: bool = False
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    sights: list[int] = field(default_factory=list)
    trace: list[Found] = field(default_factory=list)
    over: bool = False
    ended: bool = False
    hurried: bool = False

    def __post_init__(self) -> None:
        self._state = self.grammar.start if self.grammar else 0
        self._used = self.prompt
        self.sights.append((1 << self.prompt) - 1)

    @property
    def longest(self) -> int:
        """Most tokens that it can have, its end included."""
        return self.most if self.cut or self.grammar is None else self.most + self.grammar.rest

    @property
    def room(self) -> int:
        """Tokens that can follow the prompt."""
        return self.longest_sequence - self.prompt

    def new_place(self) -> int:
        """The bit of a place that no token has yet."""
        self._used += 1
        return 1 << (self._used - 1)

    def allowed(self, free: torch.Tensor) -> torch.Tensor:
        """Whether each token may stand next: bool [V]."""
        if self.grammar is None:
            return free
        self.hurried = not self.cut and len(self.tokens) + 1 >= self.most
        return self.grammar.allowed(self._state, self.hurried)

    def note(self, token: int, log_p: float) -> None:
        """A token was chosen."""
        self.log_probs.append(log_p)
        if token in self.ends:
            self.over = self.ended = True
            return
        self.tokens.append(token)
        if self.grammar:
            self._state = self.grammar.after(self._state, token)
        self.over = len(self.tokens) >= self.longest


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


def write(
    row: Row,
    free: torch.Tensor,
    pieces: Pieces,
    on_text: Callable[[str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Program[None]:
    """Write a row's answer greedily, until its end, until it is cut, or until it is cancelled.

    A held row's tokens are the likeliest of those that its grammar allows, their log probabilities the model's own,
    over all tokens. The first node is the prompt's last token, which is computed with the prompt.

    Args:
        free: whether each token may stand in a row without a grammar: bool [V], on the model's device.
        on_text: told the new text as it is written.
        cancelled: asked at each step whether nobody waits for it any more.
    """
    told = _Told()
    token = row.last
    while not row.over:
        found = yield [Node(token, row.sights[-1], row.allowed(free), row.traced)]
        if row.traced:
            row.trace.append(found)
        token = int(found.chosen[0])
        row.note(token, float(found.chosen_log_p[0]))
        row.over = row.over or bool(cancelled and cancelled())
        if on_text and (text := told.more(b"" if row.ended else pieces.of(token), row.over)):
            on_text(text)
        if not row.over:
            row.sights.append(row.sights[-1] | row.new_place())


class ByGenerate:
    """Rows' writing driven by transformers' `generate`, of which `held` and `watched` are parts.

    Args:
        tasks: of each row of the batch, `write`.
        found: what follows some nodes by their logits.
    """

    def __init__(self, tasks: Sequence[Task[None]], found: Callable[[torch.Tensor, Sequence[Node]], Found]) -> None:
        self._tasks, self._found = tasks, found

    @property
    def held(self) -> LogitsProcessor:
        return _Held(self)

    @property
    def watched(self) -> StoppingCriteria:
        return _Watched(self)

    def choose(self, scores_BV: torch.Tensor) -> torch.Tensor:
        """Scores of which each row's own choice is the highest."""
        live = [place for place, task in enumerate(self._tasks) if not task.done]
        found = self._found(scores_BV[live], [self._tasks[place].nodes[0] for place in live])
        for number, place in enumerate(live):
            self._tasks[place].send(found.part(number, number + 1))
        chosen = torch.zeros(len(scores_BV), dtype=torch.long)
        chosen[live] = torch.from_numpy(found.chosen)
        return torch.full_like(scores_BV, -torch.inf).scatter_(1, chosen[:, None].to(scores_BV.device), 0.0)


class _Held(LogitsProcessor):
    def __init__(self, writing: ByGenerate) -> None:
        self._writing = writing

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return self._writing.choose(scores)


class _Watched(StoppingCriteria):
    def __init__(self, writing: ByGenerate) -> None:
        self._writing = writing

    def __call__(self, input_ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
        return torch.tensor([task.done for task in self._writing._tasks], device=input_ids.device)


def end_of(row: list[int], ends: set[int]) -> int | None:
    """Where a row of new tokens ends; None where it does not."""
    return next((place for place, token in enumerate(row) if token in ends), None)


def ends_of(model: Any) -> list[int]:
    """The tokens that end what a model writes."""
    given = model.generation_config.eos_token_id
    return [] if given is None else given if isinstance(given, list) else [given]
