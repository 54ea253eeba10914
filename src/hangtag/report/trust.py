"""Drawings of how far a model's own doubt can be believed: coverage, reliability, and answering only when sure.

Both axes are shares, shown in percent; each drawing is square in them, so that the diagonal is what was promised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hangtag.report.svg import BOTTOM, LEFT, RIGHT, TOP, Axis, drawing, element, grid, path
from hangtag.report.words import share

_ROOM = 0.03


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _axes(low_x: float, low_y: float) -> tuple[Axis, Axis]:
    """Shares from a round number below the lowest to 1, with a little room for dots at the ends."""
    low_x, low_y = (np.floor(10 * max(each, 0) + 1e-9) / 10 for each in (min(low_x, 0.9), min(low_y, 0.9)))
    x = Axis(float(low_x) - _ROOM * (1 - low_x), 1 + _ROOM * (1 - low_x), LEFT, RIGHT, False)
    return x, Axis(float(low_y) - _ROOM * (1 - low_y), 1 + _ROOM * (1 - low_y), BOTTOM, TOP, False)


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> list[Markup]:
    return list(grid(x, y, x_label, y_label, write=_percent))


def _diagonal(x: Axis, y: Axis) -> Markup:
    low = max(x.low, y.low, 0)
    return element("line", class_="diagonal", x1=x(low), y1=y(low), x2=x(1), y2=y(1))


def _whisker(x: float, y: Axis, score: Mapping[str, float]) -> Markup:
    return element("line", class_="error", x1=x, x2=x, y1=y(score["low"]), y2=y(score["high"]))


def coverage(name: str, by_level: Sequence[Mapping[str, Any]]) -> Markup:
    """The share of true numbers inside intervals against the share that was asked for, with 95 % intervals."""
    levels = [each["level"] for each in by_level]
    low = min([*levels, *(each["coverage"]["low"] for each in by_level)])
    x, y = _axes(low, low)
    drawn = [*_frame(x, y, "asked for", "found"), _diagonal(x, y)]
    points = [(x(each["level"]), y(each["coverage"]["value"])) for each in by_level]
    drawn += [_whisker(place, y, each["coverage"]) for (place, _), each in zip(points, by_level, strict=True)]
    drawn.append(element("path", class_="line validation", d=path(points)))
    for (across, up), each in zip(points, by_level, strict=True):
        tip = element("title", f"asked for {share(each['level'], 1)}: found {share(each['coverage']['value'], 1)}")
        drawn.append(element("circle", tip, class_="dot validation", cx=across, cy=up, r=4))
    return drawing(f"Coverage of the intervals of {name} at {len(by_level)} levels, against the diagonal", *drawn)


def reliability(name: str, bins: Sequence[Mapping[str, Any]]) -> Markup:
    """The share of right answers against the confidence in them; a dot's area is its number of rows."""
    x, y = _axes(0, 0)
    drawn = [*_frame(x, y, "confidence", "right"), _diagonal(x, y)]
    most = max(each["rows"] for each in bins)
    for each in bins:
        across, up = x(each["confidence"]), y(each["right"]["value"])
        rows = f"{each['rows']:,} {'row' if each['rows'] == 1 else 'rows'}"
        told = f"{rows} with {share(each['confidence'], 1)} on average: {share(each['right']['value'], 1)} right"
        radius = 3 + 8 * (each["rows"] / most) ** 0.5
        drawn.append(_whisker(across, y, each["right"]))
        tip = element("title", told)
        drawn.append(element("circle", tip, class_="dot bin", cx=across, cy=up, r=float(radius)))
    return drawing(f"Share of right {name} by confidence, {len(bins)} groups of rows, against the diagonal", *drawn)


def kept(name: str, steps: Sequence[Mapping[str, Any]]) -> Markup:
    """The share of right answers where only the surest share is kept, with its 95 % band."""
    x, y = _axes(0, min(each["right"]["low"] for each in steps))
    drawn = _frame(x, y, "answers kept, the surest first", "right")
    upper = [(x(each["share"]), y(each["right"]["high"])) for each in steps]
    lower = [(x(each["share"]), y(each["right"]["low"])) for each in steps]
    drawn.append(element("path", class_="band", d=path([*upper, *lower[::-1]]) + "Z"))
    points = [(x(each["share"]), y(each["right"]["value"])) for each in steps]
    drawn.append(element("path", class_="line validation", d=path(points)))
    for (across, up), each in zip(points, steps, strict=True):
        told = f"{share(each['share'], 1)} kept ({each['rows']:,}): {share(each['right']['value'], 1)} right"
        tip = element("title", f"{told}, confidence at least {share(each['least_confidence'], 1)}")
        drawn.append(element("circle", tip, class_="dot validation", cx=across, cy=up, r=3.5))
    ends = " to ".join(share(steps[end]["right"]["value"], 1) for end in (-1, 0))
    return drawing(f"Share of right {name} by share of answers kept, from {ends}", *drawn)
