"""A number's distribution, by expansion: the tree of all digits that the model holds likely, level by level.

Phi-3's tokenizer keeps digits apart, so a number is a path of single digits, and its probability is the product along
its path and of the end behind it. A level costs one call for a whole batch; the prompt and what was written before the
number are computed once a row and shared by all its branches. Where a level has more nodes than are kept, the others
give their probability to the nearest kept number: with enough nodes the distribution is exact, with few it is coarse,
but never cut short at its tails.

Shapes: B rows, Q nodes of a level a row, S signs (digits, point, minus).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hangtag.prediction.branches import Answers
from hangtag.reading import Distribution

NODES = 32
"""Most nodes kept on a level of a row's tree."""
LEAST = 1e-5
"""Least probability of a node that is followed."""
LEVELS = 12
DECIMALS = 2
_MANTISSA = 15


@dataclass(frozen=True)
class Alphabet:
    """The tokens a number is made of, by the sign each stands for, and those that can end it."""

    signs: dict[str, int]
    enders: list[int]


@dataclass
class _Nodes:
    """A level of all rows' trees. Unused places have a log probability of -inf.

    digits and decimals give the number so far, digits / 10 ** decimals; decimals is -1 before the point.
    """

    log_p: NDArray[np.float64]
    digits: NDArray[np.float64]
    decimals: NDArray[np.int64]
    count: NDArray[np.int64]
    negative: NDArray[np.bool_]
    sign: NDArray[np.int64]
    parent: NDArray[np.int64]

    def values(self) -> NDArray[np.float64]:
        size = self.digits / 10.0 ** np.maximum(self.decimals, 0)
        return np.where(self.negative, -size, size)

    def can_end(self) -> NDArray[np.bool_]:
        """Whether a number may end here: it has a digit, and one behind the point where it has that."""
        return np.asarray((self.count > 0) & (self.decimals != 0))


def distributions(
    answers: Answers, starts: Sequence[int | None], alphabet: Alphabet, nodes: int = NODES
) -> list[Distribution | None]:
    """The distribution of a number in a batch of answers.

    Args:
        starts: for each row the place of the number's first token in its answer; None for a row without.
        nodes: most that are kept on a level.

    Returns:
        None for a row without, and where no number at all was found likely.
    """
    signs = list(alphabet.signs)
    tokens = torch.tensor(list(alphabet.signs.values()))
    tree = _Tree(answers, starts)
    level = _root(starts)
    leaves: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    ids_BQ = torch.tensor([[0 if start is None else answers.token(row, start - 1)] for row, start in enumerate(starts)])
    for depth in range(LEVELS):
        if answers.room - tree.grown < ids_BQ.shape[1]:
            answers.forget_branches()
            return [None] * len(starts)  # numbers cut short would be wrong ones
        log_probs_BQV = tree.grow(ids_BQ, level.parent, depth)
        ended = level.log_p + log_probs_BQV[..., alphabet.enders].logsumexp(-1).double().cpu().numpy()
        leaves.append((np.where(level.can_end(), ended, -np.inf), level.values()))
        log_p_BQS = log_probs_BQV[..., tokens.to(log_probs_BQV.device)].double().cpu().numpy()
        level = _children(level, log_p_BQS, signs, nodes)
        if not np.isfinite(level.log_p).any():
            break
        ids_BQ = tokens[torch.from_numpy(level.sign)]
    answers.forget_branches()
    weights = np.exp(np.concatenate([each for each, _ in leaves], 1))
    values = np.concatenate([each for _, each in leaves], 1)
    return [_distribution(*each) for each in zip(values, weights, strict=True)]


def _root(starts: Sequence[int | None]) -> _Nodes:
    shape = (len(starts), 1)
    alive = np.array([[0.0 if start is not None else -np.inf] for start in starts])
    return _Nodes(
        alive, np.zeros(shape), np.full(shape, -1), np.zeros(shape, np.int64), np.zeros(shape, bool),
        np.zeros(shape, np.int64), np.zeros(shape, np.int64),
    )  # fmt: skip


def _children(level: _Nodes, log_p_BQS: NDArray[np.float64], signs: Sequence[str], nodes: int) -> _Nodes:
    """The likeliest continuations of a level, at most `nodes` a row, in a fixed order."""
    log_p = level.log_p[..., None] + log_p_BQS
    for place, sign in enumerate(signs):
        if sign == "-":
            barred = (level.count > 0) | level.negative | (level.decimals >= 0)
        elif sign == ".":
            barred = level.decimals >= 0
        else:
            barred = (level.decimals >= DECIMALS) | (level.count >= _MANTISSA)
        log_p[..., place] = np.where(barred, -np.inf, log_p[..., place])
    log_p[log_p < np.log(LEAST)] = -np.inf
    rows = np.arange(len(log_p))[:, None]
    flat = log_p.reshape(len(log_p), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    most = max(1, min(nodes, int(np.isfinite(flat).sum(1).max())))
    every = _Nodes(flat, *_grown(level, *np.divmod(order, len(signs)), signs, rows))
    every.log_p = np.take_along_axis(flat, order, 1)
    return _pruned(every, most)


def _grown(
    level: _Nodes, parent: NDArray[np.int64], sign: NDArray[np.int64], signs: Sequence[str], row: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """What a child of a level is: a parent's number with one sign more."""
    digit = np.array([int(each) if each.isdecimal() else -1 for each in signs])[sign]
    digits, decimals, is_digit = level.digits[row, parent], level.decimals[row, parent], digit >= 0
    return (
        np.where(is_digit, digits * 10 + digit, digits),
        np.where(np.array([each == "." for each in signs])[sign], 0, decimals + (is_digit & (decimals >= 0))),
        level.count[row, parent] + is_digit,
        level.negative[row, parent] | np.array([each == "-" for each in signs])[sign],
        sign,
        parent,
    )


def _pruned(every: _Nodes, most: int) -> _Nodes:
    """The first `most` nodes; each other one gives its probability to the nearest of them with as many digits."""
    kept = _Nodes(*(getattr(every, each.name)[:, :most] for each in fields(_Nodes)))
    rest = _Nodes(*(getattr(every, each.name)[:, most:] for each in fields(_Nodes)))
    if not np.isfinite(rest.log_p).any():
        return kept
    alive = int(np.isfinite(rest.log_p).sum(1).max())
    rest = _Nodes(*(getattr(rest, each.name)[:, :alive] for each in fields(_Nodes)))
    apart = np.abs(rest.digits[:, :, None] - kept.digits[:, None, :])
    for name in ("count", "decimals", "negative"):
        apart[getattr(rest, name)[:, :, None] != getattr(kept, name)[:, None, :]] = np.inf
    apart[np.broadcast_to(~np.isfinite(kept.log_p)[:, None, :], apart.shape)] = np.inf
    nearest = apart.argmin(-1)
    given = np.where(np.isfinite(apart.min(-1)), np.exp(rest.log_p), 0.0)
    together = np.exp(kept.log_p)
    np.add.at(together, (np.arange(len(together))[:, None], nearest), given)
    with np.errstate(divide="ignore"):
        kept.log_p = np.log(together)
    return kept


class _Tree:
    """Which tokens of the cache each node sees: what was written before the number, and its own ancestors."""

    def __init__(self, answers: Answers, starts: Sequence[int | None]) -> None:
        self.answers, self.grown = answers, 0
        self.before = torch.stack([
            answers.sees(row, -1 if start is None else start - 1) for row, start in enumerate(starts)
        ])[:, None]  # fmt: skip
        first = [length + (start or 0) - 1 for length, start in zip(answers.lengths, starts, strict=True)]
        self.first = torch.tensor(first)[:, None]
        self.lineage: torch.Tensor | None = None

    def grow(self, ids_BQ: torch.Tensor, parent_BQ: NDArray[np.int64], depth: int) -> torch.Tensor:
        """One level's log probabilities [B, Q, vocabulary]."""
        rows, width = ids_BQ.shape
        own = torch.eye(width, dtype=torch.bool).expand(rows, -1, -1)
        if self.lineage is None:
            self.lineage = own
        else:
            picked = torch.from_numpy(parent_BQ)[..., None].expand(-1, -1, self.lineage.shape[-1])
            self.lineage = torch.cat([self.lineage.gather(1, picked), own], -1)
        self.grown += width
        sees = torch.cat([self.before.expand(-1, width, -1), self.lineage], -1)
        return self.answers.extend(ids_BQ, (self.first + depth).expand(-1, width), sees)


def _distribution(values: NDArray[np.float64], weights: NDArray[np.float64]) -> Distribution | None:
    """Equal numbers written in several ways (5, 5.0, 05) are one."""
    there = weights > 0
    if not there.any():
        return None
    once, place = np.unique(values[there] + 0.0, return_inverse=True)
    together = np.bincount(place, weights[there])
    return Distribution(once, together / together.sum(), float(min(together.sum(), 1.0)))
