"""A number's distribution, by expansion: a tree of the digits that the model holds likely, level by level.

Phi-3's tokenizer keeps digits apart, so a number is a path of single digits, and its probability is the product along
its path and of the end behind it. The tree stands on the likeliest prefixes (hypotheses.py). Where a level has more
nodes than are kept, the others give their probability to the nearest kept number: with enough nodes the distribution
is exact, with few it is coarse, but never cut short at its tails.

Shapes: B rows, Q nodes of a level a row, S signs (digits, point, minus).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hangtag.prediction.hypotheses import Prefix
from hangtag.prediction.tree import Tree
from hangtag.reading import Distribution

NODES = 32
"""Most nodes kept on a level of a row's tree."""
LEAST = 1e-3
"""Least probability of a node that is followed: what lies below is mostly noise (docs/log.md)."""
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
    tree: Tree, prefixes: Sequence[Sequence[Prefix]], alphabet: Alphabet, nodes: int = NODES
) -> list[Distribution | None]:
    """The distribution of a number over all of a row's prefixes together.

    Args:
        prefixes: of each row, found in this tree.
        nodes: most that are kept on a level.

    Returns:
        None for a row without a prefix, and where no number at all was found likely.
    """
    signs = list(alphabet.signs)
    tokens = torch.tensor(list(alphabet.signs.values()))
    level, log_p_BQS, depth_BQ = _roots(prefixes, len(signs))
    held = np.exp(level.log_p).sum(1)
    level.log_p = level.log_p - np.log(np.maximum(held, np.finfo(float).tiny))[:, None]
    tree.stand_on([[each.lineage for each in row] for row in prefixes])
    leaves: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for _ in range(LEVELS):
        level = _children(level, log_p_BQS, signs, nodes)
        if not np.isfinite(level.log_p).any() or tree.room < level.log_p.shape[1]:
            break
        depth_BQ = np.take_along_axis(depth_BQ, level.parent, 1) + 1
        there = np.isfinite(level.log_p)
        grown = tree.grow(tokens[torch.from_numpy(level.sign)], level.parent, depth_BQ, there)
        ended = level.log_p + grown.spread(grown.log_p_MV[:, alphabet.enders].logsumexp(-1))
        leaves.append((np.where(level.can_end(), ended, -np.inf), level.values()))
        log_p_BQS = grown.spread(grown.log_p_MV[:, tokens.to(grown.log_p_MV.device)])
    if not leaves:
        return [None] * len(prefixes)
    weights = np.exp(np.concatenate([each for each, _ in leaves], 1))
    values = np.concatenate([each for _, each in leaves], 1)
    return [_distribution(*each) for each in zip(values, weights, held.tolist(), strict=True)]


def _roots(prefixes: Sequence[Sequence[Prefix]], signs: int) -> tuple[_Nodes, NDArray[np.float64], NDArray[np.int64]]:
    """The level on which the digits stand, what follows each of its nodes [B, Q, S], and their depths [B, Q]."""
    shape = (len(prefixes), max(1, *map(len, prefixes)))
    log_p, depth = np.full(shape, -np.inf), np.zeros(shape, np.int64)
    log_p_BQS = np.full((*shape, signs), -np.inf)
    for row, found in enumerate(prefixes):
        for place, prefix in enumerate(found):
            log_p[row, place], depth[row, place], log_p_BQS[row, place] = prefix.log_p, prefix.depth, prefix.signs_S
    whole, number = np.zeros(shape, np.int64), np.zeros(shape)
    return _Nodes(log_p, number, whole - 1, whole, whole.astype(bool), whole, whole), log_p_BQS, depth


def _children(level: _Nodes, log_p_BQS: NDArray[np.float64], signs: Sequence[str], nodes: int) -> _Nodes:
    """The likeliest continuations of a level, at most `nodes` a row, in a fixed order."""
    with np.errstate(invalid="ignore"):
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


def _distribution(values: NDArray[np.float64], weights: NDArray[np.float64], held: float) -> Distribution | None:
    """Equal numbers written in several ways (5, 5.0, 05) are one. `held` is the probability of the prefixes."""
    there = weights > 0
    if not there.any():
        return None
    once, place = np.unique(values[there] + 0.0, return_inverse=True)
    together = np.bincount(place, weights[there])
    return Distribution(once, together / together.sum(), float(min(together.sum() * held, 1.0)))
