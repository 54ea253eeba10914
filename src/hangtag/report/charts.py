"""Drawings of a catalogue: prices by category, the tree of categories, bars, picture sizes, a column at a glance.

However large the catalogue, a drawing holds a bounded number of elements; the description has chosen them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from markupsafe import Markup

from hangtag.catalogue.products import CategoryPrices, Node, Prices
from hangtag.catalogue.spread import Histogram, Spread, cut
from hangtag.evaluation.metrics import show_amount
from hangtag.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, Axis, axis, drawing, element, grid, tick

WIDE = 1040
STRIP, STRIP_LEFT, STRIP_RIGHT = 24, 212, 970
LETTER = 6.9
"""Width of a letter of the drawings' text, on average."""
BRANCHES = 5
BARS_HEIGHT = 260
_LOWEST, _HIGHEST = 250.0, 900.0
_GOLDEN = 0.618034
"""Its multiples, modulo 1, spread dots without a pattern."""


def price_strips(prices: Prices, unit: str, name_of: Callable[[int], str]) -> Markup | None:
    """One strip for each category, the dearest on top: a box from quartile to quartile, 5 to 95 % as a line, and dots.

    Args:
        unit: what stands beside the axis.
        name_of: a row's name for its dot's tooltip.
    """
    if prices.spread is None:
        return None
    strips = sorted(prices.categories, key=lambda each: -each.spread.median)
    scale = axis(np.array([prices.spread.low, prices.spread.high]), STRIP_LEFT, STRIP_RIGHT, log=True)
    bottom = TOP + 10 + STRIP * len(strips)
    drawn: list[Markup] = []
    for value in scale.ticks():
        drawn.append(element("line", class_="grid", x1=scale(value), x2=scale(value), y1=TOP, y2=bottom))
        drawn.append(element("text", tick(value), class_="tick", x=scale(value), y=bottom + 16, text_anchor="middle"))
    middle = (STRIP_LEFT + STRIP_RIGHT) / 2
    drawn.append(element("text", unit, class_="axis", x=middle, y=bottom + 36, text_anchor="middle"))
    for place, strip in enumerate(strips):
        drawn += _strip(strip, scale, TOP + 5 + STRIP * (place + 0.5), name_of)
    title = f"Prices of {prices.spread.count} rows in {len(strips)} categories on a logarithmic axis"
    return drawing(title, *drawn, width=WIDE, height=bottom + 44, class_="wide")


def _strip(strip: CategoryPrices, scale: Axis, y: float, name_of: Callable[[int], str]) -> Iterable[Markup]:
    lies = strip.spread
    tip = element("title", f"{strip.name}: {_in_words(lies)}")
    label = cut(strip.name, int((STRIP_LEFT - 14) / LETTER))
    yield element("text", label, tip, x=STRIP_LEFT - 12, y=y + 4, text_anchor="end")
    for place, (row, value) in enumerate(strip.examples):
        lift = 11 * ((place * _GOLDEN) % 1 - 0.5)
        told = element("title", f"{name_of(row)}: {show_amount(value)}")
        yield element("circle", told, class_="dot strip", cx=scale(value), cy=y + lift, r=2.4)
    if lies.count > 1:
        yield element("line", tip, class_="whisker", x1=scale(lies.p5), x2=scale(lies.p95), y1=y, y2=y)
        box = max(scale(lies.p75) - scale(lies.p25), 1.0)
        yield element("rect", tip, class_="box", x=scale(lies.p25), y=y - 7, width=box, height=14, rx=2)
        yield element("line", class_="middle", x1=scale(lies.median), x2=scale(lies.median), y1=y - 8, y2=y + 8)
    yield element("text", f"{lies.count:,}", class_="tick", x=WIDE - 6, y=y + 4, text_anchor="end")


def _in_words(lies: Spread) -> str:
    low, p25, median, p75, high = map(show_amount, (lies.low, lies.p25, lies.median, lies.p75, lies.high))
    return f"{lies.count:,} rows, median {median}, half from {p25} to {p75}, all from {low} to {high}"


def icicle(tree: Node) -> Markup:
    """A tree from left to right; a node is as high as its share of the rows."""
    depth, leaves = _depth(tree), _leaves(tree)
    height = min(max(_LOWEST, 24.0 * leaves), _HIGHEST)
    width = WIDE / max(depth, 1)
    drawn: list[Markup] = []

    def draw(node: Node, level: int, top: float, tall: float, branch: int, path: str) -> None:
        here = f"{path} › {node.name}" if path else node.name
        span = width if node.children or level == depth - 1 else WIDE - level * width
        tip = element("title", f"{here}: {node.rows:,} of {tree.rows:,} rows ({_percent(node.rows, tree.rows)})")
        place = {"x": level * width, "y": top, "width": max(span - 1.5, 1.0), "height": max(tall - 1.5, 0.5)}
        drawn.append(element("rect", tip, class_=f"branch b{branch} d{min(level, 3)}", **place))
        if tall >= 14:
            count = f"{node.rows:,}"
            room = int((span - 20) / LETTER) - len(count) - 1
            label = cut(node.name, max(room, 2))
            middle = top + tall / 2 + 4
            drawn.append(element("text", label, class_="branch-name", x=level * width + 8, y=middle))
            drawn.append(element("text", count, class_="tick", x=level * width + span - 9, y=middle, text_anchor="end"))
        draw_all(node, level + 1, top, tall, branch, here)

    def draw_all(node: Node, level: int, top: float, tall: float, branch: int | None, path: str) -> None:
        for place, child in enumerate(node.children):
            own = tall * child.rows / node.rows
            if own >= 0.7:
                draw(child, level, top, own, place % BRANCHES if branch is None else branch, path)
            top += own

    draw_all(tree, 0, 0.0, height, None, "")
    title = f"Tree of categories with {leaves} leaves in {depth} levels, by number of rows"
    return drawing(title, *drawn, width=WIDE, height=height, class_="wide")


def _depth(node: Node) -> int:
    return max((1 + _depth(child) for child in node.children), default=0)


def _leaves(node: Node) -> int:
    return sum(map(_leaves, node.children)) or 1


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def bars(histogram: Histogram, what: str, of: str) -> Markup:
    """A histogram. `what` is along the axis, `of` what is counted."""
    edges, bottom = histogram.edges, BARS_HEIGHT - (HEIGHT - BOTTOM)
    x = Axis(edges[0], edges[-1], LEFT, RIGHT, histogram.log)
    y = Axis(0, 1.05 * max(histogram.counts), bottom, TOP, False)
    drawn = list(grid(x, y, what, of, bottom))
    for low, high, count in zip(edges, edges[1:], histogram.counts, strict=False):
        if count:
            tip = element("title", f"{_between(low, high)} {what}: {count:,} {of}")
            wide = max(x(high) - x(low) - 1, 0.8)
            drawn.append(
                element("rect", tip, class_="bar", x=x(low) + 0.5, y=y(count), width=wide, height=bottom - y(count))
            )
    title = f"{what} of {sum(histogram.counts):,} {of}, from {show_amount(edges[0])} to {show_amount(edges[-1])}"
    return drawing(title, *drawn, height=BARS_HEIGHT)


def _between(low: float, high: float) -> str:
    """What a bin holds: whole numbers where its edges lie half-way between them."""
    if low % 1 == 0.5 and high % 1 == 0.5:
        first, last = low + 0.5, high - 0.5
        return f"{first:,.0f}" if first == last else f"{first:,.0f} to {last:,.0f}"
    return f"{show_amount(low)} to {show_amount(high)}"


def size_scatter(sizes: Sequence[tuple[int, int, int]]) -> Markup:
    """Picture sizes, width by height, a disc's area for how many there are; the diagonal is square."""
    every = np.array([side for width, height, _ in sizes for side in (width, height)], float)
    log = bool(every.max() > 8 * every.min())
    x = axis(every, LEFT, RIGHT, log)
    y = Axis(x.low, x.high, BOTTOM, TOP, x.log)
    most = max(count for *_, count in sizes)
    drawn = list(grid(x, y, "width, pixels", "height, pixels"))
    drawn.append(element("line", class_="diagonal", x1=x(x.low), y1=y(x.low), x2=x(x.high), y2=y(x.high)))
    for width, height, count in sizes:
        tip = element("title", f"{width:,} × {height:,} pixels: {count:,} {'picture' if count == 1 else 'pictures'}")
        radius = max(2.5, 13 * (count / most) ** 0.5) if most > 1 else 3.0
        drawn.append(element("circle", tip, class_="dot size", cx=x(width), cy=y(height), r=radius))
    return drawing(f"Width and height of pictures, {len(sizes)} different sizes", *drawn)


def sparkline(histogram: Histogram) -> Markup:
    """A column of numbers at a glance: its histogram without axes."""
    wide, high = 120.0, 26.0
    step, most = wide / len(histogram.counts), max(histogram.counts)
    shape = "".join(
        f"M{place * step:.1f} {high}V{high - max(1.5, high * count / most):.1f}h{step - 0.8:.1f}V{high}z"
        for place, count in enumerate(histogram.counts)
        if count
    )
    title = f"from {show_amount(histogram.edges[0])} to {show_amount(histogram.edges[-1])}"
    how = " (logarithmic)" if histogram.log else ""
    return drawing(
        f"Histogram {title}{how}", element("path", class_="bar", d=shape), width=wide, height=high, class_="sparkline"
    )
