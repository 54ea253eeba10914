"""What every drawing is made of: escaped SVG elements, axes with round ticks, a frame with its grid.

Colours come from the page's style through classes, so a drawing reads in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from hangtag.evaluation.metrics import show_amount

Floats = NDArray[np.float64]
WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 448, 14, 296
_LEAST = 1e-100
"""Below it, the room beside a logarithmic axis would be too small a number to hold."""


def element(name: str, *content: object, **attributes: object) -> Markup:
    """An SVG element with escaped attributes and content; `class_` stands for class, `clip_path` for clip-path."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.strip("_").replace("_", "-"), _short(value)) for key, value in attributes.items()
    )
    inside = Markup("").join(escape(each) for each in content)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inside)


def _short(value: object) -> object:
    return f"{value:.1f}" if isinstance(value, float) else value


@dataclass(frozen=True)
class Axis:
    """Maps low..high to the pixels start..end, by the logarithm where `log`; values outside land on the edge."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        low, high, value = (
            math.log(each) if self.log else each for each in (self.low, self.high, min(max(value, self.low), self.high))
        )
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values: 1, 2 and 5 of each decade, or 1 alone where there are many; evenly spaced if not `log`."""
        if self.log and self.high / self.low > 4:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(decades) <= 4 else (1,)
            marks = [float(f"{step}e{decade}") for decade in decades[:: math.ceil(len(decades) / 8)] for step in steps]
        else:
            rough = (self.high - self.low) / 7
            decade = 10.0 ** math.floor(math.log10(rough))
            step = next(each * decade for each in (1, 2, 5, 10) if each * decade >= rough)
            marks = [each * step for each in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [each for each in marks if self.low <= each <= self.high]


def axis(values: Floats, start: float, end: float, log: bool) -> Axis:
    """An axis around some values, with a little room on both sides; linear where one is not above zero, or hardly."""
    low, high = float(values.min()), float(values.max())
    log = log and low > _LEAST
    if log:
        room = max((high / low) ** 0.05, 1.05)
        return Axis(low / room, high * room, start, end, True)
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(low - room, high + room, start, end, False)


def tick(value: float) -> str:
    """A tick's value in few letters: `500`, `20k`, `1.5M`."""
    if 1e6 <= abs(value) < 1e9:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if 1e4 <= abs(value) < 1e6 else show_amount(value)


def grid(
    x: Axis, y: Axis, x_label: str, y_label: str, bottom: float = BOTTOM, write: Callable[[float], str] = tick
) -> Iterable[Markup]:
    """Lines and labels of two axes that fill the frame down to `bottom`; `write` makes a label of a value."""
    for value in x.ticks():
        yield element("line", class_="grid", x1=x(value), x2=x(value), y1=TOP, y2=bottom)
        yield element("text", write(value), class_="tick", x=x(value), y=bottom + 16, text_anchor="middle")
    for value in y.ticks():
        yield element("line", class_="grid", x1=LEFT, x2=RIGHT, y1=y(value), y2=y(value))
        yield element("text", write(value), class_="tick", x=LEFT - 6, y=y(value) + 4, text_anchor="end")
    middle = (TOP + bottom) / 2
    yield element("text", x_label, class_="axis", x=(LEFT + RIGHT) / 2, y=bottom + 36, text_anchor="middle")
    yield element("text", y_label, class_="axis", transform=f"translate(13 {middle}) rotate(-90)", text_anchor="middle")


def drawing(title: str, *content: Markup, width: float = WIDTH, height: float = HEIGHT, **attributes: object) -> Markup:
    """A whole SVG; `title` is what it says to those who cannot see it."""
    return element("svg", *content, viewBox=f"0 0 {width:.0f} {height:.0f}", role="img", aria_label=title, **attributes)


def path(points: Iterable[tuple[float, float]]) -> str:
    """Straight lines through some points, as a path's `d`."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
