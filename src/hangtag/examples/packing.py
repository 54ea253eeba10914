"""Which rows go through the model together: an optimizer step's rows, packed into passes, dealt to processes.

A step takes the same rows whatever the token budget and the number of processes: packing decides only how many go
through at once. A pass is its examples laid end to end, without padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pass:
    """Rows that go through the model together, and rows that only keep the processes in step: these have no labels."""

    rows: tuple[int, ...]
    fillers: tuple[int, ...] = ()


def best_fit(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places of `lengths` in bins of at most `budget`: longest first, each into the fullest bin that still takes it.

    A length beyond the budget gets a bin of its own.
    """
    bins: list[list[int]] = []
    room = np.empty(0, np.int64)
    for place in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        fits = np.flatnonzero(room >= lengths[place])
        if len(fits):
            chosen = int(fits[room[fits].argmin()])
            bins[chosen].append(place)
            room[chosen] -= lengths[place]
        else:
            bins.append([place])
            room = np.append(room, budget - lengths[place])
    return bins


def balanced(lengths: Sequence[int], number: int) -> list[list[int]]:
    """Places of `lengths` in so many bins: longest first, each into the emptiest."""
    bins: list[list[int]] = [[] for _ in range(number)]
    filled = np.zeros(number, np.int64)
    for place in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        emptiest = int(filled.argmin())
        bins[emptiest].append(place)
        filled[emptiest] += lengths[place]
    return bins


class Plan:
    """The passes of every step, decided by lengths, seed and settings alone, so that any step can be asked for.

    Args:
        lengths: tokens of each row, none beyond the budget.
        pictured: whether each row has a picture.
        batch_size: rows of a step, over all processes; an epoch's last step may have fewer.
        budget: most tokens of a pass.
        seed: decides the order of rows, anew each epoch; None keeps their order.
        processes: how many share a step. Each gets equally many passes, so that none waits for another for ever;
            where some rows have pictures, each pass then has one, so that every part of the model is run by all.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        pictured: Sequence[bool],
        batch_size: int,
        budget: int,
        seed: int | None = 0,
        processes: int = 1,
    ) -> None:
        self.lengths = lengths
        self.pictured = pictured
        self.batch_size = batch_size
        self.budget = budget
        self.seed = seed
        self.processes = processes
        candidates = [row for row in range(len(lengths)) if pictured[row]] or list(range(len(lengths)))
        self.filler = min(candidates, key=lambda row: lengths[row])
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.lengths) / self.batch_size)

    def rows(self, step: int) -> list[int]:
        """The rows of a step, counted from the run's first."""
        epoch, place = divmod(step, self.steps)
        return [int(row) for row in self.order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]]

    def order(self, epoch: int) -> np.ndarray:
        """All rows in an epoch's order."""
        if self._order is None or self._order[0] != epoch:
            rows = np.arange(len(self.lengths))
            if self.seed is not None:
                rows = np.random.default_rng([self.seed, epoch]).permutation(rows)
            self._order = (epoch, rows)
        return self._order[1]

    def passes(self, step: int) -> list[list[Pass]]:
        """The passes of a step for each process."""
        rows = self.rows(step)
        packed = [self._pass(rows, bins) for bins in self._bins([self.lengths[row] for row in rows])]
        packed.sort(key=lambda each: -sum(self.lengths[row] for row in each.rows))
        return [packed[process :: self.processes] for process in range(self.processes)]

    def _bins(self, lengths: Sequence[int]) -> list[list[int]]:
        """As few bins as hold the rows, but equally many for each process."""
        bins = best_fit(lengths, self.budget)
        number = math.ceil(len(bins) / self.processes) * self.processes
        while len(bins) != number:
            bins = balanced(lengths, number)
            if max(sum(lengths[place] for place in each) for each in bins) > self.budget:
                number += self.processes
        return bins

    def _pass(self, rows: Sequence[int], places: Sequence[int]) -> Pass:
        mine = tuple(rows[place] for place in places)
        runs_all = any(self.pictured[row] for row in mine) or (bool(mine) and not self.pictured[self.filler])
        return Pass(mine, () if runs_all or self.processes == 1 else (self.filler,))
