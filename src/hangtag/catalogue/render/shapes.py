"""Outlines as arrays of points: curves, ribbons, ellipses, stars. The frame is the unit square, y downwards."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating[Any]]
Outline = Sequence[Sequence[float]] | Points


@lru_cache(maxsize=8)
def _hermite(steps: int) -> Points:
    """(steps, 4): the weights of start, its tangent, end, its tangent along a cubic."""
    t = np.linspace(0, 1, steps, endpoint=False)
    cubic = [2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, 3 * t**2 - 2 * t**3, t**3 - t**2]
    return np.stack(cubic, 1).astype(np.float32)


def curve(points: Outline, closed: bool = True, steps: int = 8) -> Points:
    """A cubic Hermite spline through `points` (N, 2 or 3); a third number marks a corner: (x, y, 0)."""
    p = np.array([each[:2] for each in points], np.float32)
    ahead, behind = np.concatenate([p[1:], p[:1]]), np.concatenate([p[-1:], p[:-1]])
    if not closed:
        ahead[-1], behind[0] = p[-1], p[0]
    leave = (ahead - behind) / 2
    arrive = leave.copy()
    for i, each in enumerate(points):
        if len(each) > 2:
            leave[i], arrive[i] = ahead[i] - p[i], p[i] - behind[i]
    arrive = np.concatenate([arrive[1:], arrive[:1]])
    path = _hermite(steps) @ np.stack([p, leave, ahead, arrive], 1)
    return path.reshape(-1, 2) if closed else np.concatenate([path[:-1].reshape(-1, 2), p[-1:]])


def flip(points: Outline, axis: float = 0.5) -> Points:
    """`points` mirrored about the upright line x = `axis`."""
    p = np.array(points, np.float32)
    p[:, 0] = 2 * axis - p[:, 0]
    return p


def moved(points: Points, x: float, y: float) -> Points:
    """`points` shifted by (x, y)."""
    return points + np.array([x, y], np.float32)


def scaled_about(points: Points, x: float, y: float, factor: float) -> Points:
    """`points` drawn towards (x, y), or away from it where `factor` is above 1."""
    middle = np.array([x, y], np.float32)
    return middle + factor * (points - middle)


def both(right: Outline, steps: int = 8) -> Points:
    """A closed symmetric outline from its right half, given from the top down; points on the axis come once."""
    left = [(1 - each[0], *each[1:]) for each in reversed(list(right)) if each[0] != 0.5]
    return curve([*right, *left], steps=steps)


def ribbon(points: Outline, width: float | tuple[float, float]) -> Points:
    """The outline of a band of `width` (one number, or one each at the start and the end) along an open line."""
    p = np.asarray(points, np.float32)
    across = _normals(p)
    if isinstance(width, tuple):
        across *= np.linspace(width[0] / 2, width[1] / 2, len(p), dtype=np.float32)[:, None]
    else:
        across *= width / 2
    return np.concatenate([p + across, (p - across)[::-1]])


def _normals(p: Points) -> Points:
    """(N, 2): unit vectors across an open line of N points."""
    across = np.empty_like(p)
    across[1:-1] = p[2:] - p[:-2]
    across[0], across[-1] = p[1] - p[0], p[-1] - p[-2]
    across = across[:, ::-1] / np.maximum(np.hypot(across[:, :1], across[:, 1:]), 1e-6)
    across[:, 0] *= -1
    return across


@lru_cache(maxsize=256)
def _circle(start: float, end: float, count: int) -> Points:
    """(count, 2): points on the unit circle from `start` to `end` degrees; a whole turn does not repeat its start."""
    t = np.radians(np.linspace(start, end, count, endpoint=end - start < 360))
    return np.stack([np.cos(t), np.sin(t)], 1).astype(np.float32)


def ellipse(x: float, y: float, rx: float, ry: float | None = None, count: int = 32) -> Points:
    """An ellipse about (x, y)."""
    radii = np.array([rx, rx if ry is None else ry], np.float32)
    return _circle(0, 360, count) * radii + np.array([x, y], np.float32)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, count: int = 24) -> Points:
    """An open arc about (x, y) from `start` to `end` degrees (0 is right, 90 is down)."""
    return _circle(start, end, count) * np.array([rx, ry], np.float32) + np.array([x, y], np.float32)


def box(left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> Points:
    """A rectangle with round corners."""
    if radius <= 0:
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    corners = [(right, bottom, 0), (left, bottom, 90), (left, top, 180), (right, top, 270)]
    return np.concatenate(
        [
            arc(
                x + (radius if x == left else -radius),
                y + (radius if y == top else -radius),
                radius,
                radius,
                a,
                a + 90,
                7,
            )
            for x, y, a in corners
        ]
    )


def star(x: float, y: float, radius: float, tips: int = 5) -> Points:
    """A star about (x, y), one tip up."""
    t = np.arange(2 * tips) * np.pi / tips - np.pi / 2
    r = np.where(np.arange(2 * tips) % 2, 0.45 * radius, radius)
    return np.stack([x + r * np.cos(t), y + r * np.sin(t)], 1).astype(np.float32)


def spaced(points: Outline, step: float) -> Points:
    """Points every `step` along an open line."""
    p = np.asarray(points, np.float32)
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(p, axis=0).T))])
    at = np.arange(0, length[-1], step)
    return np.stack([np.interp(at, length, p[:, 0]), np.interp(at, length, p[:, 1])], 1).astype(np.float32)
