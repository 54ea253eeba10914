"""Patterns on cloth: functions of a place on it (u, v, in frames) that give the share of a second colour, 0..1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating[Any]]
Pattern = Callable[[Field, Field], Field]


def noise(shape: tuple[int, ...], cells: int, seed: int) -> Field:
    """Smooth noise in 0..1 with about `cells` bumps along a side, the same for every size."""
    grid = np.random.default_rng(seed).random((cells, cells), dtype=np.float32)
    return np.asarray(Image.fromarray(grid).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _stripes(u: Field, v: Field) -> Field:
    return _edge(0.52 - np.abs(2 * ((v / 0.21) % 1) - 1), 0.21)


def _checks(u: Field, v: Field) -> Field:
    a = _edge(0.5 - np.abs(2 * ((u / 0.19) % 1) - 1), 0.19)
    b = _edge(0.5 - np.abs(2 * ((v / 0.19) % 1) - 1), 0.19)
    return 0.5 * (a + b)


def _dots(u: Field, v: Field) -> Field:
    row = np.floor(v / 0.14)
    s, t = (u / 0.165 + 0.5 * (row % 2)) % 1 - 0.5, (v / 0.14) % 1 - 0.5
    return _edge(0.061 - np.hypot(0.165 * s, 0.14 * t), 2.0)


def _edge(distance: Field, period: float) -> Field:
    """1 inside, 0 outside, with a border about two pixels soft at 336."""
    share: Field = np.clip(0.5 + distance * period / 0.012, 0, 1)
    return share


def _soft(distance: Field) -> Field:
    """1 where `distance`, in frames, is above 0, with the same soft border."""
    return _edge(distance, 1.0)


def _pinstripes(u: Field, v: Field) -> Field:
    return _soft(0.008 - np.abs((u / 0.095) % 1 - 0.5) * 0.095)


def _tartan(u: Field, v: Field) -> Field:
    broad = [np.abs((each / 0.30) % 1 - 0.5) * 0.30 for each in (u, v)]
    lines = [np.abs((each / 0.30 + 0.5) % 1 - 0.5) * 0.30 for each in (u, v)]
    ground = 0.32 * (_soft(0.050 - broad[0]) + _soft(0.050 - broad[1]))
    return np.maximum(ground, np.maximum(_soft(0.011 - lines[0]), _soft(0.011 - lines[1])))


def _flowers(u: Field, v: Field) -> Field:
    """Five-petalled flowers in two sizes, an eye in the cloth's own colour, a leaf between them."""
    share = np.zeros_like(u)
    for x, y, radius, turn in ((0.25, 0.27, 0.088, 0.3), (0.75, 0.73, 0.066, 1.0)):
        a, b = ((u / 0.25) % 1 - x) * 0.25, ((v / 0.25) % 1 - y) * 0.25
        away, angle = np.hypot(a, b), np.arctan2(b, a) + turn
        petals = radius * (0.62 + 0.38 * np.abs(np.cos(2.5 * angle))) - away
        share = np.maximum(share, np.minimum(_soft(petals), 1 - _soft(0.24 * radius - away)))
    for x, y, turn in ((0.78, 0.22, 0.7), (0.22, 0.78, -0.8)):
        a, b = ((u / 0.25) % 1 - x) * 0.25, ((v / 0.25) % 1 - y) * 0.25
        along, across = a * np.cos(turn) + b * np.sin(turn), b * np.cos(turn) - a * np.sin(turn)
        share = np.maximum(share, 0.55 * _soft(0.020 * (1 - (along / 0.042) ** 2) - np.abs(across)))
    return share


def _camouflage(u: Field, v: Field) -> Field:
    broad, fine = noise(u.shape, 17, 31), noise(u.shape, 19, 32)
    return np.clip(0.5 * _edge(broad - 0.47, 0.16) + 0.5 * _edge(fine - 0.55, 0.16), 0, 1)


def _leopard(u: Field, v: Field) -> Field:
    """Broken rings of several sizes around a darker heart."""
    row = np.floor(v / 0.10)
    a, b = ((u / 0.12 + 0.5 * (row % 2)) % 1 - 0.5) * 0.12, ((v / 0.10) % 1 - 0.5) * 0.10
    wobble = noise(u.shape, 60, 33)
    away, angle = np.hypot(a, b) + 0.030 * (wobble - 0.5), np.arctan2(b, a)
    gap = np.cos(2 * angle + 6.3 * noise(u.shape, 18, 34)) > -0.6
    ring = _soft(0.0115 - np.abs(away - 0.031)) * gap
    heart: Field = 0.4 * _soft(0.024 - away)
    return np.maximum(ring, heart)


def _zigzag(u: Field, v: Field) -> Field:
    way = v + 0.07 * np.abs(2 * ((u / 0.14) % 1) - 1)
    return _soft((0.25 - np.abs((way / 0.125) % 1 - 0.5)) * 0.125)


def _houndstooth(u: Field, v: Field) -> Field:
    a, b = (u / 0.15) % 1, (v / 0.15) % 1
    twill = ((a + b) * 4) % 2 < 1
    tooth = np.where((a < 0.5) & (b < 0.5), 1.0, np.where((a >= 0.5) & (b >= 0.5), 0.0, twill))
    return tooth.astype(u.dtype)


def _argyle(u: Field, v: Field) -> Field:
    a, b = np.abs((u / 0.20) % 1 - 0.5), np.abs((v / 0.30) % 1 - 0.5)
    lines = np.abs(((u / 0.20 + 0.5) % 1 - 0.5) - ((v / 0.30 + 0.5) % 1 - 0.5))
    diamond = 0.8 * _edge(0.44 - (a + b), 0.24)
    return np.maximum(diamond, 0.9 * _edge(0.02 - lines, 0.24))


def _blocks(u: Field, v: Field) -> Field:
    """The lower part in the second colour: what a product in two colours without a pattern looks like."""
    return _soft(v % 2 - 1.02)  # a frame's middle lies at 1


PATTERNS: dict[str, Pattern | None] = {
    "Plain": None,
    "Striped": _stripes,
    "Checked": _checks,
    "Dotted": _dots,
}
"""The patterns of invented catalogues."""

MORE_PATTERNS: dict[str, Pattern] = {
    "Pinstriped": _pinstripes,
    "Tartan": _tartan,
    "Floral": _flowers,
    "Camouflage": _camouflage,
    "Leopard": _leopard,
    "Zigzag": _zigzag,
    "Houndstooth": _houndstooth,
    "Argyle": _argyle,
    "Blocked": _blocks,
}
"""Those that rows of other tables name as well."""
