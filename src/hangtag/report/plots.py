"""Drawings as inline SVG: learning curve, scatter of numbers, confusion matrix.

Colours come from the page's style through classes, so a drawing reads in light and dark; every dot and cell says
in a tooltip what it is. Text is escaped by markupsafe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from hangtag.evaluation.metrics import confusion, show_amount
from hangtag.reading import LARGEST
from hangtag.report.svg import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Axis,
    Floats,
    axis,
    drawing,
    element,
    grid,
    path,
)

BAND = 0.2
MOST_LABELS = 60
OTHERS = "(all others)"
_MOST_POINTS = 400
_LETTERS = 28


def learning_curve(log: Sequence[dict[str, Any]]) -> Markup | None:
    """Training and validation loss by step, from log.jsonl's records; None where it holds fewer than two losses."""
    curves = {name: _curve(log, key) for name, key in (("train", "loss"), ("validation", "validation_loss"))}
    points = np.array([point for curve in curves.values() for point in curve])
    if len(points) < 2 or len(set(points[:, 0])) < 2:
        return None
    x = Axis(float(points[:, 0].min()), float(points[:, 0].max()), LEFT, RIGHT, False)
    y = axis(
        points[:, 1], BOTTOM, TOP, log=bool(points[:, 1].min() > 0 and points[:, 1].max() > 8 * points[:, 1].min())
    )
    drawn = list(grid(x, y, "step", "loss"))
    for name, curve in curves.items():
        drawn.append(element("path", class_=f"line {name}", d=path((x(step), y(loss)) for step, loss in curve)))
        if name == "validation" or len(curve) == 1:
            drawn += [
                element("circle", element("title", f"{name} loss {loss:.4g} at step {step:,.0f}"), class_=f"dot {name}",
                        cx=x(step), cy=y(loss), r=3.5)
                for step, loss in curve
            ]  # fmt: skip
    last = {name: curve[-1][1] for name, curve in curves.items() if curve}
    title = "Learning curve; last " + ", ".join(f"{name} loss {loss:.3g}" for name, loss in last.items())
    return drawing(title, *drawn)


def _curve(log: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    """Steps and finite losses in order, the last record of a step; neighbours averaged where there are very many."""
    found = {
        each["step"]: float(each[key]) for each in log if "step" in each and math.isfinite(each.get(key, math.nan))
    }
    points = np.array(sorted(found.items()))
    if len(points) > _MOST_POINTS:
        points = np.array([part.mean(0) for part in np.array_split(points, _MOST_POINTS)])
    return [(float(step), float(loss)) for step, loss in points]


def scatter(
    name: str,
    truths: Sequence[float],
    written: Sequence[float],
    labels: Sequence[str],
    places: Sequence[int] | None = None,
    reach: Sequence[float] = (),
) -> Markup:
    """Written against true numbers with a band of +-20 %; log axes where every true number is above zero.

    Args:
        labels: what a dot's tooltip begins with.
        places: the rows' places among the page's cards, so that its script can show them.
        reach: other numbers that the axes should hold, where they lie near the true ones.
    """
    truths, written, reach = (
        np.clip(np.array([*each], float), -LARGEST, LARGEST).tolist() for each in (truths, written, reach)
    )
    scale = _square(np.array(truths), [*written, *reach])
    x, y = scale, Axis(scale.low, scale.high, BOTTOM, TOP, scale.log)
    frame = f"frame-{_id(name)}"
    inside = element("rect", x=LEFT, y=TOP, width=RIGHT - LEFT, height=BOTTOM - TOP)
    drawn = [
        element("clipPath", inside, id=frame),
        element("path", class_="band", d=_band(x, y), clip_path=f"url(#{frame})"),
        *grid(x, y, f"true {name}", f"written {name}"),
        element("line", class_="diagonal", x1=x(x.low), y1=y(x.low), x2=x(x.high), y2=y(x.high)),
        *(element("path", class_=f"spans {side}", d="", clip_path=f"url(#{frame})") for side in ("inside", "outside")),
    ]
    dots = []
    for index, (true, value, label) in enumerate(zip(truths, written, labels, strict=True)):
        near = "near" if abs(value - true) <= BAND * abs(true) else "far"
        tip = escape(f"{label}: true {show_amount(true)}, written {show_amount(value)}")
        place = f' data-place="{places[index]}"' if places else ""
        at = f'cx="{x(true):.1f}" cy="{y(value):.1f}" r="3"'
        dots.append(f'<circle class="dot {near}" {at}{place}><title>{tip}</title></circle>')
    ends = {"low": x.low, "high": x.high, "log": int(x.log), "top": TOP, "bottom": BOTTOM}
    data: dict[str, Any] = {f"data-{key}": repr(value) for key, value in ends.items()}
    kind = "log axes" if x.log else "linear axes"
    title = f"Written against true {name}, {len(truths)} rows, {kind}, with a band of 20 percent"
    return drawing(title, *drawn, Markup("".join(dots)), class_="scatter", **data)


def _square(truth: Floats, others: Sequence[float]) -> Axis:
    """The axis of both directions: around the true numbers, and as far as others lie near them."""
    scale = axis(truth, LEFT, RIGHT, log=True)
    if not scale.log:
        return scale
    inside = [value for value in others if scale.low / 3 < value < scale.high * 3]
    return axis(np.array([*truth, *inside]), LEFT, RIGHT, log=True)


def _band(x: Axis, y: Axis) -> str:
    """The path of the numbers within 20 % of the true one."""
    ends = np.geomspace(x.low, x.high, 2) if x.log else np.linspace(x.low, x.high, 41)
    upper = [(x(end), _free(y, end * (1 + BAND))) for end in ends]
    return path(upper + [(x(end), _free(y, end * (1 - BAND))) for end in ends[::-1]]) + "Z"


def _free(axis: Axis, value: float) -> float:
    """A place that may lie outside the frame, where a clip path cuts it."""
    if not axis.log:
        return axis.start + (value - axis.low) / (axis.high - axis.low) * (axis.end - axis.start)
    return axis.start + math.log(value / axis.low) / math.log(axis.high / axis.low) * (axis.end - axis.start)


def _id(name: str) -> str:
    return "".join(each if each.isalnum() else f"-{ord(each)}-" for each in name)


def pooled(truths: Sequence[str], written: Sequence[str | None]) -> tuple[list[str], list[str], list[str | None]]:
    """Labels for a matrix, at most MOST_LABELS: beyond that the least frequent true ones are pooled as OTHERS."""
    known = set(truths)
    if len(known) <= MOST_LABELS:
        return sorted(known), list(truths), list(written)
    count = {label: sum(each == label for each in truths) for label in known}
    kept = set(sorted(known, key=lambda label: (-count[label], label))[: MOST_LABELS - 1])

    def pool(label: str | None) -> str | None:
        return label if label in kept or label not in known else OTHERS

    return [*sorted(kept), OTHERS], [str(pool(each)) for each in truths], [pool(each) for each in written]


def confusion_matrix(name: str, truths: Sequence[str], written: Sequence[str | None]) -> Markup:
    """True categories down, written ones across, shaded by the share of the true category's rows."""
    labels, truths, written = pooled(truths, written)
    counts = confusion(truths, written, labels)
    across = [*labels, *(["(none of these)"] if counts[:, -1].any() else [])]
    side = 34 if len(labels) <= 14 else 26 if len(labels) <= 24 else 14
    room = 14 + 7.4 * min(max(map(len, across)), _LETTERS)
    drawn = []
    for row, label in enumerate(labels):
        drawn.append(
            element("text", _cut(label), class_="tick", x=room - 6, y=room + side * (row + 0.5) + 4, text_anchor="end")
        )
        total = max(int(counts[row].sum()), 1)
        for column, other in enumerate(across):
            count = int(counts[row, column])
            drawn += _cell(room + side * column, room + side * row, side, count, total, label, other)
    for column, other in enumerate(across):
        place = f"translate({room + side * (column + 0.5) + 4:.1f} {room - 6:.1f}) rotate(-90)"
        drawn.append(element("text", _cut(other), class_="tick", transform=place))
    width, height = room + side * len(across) + 6, room + side * len(labels) + 6
    right = int(np.trace(counts[:, :-1]))
    title = f"Confusion matrix of {name}: true categories down, written ones across; {right} of {len(truths)} right"
    return drawing(title, *drawn, width=width, height=height, style=f"width:{width:.0f}px", class_="matrix")


def _cell(x: float, y: float, side: int, count: int, total: int, true: str, written: str) -> list[Markup]:
    if not count:
        return [element("rect", class_="cell", x=x, y=y, width=side - 1, height=side - 1)]
    tip = element("title", f"true {true}, written {written}: {count} of {total}")
    shade = 0.12 + 0.88 * count / total
    kind = "right" if true == written else "wrong"
    style = f"fill-opacity:{shade:.2f}"
    drawn = [element("rect", tip, class_=f"cell {kind}", style=style, x=x, y=y, width=side - 1, height=side - 1)]
    if side > 14:
        ink = "count full" if shade > 0.6 else "count"
        drawn.append(element("text", count, class_=ink, x=x + side / 2, y=y + side / 2 + 4, text_anchor="middle"))
    return drawn


def _cut(label: str) -> str:
    """A label short enough for a matrix; its middle goes first, since paths differ at the end."""
    return label if len(label) <= _LETTERS else f"{label[:9]}…{label[10 - _LETTERS :]}"


def mix_ups(truths: Sequence[str], written: Sequence[str | None], at_most: int = 10) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: true category, written one, and how often; unreadable answers are not among them."""
    counts: dict[tuple[str, str], int] = {}
    for true, other in zip(truths, written, strict=True):
        if other is not None and true != other:
            counts[true, other] = counts.get((true, other), 0) + 1
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return [(true, other, count) for (true, other), count in ranked[:at_most]]
