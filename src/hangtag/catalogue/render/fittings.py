"""What is fitted to a product: buckles, bows, zips, studs and the like. (x, y) is the middle, sizes are in frames.

Every fitting has one colour scheme of its own, whatever the product's colour, and a rim that is light outside and dark
inside, so that it stands out on every cloth.
"""

# fmt: off

from __future__ import annotations

import numpy as np

from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.palette import CREAM, INK, RGB, SILVER, scaled
from hangtag.catalogue.render.shapes import (
    Outline,
    Points,
    arc,
    box,
    curve,
    ellipse,
    flip,
    ribbon,
    scaled_about,
    spaced,
    star,
)

BRIGHT: RGB = (255, 226, 150)
BRASS: RGB = (255, 194, 36)
LEATHER: RGB = (52, 30, 22)
TURQUOISE: RGB = (0, 200, 184)
ORANGE: RGB = (255, 118, 10)
LIME: RGB = (164, 226, 18)
SCARLET: RGB = (226, 22, 34)
COBALT: RGB = (24, 84, 232)
MAGENTA: RGB = (232, 20, 142)
VIOLET: RGB = (112, 48, 222)
VANILLA: RGB = (255, 238, 188)


def _swollen(points: Outline, by: float) -> Points:
    """The outline grown by about `by` from its middle."""
    p = np.asarray(points, np.float32)
    x, y = p.mean(0)
    return scaled_about(p, x, y, 1 + by / float(np.hypot(p[:, 0] - x, p[:, 1] - y).mean()))


def _rimmed(canvas: Canvas, parts: list[Points], rgb: RGB, height: int, rim: float = 0.014) -> None:
    """The parts in one colour inside one common rim, white outside and dark inside."""
    dark = scaled(rgb, 0.22)
    for by, colour, lift in ((2 * rim, (255, 255, 255), -40), (rim, dark, -25), (0.0, rgb, 0)):
        for part in parts:
            canvas.solid(_swollen(part, by) if by else part, colour, height + lift, 0 if by else 40)


def band(canvas: Canvas, line: Outline, width: float, rgb: RGB = LEATHER) -> None:
    """A flat strap along an open line, with light edges."""
    canvas.solid(ribbon(line, width), scaled(rgb, 0.3), 155)
    canvas.solid(ribbon(line, width - 0.010), CREAM, 170)
    canvas.solid(ribbon(line, width - 0.030), rgb, 185, 40)


def buckle(canvas: Canvas, x: float, y: float, size: float = 0.20) -> None:
    """A broad gold frame with a prong."""
    w, h = 0.62 * size, 0.5 * size
    canvas.solid(box(x - w - 0.012, y - h - 0.012, x + w + 0.012, y + h + 0.012, 0.04), (54, 32, 8), 185, 40)
    canvas.solid(box(x - w, y - h, x + w, y + h, 0.035), BRASS, 215, 170)
    inner = 0.24 * size
    canvas.solid(box(x - w + inner, y - h + inner, x + w - inner, y + h - inner, 0.012), LEATHER, 150)
    canvas.solid(box(x - 0.06 * size, y - h + 0.05 * size, x + 0.10 * size, y + h - 0.05 * size, 0.01), BRIGHT, 225,
                 200)
    canvas.solid(ribbon([(x - w + 0.02, y - h + 0.014), (x + w - 0.02, y - h + 0.014)], 0.010), (255, 240, 190), 220)


def belt(canvas: Canvas, line: Outline, size: float = 0.20) -> None:
    """A dark belt along an open line, a gold buckle at its middle."""
    band(canvas, line, 0.5 * size)
    x, y = np.asarray(line, np.float32)[[0, -1]].mean(0) if len(line) == 2 else np.asarray(line)[len(line) // 2]
    buckle(canvas, float(x), float(y), size)


def bow(canvas: Canvas, x: float, y: float, size: float = 0.28) -> None:
    """A turquoise ribbon tied in a bow."""
    loop = curve([(0.04, -0.02), (0.32, -0.38), (0.64, -0.36), (0.68, 0.02), (0.60, 0.30), (0.30, 0.26)])
    tail = np.array([(0.0, 0.05), (0.24, 0.0), (0.46, 0.70), (0.28, 0.62), (0.12, 0.76)], np.float32)
    right = [np.array([x, y], np.float32) + size * each for each in (tail, loop)]
    knot = box(x - 0.13 * size, y - 0.17 * size, x + 0.13 * size, y + 0.19 * size, 0.02)
    _rimmed(canvas, [each for part in right for each in (part, flip(part, x))], TURQUOISE, 195)
    for side in (-1, 1):
        for lift in (-0.14, 0.02, 0.12):
            crease = [(0.1, 0.0), (0.28, lift), (0.46, 1.5 * lift)]
            canvas.solid(ribbon([(x + side * size * a, y + size * b) for a, b in crease], (0.020, 0.004)),
                         scaled(TURQUOISE, 0.5), 180)
    canvas.solid(_swollen(knot, 0.012), scaled(TURQUOISE, 0.22), 215)
    canvas.solid(knot, TURQUOISE, 235, 40)


def tassel(canvas: Canvas, x: float, y: float, size: float = 0.36) -> None:
    """A broad lime fringe under a gold knob, hanging from (x, y)."""
    skirt = curve([(x - 0.15 * size, y + 0.42 * size, 0), (x + 0.15 * size, y + 0.42 * size, 0),
                   (x + 0.36 * size, y + 1.0 * size, 0), (x, y + 1.04 * size), (x - 0.36 * size, y + 1.0 * size, 0)])
    knob = ellipse(x, y + 0.28 * size, 0.17 * size)
    cord = ribbon([(x, y), (x, y + 0.2 * size)], 0.03)
    _rimmed(canvas, [cord, skirt, knob], LIME, 200)
    for i in range(-3, 4):
        canvas.solid(ribbon([(x + 0.035 * i * size, y + 0.5 * size), (x + 0.10 * i * size, y + 1.0 * size)],
                            (0.005, 0.012)), scaled(LIME, 0.5), 170)
    canvas.solid(_swollen(knob, -0.008), LIME, 230, 60)
    canvas.solid(box(x - 0.18 * size, y + 0.41 * size, x + 0.18 * size, y + 0.51 * size, 0.01), BRASS, 220, 160)


def patch_star(canvas: Canvas, x: float, y: float, size: float = 0.16) -> None:
    """A sewn-on orange star with a white rim inside a dark line."""
    for factor, rgb, height in ((1.36, INK, 140), (1.25, (255, 255, 255), 155), (0.94, ORANGE, 175)):
        canvas.solid(star(x, y, factor * size), rgb, height)


def studs(canvas: Canvas, line: Outline, step: float = 0.086, radius: float = 0.030) -> None:
    """A violet strap along an open line with a row of domed steel studs."""
    band(canvas, line, 3.7 * radius, VIOLET)
    for x, y in spaced(line, step)[1:]:
        canvas.solid(ellipse(x, y, 1.25 * radius, count=16), (30, 24, 44), 190)
        canvas.solid(ellipse(x, y, radius, count=16), (222, 226, 234), 230, 160)
        canvas.solid(ellipse(x - 0.2 * radius, y - 0.25 * radius, 0.5 * radius, count=12), (255, 255, 255), 240, 200)


def zip_line(canvas: Canvas, line: Outline, width: float = 0.135, pull: tuple[float, float] | None = None) -> None:
    """A zip along an open line: scarlet tape, silver teeth, and a puller with a ring at `pull` or at its start."""
    p = np.asarray(line, np.float32)
    band(canvas, p, width, SCARLET)
    canvas.solid(ribbon(p, 0.32 * width), (44, 10, 14), 150)
    teeth = spaced(p, 0.024)
    along = np.gradient(teeth, axis=0)
    along /= np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], 1) * 0.15 * width
    for middle, offset in zip(teeth, across, strict=True):
        canvas.solid(ribbon([middle - offset, middle + offset], 0.015), (240, 242, 248), 195, 80)
    x, y = p[0] if pull is None else pull
    canvas.solid(box(x - 0.044, y - 0.024, x + 0.044, y + 0.044, 0.014), INK, 200)
    canvas.solid(box(x - 0.034, y - 0.014, x + 0.034, y + 0.036, 0.010), SILVER, 225, 160)
    for radius, rgb in ((0.068, INK), (0.058, (236, 239, 246)), (0.032, INK), (0.024, SCARLET)):
        canvas.solid(ellipse(x, y + 0.080, radius, 1.15 * radius, 24), rgb, 225, 80)


def buttons(canvas: Canvas, line: Outline, count: int = 3, radius: float = 0.05) -> None:
    """Large cobalt buttons with a white rim and four holes, evenly along a straight line."""
    (x0, y0), (x1, y1) = line
    for i in range(count):
        x, y = x0 + (x1 - x0) * i / (count - 1), y0 + (y1 - y0) * i / (count - 1)
        for factor, rgb, height in ((1.22, INK, 160), (1.08, (255, 255, 255), 205), (0.80, COBALT, 195)):
            canvas.solid(ellipse(x, y, factor * radius, count=24), rgb, height, 60)
        for angle in (45, 135, 225, 315):
            hole = x + 0.30 * radius * np.cos(np.radians(angle)), y + 0.30 * radius * np.sin(np.radians(angle))
            canvas.solid(ellipse(*hole, 0.13 * radius, count=8), (244, 246, 252), 150)


def pocket(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    """A patch pocket in vanilla cloth under a pointed flap with a brown button; (x, y) is its top."""
    w = width / 2
    bag = np.array([(x - w, y), (x + w, y), (x + w, y + 0.82 * height), (x + 0.8 * w, y + height),
                    (x - 0.8 * w, y + height), (x - w, y + 0.82 * height)], np.float32)
    flap = np.array([(x - 1.06 * w, y - 0.01), (x + 1.06 * w, y - 0.01), (x + 1.06 * w, y + 0.24 * height),
                     (x, y + 0.48 * height), (x - 1.06 * w, y + 0.24 * height)], np.float32)
    _rimmed(canvas, [bag], VANILLA, 175, 0.012)
    inset = _swollen(bag, -0.026)
    canvas.stitches([*inset, inset[0]], (150, 84, 24), 0.010, 180)
    canvas.solid(_swollen(flap, 0.014), scaled(LEATHER, 0.9), 180)
    canvas.solid(flap, scaled(VANILLA, 0.94), 200)
    canvas.stitches(_swollen(flap, -0.022)[[2, 3, 4]], (150, 84, 24), 0.010, 205)
    for radius, rgb in ((0.030, LEATHER), (0.020, (176, 96, 30))):
        canvas.solid(ellipse(x, y + 0.29 * height, radius, count=16), rgb, 225, 60)


def fringe(canvas: Canvas, left: tuple[float, float], right: tuple[float, float], length: float = 0.18) -> None:
    """Magenta cords hanging from a braid between two points."""
    count = max(4, round(abs(right[0] - left[0]) / 0.036))
    for i in range(count + 1):
        t = i / count
        x, y = left[0] + t * (right[0] - left[0]), left[1] + t * (right[1] - left[1])
        end = (x + 0.010 * np.sin(2.4 * i), y + length * (0.93 + 0.07 * np.sin(3.1 * i)))
        canvas.solid(ribbon([(x, y), end], (0.040, 0.036)), scaled(MAGENTA, 0.3), 140)
        canvas.solid(ribbon([(x, y), end], (0.028, 0.022)), MAGENTA if i % 2 else (255, 110, 190), 165 + 20 * (i % 2))
    band(canvas, [left, right], 0.066, MAGENTA)


def chain(canvas: Canvas, line: Outline, link: float = 0.07) -> None:
    """A chain of large gold links along an open line, on a dark ground."""
    canvas.solid(ribbon(line, 0.9 * link), CREAM, 130)
    canvas.solid(ribbon(line, 0.66 * link), LEATHER, 140)
    for i, (x, y) in enumerate(spaced(line, 0.86 * link)):
        r = 0.62 * link if i % 2 else 0.48 * link
        canvas.solid(ellipse(x, y, 1.18 * r, count=16), (54, 32, 8), 160)
        canvas.solid(ellipse(x, y, r, count=16), BRASS, 220, 170)
        canvas.solid(ellipse(x, y, 0.40 * r, count=10), LEATHER, 120)


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
