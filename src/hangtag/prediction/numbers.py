"""A number's distribution, by expansion: a tree of the digits that the model holds likely, level by level.

Phi-3's tokenizer keeps digits apart, so a number is a path of single digits, and its probability is the product along
its path and of the end behind it. The tree stands on the likeliest prefixes (hypotheses.py). Numbers of a level that
lie close together are one node, the likeliest of them; where there are more than are kept, the others give their
probability to the nearest kept one. With enough nodes and no such closeness the distribution is exact, else it is
coarse, but never cut short at its tails.

Shapes: Q nodes of a level, S signs (digits, point, minus).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hangtag.prediction.hypotheses import Prefix
from hangtag.prediction.nodes import Node, Program
from hangtag.prediction.writing import Row
from hangtag.reading import Distribution

NODES = 32
"""Most nodes kept on a level of a row's tree."""
LEAST = 1e-3
"""Least probability of a node that is followed: what lies below is mostly noise (docs/log.md)."""
CLOSE = 0.02
"""Numbers as many digits long and no further apart than this share are one node (docs/log.md)."""
LEVELS = 12
DECIMALS = 2
_MANTISSA = 15


@dataclass(frozen=True)
class Alphabet:
    """The tokens a number is made of, by the sign each stands for, and those that can end it."""

    signs: dict[str, int]
    enders: tuple[int, ...]


@dataclass
class _Nodes:
    """A level of a row's tree.

    digits and decimals give the number so far, digits / 10 ** decimals; decimals is -1 before the point. `parent` is a
    place in the level before, `sign` what stands behind it.
    """

    log_p: NDArray[np.float64]
    digits: NDArray[np.float64]
    decimals: NDArray[np.int64]
    count: NDArray[np.int64]
    negative: NDArray[np.bool_]
    parent: NDArray[np.int64]
    sign: NDArray[np.int64]

    def at(self, which: NDArray[np.int64] | slice) -> _Nodes:
        return _Nodes(*(each[which] for each in vars(self).values()))

    def values(self) -> NDArray[np.float64]:
        size = self.digits / 10.0 ** np.maximum(self.decimals, 0)
        return np.where(self.negative, -size, size)

    def can_end(self) -> NDArray[np.bool_]:
        """Whether a number may end here: it has a digit, and one behind the point where it has that."""
        return np.asarray((self.count > 0) & (self.decimals != 0))


class Numbers:
    """Finds one number field's distribution.

    Args:
        every: all signs that the decoder tells of, by what each stands for.
        nodes: most that are kept on a level.
        close: the share by which numbers of one node may differ; 0 keeps all apart.
    """

    def __init__(self, alphabet: Alphabet, every: Sequence[str], nodes: int = NODES, close: float = CLOSE) -> None:
        self.alphabet, self.nodes, self.close = alphabet, nodes, close
        self.signs = list(alphabet.signs)
        self.told = [every.index(each) for each in self.signs]
        self._tokens = list(alphabet.signs.values())
        self._digit = np.array([int(each) if each.isdecimal() else -1 for each in self.signs])
        self._is_point, self._is_minus = (np.array([each == sign for each in self.signs]) for sign in ".-")

    def distribution(self, row: Row, prefixes: Sequence[Prefix]) -> Program[Distribution | None]:
        """The distribution of a number over all of a row's prefixes together.

        None without a prefix, and where no number at all was found likely.
        """
        if not prefixes:
            return None
        log_p = np.array([each.log_p for each in prefixes])
        held = float(np.exp(log_p).sum())
        whole = np.zeros(len(prefixes), np.int64)
        level = _Nodes(log_p - np.log(held), whole.astype(float), whole - 1, whole, whole.astype(bool), whole, whole)
        log_p_QS = np.stack([each.signs_S for each in prefixes])
        sees = [each.sees for each in prefixes]
        leaves: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        for _ in range(LEVELS):
            level = self._children(level, log_p_QS)
            sees = [sees[parent] | row.new_place() for parent in level.parent.tolist()]
            if not sees or max(each.bit_count() for each in sees) > row.longest_sequence:
                break
            signs = [self._tokens[sign] for sign in level.sign.tolist()]
            after = yield [Node(*each, enders=self.alphabet.enders) for each in zip(signs, sees, strict=True)]
            ended = level.can_end()
            leaves.append((level.values()[ended], (level.log_p + after.enders)[ended]))
            log_p_QS = after.signs[:, self.told]
        if not leaves:
            return None
        values, weights = (np.concatenate(each) for each in zip(*leaves, strict=True))
        return _distribution(values, np.exp(weights), held)

    def _children(self, level: _Nodes, log_p_QS: NDArray[np.float64]) -> _Nodes:
        """The likeliest continuations of a level, at most `nodes`, in a fixed order."""
        no_digit = (level.decimals >= DECIMALS) | (level.count >= _MANTISSA)
        no_point = level.decimals >= 0
        no_minus = no_point | (level.count > 0) | level.negative
        barred_QS = np.where(self._is_point, no_point[:, None], no_digit[:, None])
        barred_QS = np.where(self._is_minus, no_minus[:, None], barred_QS)
        log_p = (level.log_p[:, None] + log_p_QS).ravel()
        likely = np.flatnonzero((log_p >= np.log(LEAST)) & ~barred_QS.ravel())
        order = likely[np.argsort(-log_p[likely], kind="stable")]
        parent, sign = np.divmod(order, len(self.signs))
        digit = self._digit[sign]
        digits, decimals, is_digit = level.digits[parent], level.decimals[parent], digit >= 0
        every = _Nodes(
            log_p[order],
            np.where(is_digit, digits * 10 + digit, digits),
            np.where(self._is_point[sign], 0, decimals + (is_digit & (decimals >= 0))),
            level.count[parent] + is_digit,
            level.negative[parent] | self._is_minus[sign],
            parent,
            sign,
        )
        return _pruned(_joined(every, self.close) if self.close else every, self.nodes)


def _joined(every: _Nodes, close: float) -> _Nodes:
    """Numbers in one band of a logarithmic scale, and alike in form, as the likeliest of them; the likeliest first."""
    band = np.floor(np.log(np.maximum(every.digits, 1)) / np.log1p(close)).astype(np.int64)
    form = (every.count * (DECIMALS + 2) + every.decimals + 1) * 2 + every.negative
    _, first, place = np.unique(form * (band.max(initial=0) + 1) + band, return_index=True, return_inverse=True)
    together = np.log(np.bincount(place, np.exp(every.log_p)))
    order = np.argsort(-together, kind="stable")
    joined = every.at(first[order])
    joined.log_p = together[order]
    return joined


def _pruned(every: _Nodes, most: int) -> _Nodes:
    """The first `most` nodes; each other one gives its probability to the nearest of them with as many digits."""
    kept, rest = every.at(slice(most)), every.at(slice(most, None))
    if not len(rest.log_p):
        return kept
    apart = np.abs(rest.digits[:, None] - kept.digits)
    for name in ("count", "decimals", "negative"):
        apart[getattr(rest, name)[:, None] != getattr(kept, name)] = np.inf
    alike = np.isfinite(apart.min(1))
    given = np.bincount(apart.argmin(1)[alike], np.exp(rest.log_p[alike]), len(kept.log_p))
    kept.log_p = np.log(np.exp(kept.log_p) + given)
    return kept


def _distribution(values: NDArray[np.float64], weights: NDArray[np.float64], held: float) -> Distribution | None:
    """Equal numbers written in several ways (5, 5.0, 05) are one. `held` is the probability of the prefixes."""
    there = weights > 0
    if not there.any():
        return None
    once, place = np.unique(values[there] + 0.0, return_inverse=True)
    together = np.bincount(place, weights[there])
    return Distribution(once, together / together.sum(), float(min(together.sum() * held, 1.0)))
