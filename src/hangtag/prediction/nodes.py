"""A row is a program: it says which tokens it wants computed, and goes on with what follows each of them.

Writing an answer, other ways to write it and the digits of a number are such programs. They know nothing of each
other's rows: whoever runs them computes what all of them want in one step (decoder.py), so that rows can come and go.

Shapes: M nodes, X likeliest tokens, S signs.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

T = TypeVar("T")


class Node(NamedTuple):
    """A token to be computed, and what is wanted of the probabilities of what follows it.

    Args:
        sees: bit p is set where it sees the token at place p of its row: the prompt, its ancestors, itself. Its own
            place is the highest; how many it sees is how far it is in its own sequence.
        allowed: of which tokens the likeliest is to be chosen: bool [V].
        likeliest: whether the likeliest tokens are wanted.
        enders: tokens whose probability together is wanted.
        target: a token whose probability is wanted.
    """

    token: int
    sees: int
    allowed: torch.Tensor | None = None
    likeliest: bool = False
    enders: tuple[int, ...] = ()
    target: int | None = None


class Found(NamedTuple):
    """What follows some nodes, as far as they wanted it; log probabilities, all over the whole vocabulary.

    Args:
        chosen, chosen_log_p: the likeliest allowed token [M].
        likeliest, likeliest_log_p: the likeliest tokens, the first one first [M, X].
        signs: of each sign that numbers are made of [M, S]; known of all nodes.
        enders: of some tokens together [M].
        target: of the target [M].
    """

    chosen: NDArray[np.int64]
    chosen_log_p: NDArray[np.float64]
    likeliest: NDArray[np.int64]
    likeliest_log_p: NDArray[np.float64]
    signs: NDArray[np.float64]
    enders: NDArray[np.float64]
    target: NDArray[np.float64]

    def part(self, start: int, stop: int) -> Found:
        """What follows some of the nodes."""
        return Found._make([each[start:stop] for each in self])


Program: TypeAlias = Generator[Sequence[Node], Found, T]


def together(programs: Sequence[Program[Any]]) -> Program[list[Any]]:
    """Run a row's programs side by side, each one's first steps with the others' first ones; what they return."""
    tasks = [Task(0, each, patient=True) for each in programs]
    while live := [each for each in tasks if not each.done]:
        found = yield [node for each in live for node in each.nodes]
        start = 0
        for each in live:
            count = len(each.nodes)
            each.send(found.part(start, start + count))
            start += count
    return [each.value for each in tasks]


class Task(Generic[T]):
    """A program of a row under way.

    Args:
        row: its number in the decoder.
        patient: whether it takes part in a step also when it wants nothing of it.
    """

    def __init__(self, row: int, program: Program[T], patient: bool = False) -> None:
        self.row, self._program, self._patient = row, program, patient
        self.nodes: Sequence[Node] = ()
        self.done = False
        self.value: Any = None
        self._go(lambda: next(program))

    def send(self, found: Found) -> None:
        """Go on with what follows the nodes that were wanted."""
        self._go(lambda: self._program.send(found))

    def _go(self, step: Any) -> None:
        try:
            self.nodes = step()
            while not self.nodes and not self._patient:
                self.nodes = self._program.send(NOTHING)
        except StopIteration as stopped:
            self.done, self.value, self.nodes = True, stopped.value, ()


_no_ints, _no_floats = np.zeros(0, np.int64), np.zeros(0)
NOTHING = Found(
    _no_ints, _no_floats, _no_ints[:, None], _no_floats[:, None], _no_floats[:, None], _no_floats, _no_floats
)
