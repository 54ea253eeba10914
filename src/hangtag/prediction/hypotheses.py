"""The likeliest ways to write an answer up to a number: a beam over whole prefixes, not the written one alone.

A price depends on the title before it: a bag believed to be of leather costs more. What the model holds likely about
the price is therefore a mixture over what it holds likely about the title, and a distribution that stands on the one
title that was written is far too sure (docs/log.md).

Shapes: B rows, Q nodes of a level a row, S signs (see numbers.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hangtag.answer import Template
from hangtag.prediction.pieces import Pieces
from hangtag.prediction.tree import Level, Tree

BEAMS = 4
"""Most prefixes that are followed on a level of a row."""
LEAST = 1e-2
"""Least probability of a prefix that is followed, beside the likeliest one of its row."""
_MOSTLY_NUMBER = 0.5


@dataclass(frozen=True)
class Prefix:
    """An answer written up to a number: its text and log probability, what follows it, and its place in the tree."""

    text: str
    log_p: float
    signs_S: NDArray[np.float64]
    lineage: torch.Tensor
    depth: int


@dataclass
class _Level:
    log_p: NDArray[np.float64]
    token: torch.Tensor
    parent: NDArray[np.int64]
    text: list[list[bytes]]


class Hypotheses:
    """Finds prefixes for one number field of a template."""

    def __init__(self, pieces: Pieces, template: Template, name: str, signs: Sequence[int], beams: int = BEAMS) -> None:
        self.pieces, self.beams = pieces, beams
        self.signs = torch.tensor(list(signs))
        self.pattern = re.compile(template.before(name), re.DOTALL)

    def prefixes(self, tree: Tree, most_levels: int) -> list[list[Prefix]]:
        """For each row the prefixes found, the likeliest first; the tree is left with all that it grew."""
        rows = len(tree.answers.new)
        found: list[list[Prefix]] = [[] for _ in range(rows)]
        level = _Level(
            np.zeros((rows, 1)), tree.answers.prompt_BT[:, -1:].cpu(), np.zeros((rows, 1), np.int64), [[b""]] * rows
        )
        for depth in range(most_levels):
            width = level.log_p.shape[1]
            if tree.room < width:
                break
            there = np.isfinite(level.log_p)
            grown = tree.grow(level.token, level.parent, np.full((rows, width), depth), there)
            signs_BQS = grown.spread(grown.log_p_MV[:, self.signs.to(grown.log_p_MV.device)])
            self._take(level, signs_BQS, tree, depth, found)
            following = self._follow(level, grown, found)
            if following is None:
                break
            level = following
        return [sorted(each, key=lambda one: -one.log_p) for each in found]

    def _take(
        self, level: _Level, signs_BQS: NDArray[np.float64], tree: Tree, depth: int, found: list[list[Prefix]]
    ) -> None:
        """Take the nodes at which the number begins out of the level."""
        begins = np.exp(signs_BQS).sum(-1) >= _MOSTLY_NUMBER
        for row, place in zip(*np.nonzero(begins & np.isfinite(level.log_p)), strict=True):
            text = level.text[row][place].decode(errors="replace").lstrip()
            if self.pattern.fullmatch(text):
                lineage = tree.lineage[row, place].clone()
                found[row].append(Prefix(text, level.log_p[row, place], signs_BQS[row, place], lineage, depth))
                level.log_p[row, place] = -np.inf

    def _follow(self, level: _Level, grown: Level, found: list[list[Prefix]]) -> _Level | None:
        """The next level: the likeliest continuations, as many as there is place beside the prefixes found."""
        each = torch.topk(grown.log_p_MV, min(self.beams, grown.log_p_MV.shape[-1]), dim=-1)
        log_p = (level.log_p[..., None] + grown.spread(each.values)).reshape(len(found), -1)
        following = torch.zeros(*grown.shape, each.indices.shape[-1], dtype=torch.long)
        following[grown.at] = each.indices.cpu()
        tokens = following.reshape(len(found), -1)
        likeliest = np.maximum(log_p.max(1), [max((one.log_p for one in row), default=-np.inf) for row in found])
        log_p[log_p < likeliest[:, None] + np.log(LEAST)] = -np.inf
        order = np.argsort(-log_p, axis=1, kind="stable")[:, : self.beams]
        chosen = np.take_along_axis(log_p, order, 1)
        for row, prefixes in enumerate(found):
            bound = sorted((one.log_p for one in prefixes), reverse=True)[self.beams - 1 : self.beams]
            chosen[row, self.beams - min(len(prefixes), self.beams) :] = -np.inf
            if bound:
                chosen[row, chosen[row] <= bound[0]] = -np.inf
        width = int(np.isfinite(chosen).sum(1).max())
        if not width:
            return None
        order, chosen = order[:, :width], chosen[:, :width]
        parent = order // each.values.shape[-1]
        token = tokens.gather(1, torch.from_numpy(order))
        text = [
            [level.text[row][parent[row, place]] + self.pieces.of(int(token[row, place])) for place in range(width)]
            for row in range(len(found))
        ]
        return _Level(chosen, token, parent, text)
