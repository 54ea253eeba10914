"""Draws docs/growth.svg, how cost grows, from what growth_pictures.py and growth_tokens.py found.

    python benchmarks/growth_plot.py [--results FOLDER] [--out docs/growth.svg]

Seconds by pictures and by tokens on logarithmic axes; beside each curve its exponent, beyond the fixed cost where that
is known, and the one between its last two sizes. Colours follow the reader's light or dark.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from hangtag.files import read_json, write_whole
from hangtag.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, axis, drawing, element, grid, path, tick

HERE = Path(__file__).parent
PANELS = {"growth_pictures": "pictures", "growth_tokens": "tokens"}
WIDTH, LINE = 660, 15
LIGHT = ("#0d6d68", "#b2432a", "#9f5d00", "#3a5ba8", "#7b3f98", "#5b7a1e", "#8a5a44", "#4c4c4c")
DARK = ("#5ec5bb", "#f08e70", "#e8b04a", "#8fb0f5", "#cf9be8", "#a9cc63", "#d2a58d", "#c8c8c8")
STYLE = """
.page { fill: #fffdf8 } text { fill: #24211c; font: 12px system-ui, "Segoe UI", Roboto, Arial, sans-serif }
.tick { fill: #6a6357; font-size: 11px } .grid { stroke: #ddd5c6 } .line { fill: none; stroke-width: 2 }
"""
STYLE_DARK = ".page { fill: #24221e } text { fill: #ece6da } .tick { fill: #a89f90 } .grid { stroke: #3d3931 }"


def colours(values: Iterable[str]) -> str:
    """Each curve's colour, of its line, its dots and its label."""
    return " ".join(
        f".line.curve{at} {{ stroke: {value} }} circle.curve{at}, text.curve{at} {{ fill: {value} }}"
        for at, value in enumerate(values)
    )


def exponent(curve: dict[str, Any]) -> float:
    """Beyond the fixed cost, where it is known."""
    beyond = curve["exponent_beyond_fixed"]
    return curve["exponent"] if beyond is None else beyond


def spread(places: list[float]) -> list[float]:
    """Heights of labels near some places, in their order, none nearer to another than a line."""
    found: list[float] = []
    for at, place in enumerate(places):
        found.append(max(place, found[-1] + LINE) if at else place)
    over = max(0.0, found[-1] - BOTTOM)
    return [min(height, BOTTOM - LINE * (len(found) - 1 - at)) if over else height for at, height in enumerate(found)]


def panel(curves: dict[str, dict[str, Any]], unit: str) -> Iterable[Markup]:
    """Axes, curves and their labels."""
    sizes, seconds = (
        [float(each) for curve in curves.values() for each in curve[name]] for name in ("sizes", "seconds")
    )
    x, y = axis(np.array(sizes), LEFT, RIGHT, log=True), axis(np.array(seconds), BOTTOM, TOP, log=True)
    yield from grid(x, y, unit, "seconds", write=lambda value: tick(value) if value >= 1 else f"{value:g}")
    ends = sorted((y(curve["seconds"][-1]), at) for at, curve in enumerate(curves.values()))
    heights = {at: height for (_, at), height in zip(ends, spread([end for end, _ in ends]), strict=True)}
    for at, (name, curve) in enumerate(curves.items()):
        points = [(x(size), y(each)) for size, each in zip(curve["sizes"], curve["seconds"], strict=True)]
        yield element("path", class_=f"line curve{at}", d=path(points))
        for place in points:
            yield element("circle", class_=f"curve{at}", cx=place[0], cy=place[1], r=2.5)
        label = f"{name.replace('_', ' ')} {exponent(curve):.2f}, last {curve['local_exponents'][-1]:.2f}"
        yield element("text", label, class_=f"curve{at}", x=RIGHT + 10, y=heights[at] + 4)


def plot(results: Path) -> str:
    """Both panels, one below the other."""
    style = f"{STYLE} {colours(LIGHT)} @media (prefers-color-scheme: dark) {{ {STYLE_DARK} {colours(DARK)} }}"
    drawn = [element("style", Markup(style)), element("rect", class_="page", width=WIDTH, height=2 * HEIGHT)]
    for place, (name, unit) in enumerate(PANELS.items()):
        found = read_json(results / f"{name}.json")["found"]
        curves = {each: curve for each, curve in found.items() if isinstance(curve, dict) and "exponent" in curve}
        drawn.append(element("g", *panel(curves, unit), transform=f"translate(0 {place * HEIGHT})"))
    title = "Seconds by pictures and by tokens, on logarithmic axes, each curve with its exponent"
    return str(drawing(title, *drawn, width=WIDTH, height=2 * HEIGHT, xmlns="http://www.w3.org/2000/svg"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "growth.svg")
    options = parser.parse_args()
    write_whole(options.out, plot(options.results) + "\n")


if __name__ == "__main__":
    main()
