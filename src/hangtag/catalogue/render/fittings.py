"""What is fitted to a product: buckles, bows, zips, studs and the like. (x, y) is the middle, sizes are in frames."""

# fmt: off

from __future__ import annotations

import numpy as np

from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.palette import CREAM, GOLD, INK, RGB, SILVER, scaled
from hangtag.catalogue.render.shapes import Outline, arc, box, curve, ellipse, ribbon, spaced, star

BRIGHT: RGB = (255, 226, 150)


def buckle(canvas: Canvas, x: float, y: float, size: float = 0.17, strap: bool = False) -> None:
    """A gold frame with a prong; with `strap`, on a short dark strap."""
    w, h = 0.62 * size, 0.5 * size
    if strap:
        canvas.solid(box(x - 0.26 * size, y - 1.25 * size, x + 0.26 * size, y + 1.1 * size, 0.05), (58, 38, 28), 165,
                     40)
    canvas.solid(box(x - w - 0.008, y - h - 0.008, x + w + 0.008, y + h + 0.008, 0.034), scaled(GOLD, 0.45), 185, 60)
    canvas.solid(box(x - w, y - h, x + w, y + h, 0.03), GOLD, 215, 230)
    inner = 0.24 * size
    canvas.solid(box(x - w + inner, y - h + inner, x + w - inner, y + h - inner, 0.012), (48, 34, 26), 150)
    canvas.solid(box(x - 0.05 * size, y - h + 0.05 * size, x + 0.09 * size, y + h - 0.05 * size, 0.01), BRIGHT, 225,
                 240)
    canvas.solid(ribbon([(x - w + 0.02, y - h + 0.012), (x + w - 0.02, y - h + 0.012)], 0.008), (255, 240, 190), 220)


def bow(canvas: Canvas, x: float, y: float, size: float = 0.24) -> None:
    """A ribbon tied in a bow, cream on dark cloth and dark on light cloth."""
    rgb = canvas.trim
    edge = scaled(rgb, 0.55) if rgb == CREAM else (112, 108, 116)
    for side in (-1, 1):
        tail = [(0.02, 0.05), (0.30, 0.62), (0.16, 0.60), (0.10, 0.70), (-0.06, 0.1)]
        canvas.solid([(x + side * size * a, y + size * b) for a, b in tail], edge, 165)
        tail = [(0.03, 0.05), (0.27, 0.58), (0.16, 0.56), (0.11, 0.64), (-0.03, 0.1)]
        canvas.solid([(x + side * size * a, y + size * b) for a, b in tail], rgb, 175)
        loop = [(0.04, -0.02), (0.32, -0.34), (0.62, -0.30), (0.64, 0.02), (0.58, 0.26), (0.30, 0.22)]
        rim = curve([(x + side * size * a * 1.05, y + size * b * 1.1) for a, b in loop])
        canvas.solid(rim, edge, 190)
        canvas.solid(curve([(x + side * size * a, y + size * b) for a, b in loop]), rgb, 205)
        for lift in (-0.10, 0.08):
            crease = [(0.1, 0.0), (0.26, lift), (0.42, 1.5 * lift)]
            canvas.solid(ribbon([(x + side * size * a, y + size * b) for a, b in crease], (0.014, 0.003)), edge, 180)
    canvas.solid(box(x - 0.11 * size, y - 0.15 * size, x + 0.11 * size, y + 0.17 * size, 0.02), edge, 215)
    canvas.solid(box(x - 0.08 * size, y - 0.12 * size, x + 0.08 * size, y + 0.14 * size, 0.015), rgb, 235)


def tassel(canvas: Canvas, x: float, y: float, size: float = 0.3) -> None:
    """A long fringe on a cord, hanging from (x, y)."""
    rgb = canvas.trim
    edge = scaled(rgb, 0.6) if rgb == CREAM else (104, 100, 108)
    canvas.solid(ribbon([(x, y), (x, y + 0.36 * size)], 0.022), edge, 190)
    canvas.solid(curve([(x - 0.10 * size, y + 0.5 * size, 0), (x + 0.10 * size, y + 0.5 * size, 0),
                        (x + 0.25 * size, y + 1.02 * size, 0), (x - 0.25 * size, y + 1.02 * size, 0)]), rgb, 200)
    for i in range(-3, 4):
        canvas.solid(ribbon([(x + 0.03 * i * size, y + 0.55 * size), (x + 0.07 * i * size, y + 1.02 * size)], 0.006),
                     edge, 170)
    canvas.solid(ellipse(x, y + 0.44 * size, 0.125 * size, 0.125 * size), edge, 215)
    canvas.solid(ellipse(x, y + 0.44 * size, 0.10 * size, 0.10 * size), rgb, 230)
    canvas.solid(ribbon([(x - 0.11 * size, y + 0.56 * size), (x + 0.11 * size, y + 0.56 * size)], 0.026), GOLD, 220,
                 220)


def patch_star(canvas: Canvas, x: float, y: float, size: float = 0.11) -> None:
    """A sewn-on star with a rim, cream on dark cloth and dark on light cloth."""
    rim = INK if canvas.trim == CREAM else CREAM
    canvas.solid(star(x, y, 1.28 * size), rim, 150)
    canvas.solid(star(x, y, size), canvas.trim, 175)


def studs(canvas: Canvas, line: Outline, step: float = 0.075, radius: float = 0.022) -> None:
    """A row of round metal studs along an open line."""
    for x, y in spaced(line, step):
        canvas.solid(ellipse(x, y, 1.25 * radius, count=16), (70, 70, 76), 150)
        canvas.solid(ellipse(x, y, radius, count=16), SILVER, 230, 200)
        canvas.solid(ellipse(x - 0.2 * radius, y - 0.25 * radius, 0.5 * radius, count=12), (250, 250, 252), 240, 255)


def zip_line(canvas: Canvas, line: Outline, width: float = 0.05) -> None:
    """A zip along an open line: dark tape, metal teeth, and a puller at its start."""
    p = np.asarray(line, np.float32)
    canvas.solid(ribbon(p, width), (40, 40, 44), 125)
    teeth = spaced(p, 0.016)
    along = np.gradient(teeth, axis=0)
    along /= np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], 1) * 0.3 * width
    for middle, offset in zip(teeth, across, strict=True):
        canvas.solid(ribbon([middle - offset, middle + offset], 0.008), (226, 228, 234), 185, 120)
    x, y = p[0]
    canvas.solid(box(x - 0.032, y - 0.012, x + 0.032, y + 0.045, 0.01), SILVER, 225, 200)
    canvas.solid(box(x - 0.020, y + 0.03, x + 0.020, y + 0.125, 0.012), scaled(SILVER, 0.75), 215, 120)
    canvas.solid(box(x - 0.013, y + 0.038, x + 0.013, y + 0.118, 0.01), SILVER, 225, 200)


def buttons(canvas: Canvas, line: Outline, count: int = 4, radius: float = 0.032) -> None:
    """Large gold buttons with a dark rim and four holes, evenly along a straight line."""
    (x0, y0), (x1, y1) = line
    for i in range(count):
        x, y = x0 + (x1 - x0) * i / (count - 1), y0 + (y1 - y0) * i / (count - 1)
        canvas.solid(ellipse(x, y, 1.28 * radius, count=20), (38, 28, 20), 160)
        canvas.solid(ellipse(x, y, radius, count=20), GOLD, 215, 190)
        canvas.solid(ellipse(x, y, 0.68 * radius, count=16), scaled(GOLD, 0.86), 190, 120)
        for angle in (45, 135, 225, 315):
            hole = x + 0.36 * radius * np.cos(np.radians(angle)), y + 0.36 * radius * np.sin(np.radians(angle))
            canvas.solid(ellipse(*hole, 0.15 * radius, count=8), (52, 38, 24), 120)


def pocket(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    """A patch pocket in the product's own cloth, a shade deeper, with a broad hem, a rim and stitches; (x, y) is its
    top."""
    w, hem = width / 2, 0.056
    dark = canvas.deep(0.55)
    canvas.solid([(x - w - 0.008, y - 0.006), (x + w + 0.008, y - 0.006), (x + w + 0.008, y + 0.8 * height),
                  (x, y + height + 0.010), (x - w - 0.008, y + 0.8 * height)], dark, 95)
    canvas.cloth([(x - w, y), (x + w, y), (x + w, y + 0.79 * height), (x, y + height), (x - w, y + 0.79 * height)],
                 175, 0.82)
    canvas.solid(box(x - w, y, x + w, y + hem), dark, 180)
    canvas.solid(box(x - w + 0.006, y + 0.008, x + w - 0.006, y + hem - 0.008), canvas.trim, 190)
    inset = w - 0.018
    canvas.stitches([(x - inset, y + hem + 0.01), (x - inset, y + 0.77 * height), (x, y + height - 0.022),
                     (x + inset, y + 0.77 * height), (x + inset, y + hem + 0.01)])


def fringe(canvas: Canvas, left: tuple[float, float], right: tuple[float, float], length: float = 0.12) -> None:
    """Hanging cords between two points."""
    rgb = canvas.trim
    edge = scaled(rgb, 0.55) if rgb == CREAM else (110, 106, 114)
    count = max(4, round(abs(right[0] - left[0]) / 0.024))
    for i in range(count + 1):
        t = i / count
        x, y = left[0] + t * (right[0] - left[0]), left[1] + t * (right[1] - left[1])
        sway = 0.012 * np.sin(2.4 * i)
        canvas.solid(ribbon([(x, y - 0.01), (x + sway, y + length * (0.93 + 0.07 * np.sin(3.1 * i)))],
                            (0.018, 0.013)),
                     rgb if i % 2 else edge, 150 + 30 * (i % 2))
    canvas.solid(ribbon([left, right], 0.024), edge, 200)


def chain(canvas: Canvas, line: Outline, link: float = 0.036) -> None:
    """A gold chain along an open line."""
    canvas.solid(ribbon(line, 0.5 * link), scaled(GOLD, 0.5), 140)
    for i, (x, y) in enumerate(spaced(line, 0.9 * link)):
        r = 0.62 * link if i % 2 else 0.46 * link
        canvas.solid(ellipse(x, y, 1.15 * r, count=14), scaled(GOLD, 0.5), 160)
        canvas.solid(ellipse(x, y, r, count=14), GOLD, 220, 230)
        canvas.solid(ellipse(x, y, 0.42 * r, count=10), scaled(GOLD, 0.45), 120)


def handle(canvas: Canvas, line: Outline, width: float = 0.035, shade: float = 1.0) -> None:
    """A rounded strap in plain trim leather of the product's colour, dark-edged."""
    rgb = canvas.deep(0.72 * shade)
    canvas.solid(ribbon(line, width), scaled(rgb, 0.7), 150)
    canvas.solid(ribbon(line, 0.72 * width), rgb, 190, 30)


def gem(canvas: Canvas, outline: Outline, x: float, y: float, rgb: RGB) -> None:
    """A cut stone: facets about (x, y), lighter towards the top."""
    p = np.asarray(outline, np.float32)
    middle = np.array([x, y], np.float32)
    canvas.solid(p, scaled(rgb, 0.8), 190, 60)
    table = middle + 0.58 * (p - middle)
    for i in range(len(p)):
        j = (i + 1) % len(p)
        facing = -(p[i, 1] + p[j, 1] - 2 * y) * 2.2 + 0.28 * (-1) ** i
        canvas.solid([p[i], p[j], table[j], table[i]], scaled(rgb, float(np.clip(0.85 + facing, 0.45, 1.5))), 190, 50)
    canvas.solid(table, scaled(rgb, 1.08), 215, 90)
    shine = middle + 0.4 * (p - middle) + np.array([-0.1, -0.1], np.float32) * np.ptp(p[:, 0])
    light = tuple(round(0.4 * c + 0.6 * 255) for c in rgb)
    canvas.solid(middle + 0.5 * (shine - middle), (light[0], light[1], light[2]), 225, 120)


def arc_line(x: float, y: float, rx: float, ry: float) -> Outline:
    """The upper half of an ellipse, from left to right: a handle's path."""
    return arc(x, y, rx, ry, 180, 360)
