"""A product nobody has drawn: a shape of its own for every name, the same wherever the name occurs.

It is made like an object that somebody designed: a symmetric body, now and then on legs, castors or a foot, with grips,
a lid or a spout, a front panel and openings; all of them follow from the SHA-256 of the name.
"""

# fmt: off

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.fittings import handle
from hangtag.catalogue.render.palette import INK, scaled
from hangtag.catalogue.render.shapes import Points, arc, both, box, curve, ellipse, flip, moved, scaled_about, star

LEVELS = 5  # heights at which a body has a width of its own


@dataclass(frozen=True)
class Plan:
    """What a name decides: the body's half widths from top to bottom and which of them are corners, and its parts."""

    top: float
    low: float
    widths: tuple[float, ...]
    corners: tuple[bool, ...]
    above: int
    beside: int
    below: int
    openings: int
    panel: int
    reach: float
    place: float

    @classmethod
    def of(cls, name: str) -> Plan:
        """The plan of a name; names that differ give different numbers."""
        parts = iter(hashlib.sha256(name.encode("utf-8", "replace")).digest())

        def pick(values: Sequence[float]) -> float:
            return values[next(parts) * len(values) // 256]

        widths = [pick((0.10, 0.16, 0.22, 0.28, 0.34)) for _ in range(LEVELS)]
        widths[1:-1] = [max(width, 0.13) for width in widths[1:-1]]
        widths[int(pick(range(1, LEVELS)))] = pick((0.26, 0.32, 0.37))
        return cls(
            widths=tuple(widths),
            corners=tuple(next(parts) < 100 for _ in range(LEVELS)),
            top=0.20 + 0.12 * next(parts) / 255,
            low=0.70 + 0.14 * next(parts) / 255,
            above=int(pick(range(6))),
            beside=int(pick(range(6))),
            below=int(pick(range(5))),
            openings=int(pick(range(7))),
            panel=int(pick(range(6))),
            reach=0.6 + 0.4 * next(parts) / 255,
            place=next(parts) / 255,
        )

    def outline(self) -> Points:
        """The body, closed; its right half comes first."""
        right: list[tuple[float, ...]] = [(0.5, self.top)]
        for y, width, corner in zip(np.linspace(self.top, self.low, LEVELS), self.widths, self.corners, strict=True):
            right.append((0.5 + width, y, 0) if corner else (0.5 + width, y))
        return both([*right, (0.5, self.low)])

    def width_at(self, y: float) -> float:
        """Half of the body's least width from a little above y to a little below."""
        outline = self.outline()
        near = outline[(outline[:, 0] > 0.5) & (np.abs(outline[:, 1] - y) < 0.05)]
        return float(near[:, 0].min()) - 0.5 if len(near) else min(self.widths)


def own_shape(canvas: Canvas, name: str) -> None:
    """Draw the product that `name` stands for."""
    plan = Plan.of(name)
    _above(canvas, plan)
    _beside(canvas, plan)
    _below(canvas, plan)
    body = plan.outline()
    canvas.cloth(body, 135)
    for part in (0.28, 0.72):
        y = plan.top + part * (plan.low - plan.top)
        half = plan.width_at(y) - 0.03
        canvas.seam(curve([(0.5 - half, y), (0.5, y + 0.018), (0.5 + half, y)], closed=False), 80, 0.009)
    heights = np.linspace(plan.top, plan.low, LEVELS)
    for side in (-1, 1):
        line = [(0.5 + side * 0.72 * width, y) for y, width in zip(heights, plan.widths, strict=True)][1:-1]
        canvas.fold(line, 0.4, 0.05)
    _panel(canvas, plan)
    _openings(canvas, plan)


def _above(canvas: Canvas, plan: Plan) -> None:
    """A loop, a lid with a knob, a stack of discs, a nozzle, or a dome, above the body; or nothing."""
    top, wide = plan.top, plan.widths[0]
    if plan.above == 1:
        handle(canvas, arc(0.5, top + 0.03, 0.7 * wide + 0.03, 0.14 * plan.reach + 0.05, 180, 360), 0.042)
    elif plan.above == 2:
        canvas.solid(box(0.46, top - 0.09, 0.54, top + 0.05, 0.01), canvas.deep(0.55), 130)
        canvas.cloth(ellipse(0.5, top - 0.09, 0.05 + 0.03 * plan.reach, 0.045), 190)
    elif plan.above == 3:
        for step, half in ((0.03, 0.14), (0.075, 0.095), (0.12, 0.05)):
            canvas.cloth(box(0.5 - half, top - step - 0.01, 0.5 + half, top - step + 0.05, 0.02), 120, 0.9)
    elif plan.above == 4:
        canvas.solid(box(0.465, top - 0.12, 0.535, top + 0.05, 0.01), canvas.deep(0.55), 130)
        out = 0.12 + 0.08 * plan.reach
        canvas.cloth(curve([(0.44, top - 0.155, 0), (0.56, top - 0.155, 0), (0.5 + out, top - 0.12, 0),
                            (0.5 + out, top - 0.085, 0), (0.56, top - 0.095, 0), (0.44, top - 0.095, 0)]), 160, 0.9)
    elif plan.above == 5:
        half = 0.6 * wide + 0.03
        canvas.solid(arc(0.5, top + 0.03, half, 0.10 + 0.07 * plan.reach, 180, 360), canvas.deep(0.8), 120, 60)


def _beside(canvas: Canvas, plan: Plan) -> None:
    """Two grips, fins, one grip, a spout and a grip, or knobs, at some height of the body; or nothing."""
    y = plan.top + (0.25 + 0.5 * plan.place) * (plan.low - plan.top)
    edge = 0.5 + plan.width_at(y)
    out = min(0.93 - edge, 0.08 + 0.10 * plan.reach)
    grip = arc(edge - 0.06, y, out + 0.04, 0.75 * out + 0.07, -115, 115)
    if plan.beside in (1, 3):
        handle(canvas, grip, 0.045)
    if plan.beside in (1, 4):
        handle(canvas, flip(grip), 0.045)
    if plan.beside == 2:
        fin = curve([(edge - 0.05, y - 0.06, 0), (edge + 0.4 * out, y - 0.03), (edge + out, y + 0.10, 0),
                     (edge + 0.5 * out, y + 0.09), (edge - 0.05, y + 0.12, 0)])
        canvas.cloth(fin, 105, 0.9)
        canvas.cloth(flip(fin), 105, 0.9)
    elif plan.beside == 4:
        spout = curve([(edge - 0.05, y + 0.08, 0), (edge + 0.5 * out, y), (edge + out, y - 0.13, 0),
                       (edge + 0.55 * out, y - 0.10, 0), (edge + 0.2 * out, y - 0.04), (edge - 0.05, y - 0.05, 0)])
        canvas.cloth(spout, 115, 0.92)
    elif plan.beside == 5:
        half = 0.05 + 0.03 * plan.reach
        knob = box(edge - 0.03, y - half, edge + 0.055, y + half, 0.02)
        for turned in (False, True):
            canvas.solid(flip(knob) if turned else knob, canvas.deep(0.6), 120, 40)


def _below(canvas: Canvas, plan: Plan) -> None:
    """A foot plate, legs, castors, or a stem with a foot, under the body; or nothing."""
    low, wide = plan.low, plan.widths[-1]
    if plan.below == 1:
        canvas.solid(box(0.5 - wide - 0.05, low - 0.02, 0.5 + wide + 0.05, low + 0.055, 0.02), canvas.deep(0.6), 120)
    elif plan.below == 2:
        leg = [(0.5 + 0.35 * wide, low - 0.04), (0.5 + 0.75 * wide, low - 0.04), (0.53 + wide, low + 0.11),
               (0.5 + wide, low + 0.11)]
        canvas.solid(leg, canvas.deep(0.6), 110)
        canvas.solid(flip(leg), canvas.deep(0.6), 110)
    elif plan.below == 3:
        for side in (-1, 1):
            x = 0.5 + side * 0.75 * wide
            canvas.solid(box(x - 0.02, low - 0.05, x + 0.02, low + 0.05), canvas.deep(0.55), 110)
            canvas.solid(ellipse(x, low + 0.06, 0.036), INK, 140, 40)
    elif plan.below == 4:
        canvas.solid(box(0.47, low - 0.03, 0.53, low + 0.07), canvas.deep(0.55), 110)
        canvas.cloth(arc(0.5, low + 0.10, 0.10 + 0.08 * plan.reach, 0.055, 180, 360), 140, 0.9)


def _panel(canvas: Canvas, plan: Plan) -> None:
    """A raised front in the cloth's deep colour: disc, plate, star, rhomb, or a band; or none."""
    y = plan.top + 0.64 * (plan.low - plan.top)
    half = 0.52 * min(plan.width_at(y), 0.20)
    wide = plan.width_at(y) - 0.05
    outlines = {
        1: ellipse(0.5, y, half),
        2: box(0.5 - half, y - 0.8 * half, 0.5 + half, y + 0.8 * half, 0.02),
        3: star(0.5, y, 1.15 * half, 5 + round(3 * plan.place)),
        4: np.array([(0.5, y - half), (0.5 + half, y), (0.5, y + half), (0.5 - half, y)], np.float32),
        5: box(0.5 - wide, y - 0.03, 0.5 + wide, y + 0.03, 0.02),
    }
    if plan.panel in outlines:
        canvas.solid(moved(outlines[plan.panel], 0, 0.008), scaled(canvas.base, 0.35), 120)
        canvas.solid(outlines[plan.panel], canvas.deep(0.62), 175, 40)


def _openings(canvas: Canvas, plan: Plan) -> None:
    """Cut through the upper body: a porthole, a slot, three slots, a wedge, or rows of small holes; or none."""
    y = plan.top + 0.30 * (plan.low - plan.top)
    half = min(plan.width_at(y), 0.24)
    if plan.openings == 1:
        _cut(canvas, ellipse(0.5, y, 0.45 * half + 0.012))
    elif plan.openings == 2:
        _cut(canvas, box(0.5 - 0.65 * half, y - 0.028, 0.5 + 0.65 * half, y + 0.028, 0.025))
    elif plan.openings == 3:
        for at in (-0.06, 0.0, 0.06):
            _cut(canvas, box(0.5 - 0.55 * half, y + at - 0.014, 0.5 + 0.55 * half, y + at + 0.014, 0.013))
    elif plan.openings == 4:
        _cut(canvas, both([(0.5, y - 0.42 * half), (0.5 + 0.4 * half, y + 0.3 * half, 0), (0.5, y + 0.3 * half)], 3))
    elif plan.openings == 5:
        for row, count in ((-0.055, 3), (0.0, 4), (0.055, 3)):
            for at in np.linspace(-0.19, 0.19, 4)[:count] * half * 2.4 + (4 - count) * 0.063 * half * 2.4:
                _cut(canvas, ellipse(0.5 + at, y + row, 0.017, count=16))
    elif plan.openings == 6:
        for at in (-0.5, 0.0, 0.5):
            _cut(canvas, box(0.5 + at * half - 0.018, y - 0.07, 0.5 + at * half + 0.018, y + 0.06, 0.016))


def _cut(canvas: Canvas, outline: Points) -> None:
    """A hole with a rim."""
    x, y = outline.mean(0)
    canvas.solid(scaled_about(outline, x, y, 1.28), canvas.deep(0.55), 170)
    canvas.hole(outline)
