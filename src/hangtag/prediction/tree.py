"""A tree of tokens that grows level by level off a batch of prompts; every node sees its prompt and its own ancestors.

The prompts are in the cache already, once a row. A level is one call for the whole batch, so a tree costs as many
calls as it is deep, whatever its width.

Shapes: B rows, Q places of a level a row, M nodes in them, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hangtag.prediction.branches import Answers


@dataclass
class Level:
    """What follows each of M nodes that have been grown: log probabilities [M, V]; their rows and places."""

    log_p_MV: torch.Tensor
    at: tuple[torch.Tensor, ...]
    shape: tuple[int, int]

    def spread(self, values_MX: torch.Tensor) -> NDArray[np.float64]:
        """Log probabilities of the nodes at their places [B, Q, X], -inf where there is no node."""
        found = np.full((*self.shape, *values_MX.shape[1:]), -np.inf)
        found[self.at[0].numpy(), self.at[1].numpy()] = values_MX.double().cpu().numpy()
        return found


class Tree:
    """Nodes are places [B, Q] of the level grown last. `lineage` is what of all grown nodes each of them sees."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.grown = 0
        self.lineage = torch.zeros(len(answers.new), 1, 0, dtype=torch.bool)
        self.first = torch.tensor(answers.lengths)[:, None] - 1
        self.before = torch.stack([answers.sees(row, -1) for row in range(len(answers.new))])[:, None]

    def stand_behind(self, places: Sequence[int]) -> None:
        """Let each row's root be the token before a place of its answer: that is cached, and is not grown again."""
        self.before = torch.stack([self.answers.sees(row, place) for row, place in enumerate(places)])[:, None]
        self.first = torch.tensor([sum(each) - 1 for each in zip(self.answers.lengths, places, strict=True)])[:, None]

    @property
    def room(self) -> int:
        """How many nodes more a row can have."""
        return self.answers.room - self.grown

    def grow(
        self,
        ids_BQ: torch.Tensor,
        parent_BQ: NDArray[np.int64],
        depth_BQ: NDArray[np.int64],
        there_BQ: NDArray[np.bool_],
    ) -> Level:
        """Grow a level of the nodes that are there.

        Args:
            parent_BQ: each node's parent, a place in the last level (or among what `stand_on` was given).
            depth_BQ: how far each node lies behind its prompt's last token, which itself is the root, 0.
        """
        rows, width = ids_BQ.shape
        picked = torch.from_numpy(parent_BQ)[..., None].expand(-1, -1, self.grown)
        own = torch.eye(width, dtype=torch.bool).expand(rows, -1, -1)
        self.lineage = torch.cat([self.lineage.gather(1, picked), own], -1)
        self.grown += width
        sees = torch.cat([self.before.expand(-1, width, -1), self.lineage], -1)
        at = torch.from_numpy(there_BQ).nonzero(as_tuple=True)
        positions = self.first + torch.from_numpy(depth_BQ)
        return Level(self.answers.growth.extend(ids_BQ[at], positions[at], at, sees), at, (rows, width))

    def stand_on(self, lineages: list[list[torch.Tensor]]) -> None:
        """Let the next level's parents be nodes of any level, by what each saw when it was grown."""
        most = max(1, *map(len, lineages))
        self.lineage = torch.zeros(len(lineages), most, self.grown, dtype=torch.bool)
        for row, nodes in enumerate(lineages):
            for place, seen in enumerate(nodes):
                self.lineage[row, place, : len(seen)] = seen
