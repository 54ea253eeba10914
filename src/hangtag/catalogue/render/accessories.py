"""Hats, scarves, socks, watches and rings."""

# fmt: off

from __future__ import annotations

import numpy as np

from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.fittings import BRIGHT, belt, bow, fringe, gem, patch_star, tassel
from hangtag.catalogue.render.palette import CREAM, GOLD, INK, RGB, SILVER, scaled
from hangtag.catalogue.render.shapes import arc, both, box, curve, ellipse, flip, moved, ribbon, scaled_about


def hat(canvas: Canvas) -> None:
    """A hat with a rounded crown; its brim is narrow or wide."""
    wide = canvas.look.size == "Wide-Brimmed"
    reach, drop = (0.465, 0.13) if wide else (0.31, 0.07)
    base = 0.66
    brim = both([(0.5, base - 0.05), (0.5 + 0.6 * reach, base - 0.02), (0.5 + reach, base + 0.10),
                 (0.5 + 0.72 * reach, base + drop + 0.06), (0.5, base + drop + 0.10)])
    canvas.solid(moved(brim, 0, 0.018), canvas.deep(0.42), 60)
    canvas.cloth(brim, 110, 0.96)
    for t in (0.90, 0.78):
        rim = scaled_about(brim, 0.5, base + 0.05, t)
        canvas.stitches(rim)
    crown = both([(0.5, 0.17), (0.62, 0.19), (0.70, 0.30), (0.745, base + 0.015, 0), (0.5, base + 0.075)])
    canvas.cloth(crown, 165)
    band = curve([(0.262, base - 0.085), (0.5, base - 0.035), (0.738, base - 0.085), (0.747, base + 0.012),
                  (0.5, base + 0.075), (0.253, base + 0.012)])
    canvas.solid(band, canvas.deep(0.55), 180)
    for side in (0, 1):
        line = curve([(0.56, 0.20), (0.63, 0.36), (0.645, base - 0.09)], closed=False)
        canvas.seam(flip(line) if side else line, 110)
    if canvas.look.fitting == "Bow":
        bow(canvas, 0.5, base - 0.03, 0.31)
    elif canvas.look.fitting == "Star":
        patch_star(canvas, 0.5, 0.39, 0.155)
    elif canvas.look.fitting == "Gold Buckle":
        belt(canvas, curve([(0.255, base - 0.04), (0.5, base + 0.015), (0.745, base - 0.04)], closed=False))


def scarf(canvas: Canvas) -> None:
    """A scarf laid round a neck that is not there, knotted, with two tails."""
    low = 0.90 if canvas.look.size == "Long" else 0.68
    canvas.cloth(both([(0.5, 0.055), (0.66, 0.07), (0.78, 0.16), (0.79, 0.27), (0.66, 0.38), (0.5, 0.43)]), 110, 0.92)
    canvas.solid(both([(0.5, 0.10), (0.62, 0.115), (0.685, 0.17), (0.64, 0.235), (0.5, 0.27)]), canvas.deep(0.35), 30)
    canvas.hole(both([(0.5, 0.085), (0.61, 0.10), (0.655, 0.15), (0.60, 0.195), (0.5, 0.215)]))
    for side in (-1, 1):
        for out in (0.27, 0.20):
            canvas.fold(curve([(0.5 + side * out, 0.17), (0.5 + side * (out - 0.05), 0.30), (0.5, 0.37)],
                              closed=False), 0.55, 0.035)
    for x, foot, height in ((0.42, 0.33, 125), (0.58, 0.68, 145)):
        tail = [(x - 0.075, 0.36), (x + 0.075, 0.36), (foot + 0.125, low, 0), (foot - 0.125, low, 0)]
        canvas.cloth(curve(tail), height, 0.96 if height < 140 else 1.0)
        for dx in (-0.05, 0.05):
            canvas.fold([(foot + dx, low), (x + 0.3 * dx, 0.44)], 0.5, 0.05)
        if canvas.look.fitting == "Fringe":
            fringe(canvas, (foot - 0.13, low - 0.03), (foot + 0.13, low - 0.03), 0.14)
        elif canvas.look.fitting == "Tassel":
            tassel(canvas, foot, low - 0.22, 0.30)
    canvas.cloth(curve([(0.385, 0.33), (0.5, 0.30), (0.62, 0.33), (0.63, 0.43), (0.5, 0.485), (0.375, 0.43)]), 190)
    canvas.fold([(0.40, 0.36), (0.60, 0.41)], 0.7, 0.04)
    if canvas.look.fitting == "Star":
        patch_star(canvas, 0.5, 0.40, 0.135)


def socks(canvas: Canvas) -> None:
    """A pair of socks, one behind the other; to the ankle or to the knee."""
    top = 0.08 if canvas.look.size == "Long" else 0.42
    for dx, dy, height, shade in ((-0.09, -0.03, 100, 0.82), (0.07, 0.03, 150, 1.0)):
        t = top + dy

        def at(points: list[tuple[float, ...]], dx: float = dx) -> list[tuple[float, ...]]:
            return [(p[0] + dx, *p[1:]) for p in points]

        leg = curve(at([(0.22, t, 0), (0.47, t, 0), (0.475, 0.52 + dy), (0.52, 0.60 + dy), (0.78, 0.70 + dy),
                        (0.855, 0.79 + dy), (0.80, 0.875 + dy), (0.60, 0.88 + dy), (0.34, 0.84 + dy),
                            (0.22, 0.72 + dy), (0.215, 0.55 + dy)]))
        canvas.solid(moved(leg, -0.012, 0.012), canvas.deep(0.45), 60)
        canvas.cloth(leg, height, shade)
        cuff = curve(at([(0.212, t - 0.01, 0), (0.478, t - 0.01, 0), (0.478, t + 0.075, 0), (0.212, t + 0.075, 0)]))
        canvas.solid(cuff, canvas.deep(0.58 * shade), height + 30)
        toe = curve(at([(0.735, 0.675 + dy, 0), (0.81, 0.72 + dy), (0.855, 0.79 + dy), (0.80, 0.875 + dy),
                        (0.70, 0.88 + dy, 0), (0.69, 0.78 + dy)]))
        canvas.solid(toe, canvas.deep(0.58 * shade), height + 20)
        canvas.fold(curve(at([(0.46, 0.55 + dy), (0.36, 0.62 + dy), (0.26, 0.64 + dy)]), closed=False), 0.6, 0.05)
    if canvas.look.fitting == "Bow":
        bow(canvas, 0.415, top + 0.12, 0.25)
    elif canvas.look.fitting == "Star":
        patch_star(canvas, 0.43, 0.65, 0.125)
    elif canvas.look.fitting == "Tassel":
        tassel(canvas, 0.415, top + 0.03, 0.36)


METALS: dict[str, RGB] = {"Gold": GOLD, "Silver": SILVER}
DIALS: dict[str, tuple[RGB, RGB]] = {  # a watch's dial, and its hands
    "Gold Case": ((248, 244, 232), INK),
    "Silver Case": ((28, 104, 206), (250, 250, 252)),
    "Diamonds": ((24, 22, 30), (250, 250, 252)),
}


def watch(canvas: Canvas) -> None:
    """A wrist watch on a broad strap that runs through the frame; the strap is the same whatever the dial's size."""
    large = canvas.look.size == "Large"
    radius = 0.30 if large else 0.20
    metal = SILVER if canvas.look.fitting in ("Silver Case", "Diamonds") else GOLD
    face, mark = DIALS[canvas.look.fitting]
    x, y = 0.5, 0.37
    strap = curve([(x - 0.19, -0.12, 0), (x + 0.19, -0.12, 0), (x + 0.205, y), (x + 0.175, 1.12, 0),
                   (x - 0.175, 1.12, 0), (x - 0.205, y)])
    canvas.cloth(strap, 110)
    for side in (-1, 1):
        canvas.stitches([(x + side * 0.175, -0.1), (x + side * 0.188, y), (x + side * 0.158, 1.1)], CREAM, 0.007)
        for end in (-1, 1):
            lug = [(x + side * 0.12, y + end * radius * 0.6), (x + side * 0.235, y + end * radius * 0.6),
                   (x + side * 0.22, y + end * (radius + 0.04)), (x + side * 0.16, y + end * (radius + 0.04))]
            canvas.solid(curve(lug), scaled(metal, 0.85), 150, 150)
    canvas.solid(box(x + radius, y - 0.035, x + radius + 0.05, y + 0.035, 0.015), scaled(metal, 0.8), 150, 180)
    canvas.solid(ellipse(x, y, radius + 0.012, count=56), scaled(metal, 0.5), 150)
    canvas.solid(ellipse(x, y, radius, count=56), metal, 210, 230)
    canvas.solid(ribbon(arc(x, y, radius - 0.02, radius - 0.02, 190, 260, 20), 0.014), (255, 250, 235), 220, 150)
    dial = radius * (0.74 if large else 0.70)
    canvas.solid(ellipse(x, y, dial + 0.012, count=48), scaled(metal, 0.45), 120)
    canvas.solid(ellipse(x, y, dial, count=48), face, 130)
    for i in range(12):
        t = i * np.pi / 6
        a, b = (0.74, 0.92) if i % 3 == 0 else (0.82, 0.92)
        line = [(x + dial * a * np.sin(t), y - dial * a * np.cos(t)), (x + dial * b * np.sin(t),
            y - dial * b * np.cos(t))]
        canvas.solid(ribbon(line, 0.017 if i % 3 == 0 else 0.009), mark, 140)
    for angle, length, width in ((-60, 0.5, 0.02), (60, 0.72, 0.014)):
        t = np.radians(angle)
        canvas.solid(ribbon([(x, y), (x + dial * length * np.sin(t), y - dial * length * np.cos(t))],
                            (width, 0.008)), mark, 160)
    canvas.solid(ellipse(x, y, 0.017, count=14), metal, 200, 200)
    if canvas.look.fitting == "Diamonds":
        count, ring = (16, (radius + dial) / 2) if large else (11, (radius + dial) / 2)
        for i in range(count):
            t = 2 * np.pi * i / count
            cx, cy = x + ring * np.cos(t), y + ring * np.sin(t)
            canvas.solid(ellipse(cx, cy, 0.050, count=16), (40, 60, 90), 190)
            canvas.solid(ellipse(cx, cy, 0.041, count=8), (196, 240, 255), 235, 255)
            canvas.solid(ellipse(cx - 0.008, cy - 0.008, 0.018, count=6), (255, 255, 255), 250, 255)


def ring(canvas: Canvas) -> None:
    """A ring standing upright with a large stone; its band is slim or wide."""
    wide = canvas.look.size == "Wide"
    metal = METALS[canvas.look.material]
    x, y, radius = 0.5, 0.62, 0.27
    thick = 0.105 if wide else 0.038
    canvas.solid(ellipse(x, y, radius + thick, count=64), scaled(metal, 0.55), 120, 60)
    canvas.solid(ellipse(x, y, radius + thick - 0.010, count=64), metal, 190, 230)
    canvas.solid(ribbon(arc(x, y, radius + 0.55 * thick, radius + 0.55 * thick, 20, 80, 24), 0.25 * thick),
                 (255, 250, 238), 200, 120)
    canvas.solid(ribbon(arc(x, y, radius + 0.6 * thick, radius + 0.6 * thick, 175, 235, 24), 0.3 * thick),
                 (255, 250, 238), 200, 120)
    canvas.solid(ellipse(x, y, radius, count=64), scaled(metal, 0.45), 90, 40)
    canvas.hole(ellipse(x, y + 0.012, radius - 0.012, count=64))
    cy = 0.27
    setting = scaled(metal, 0.8)
    canvas.solid([(x - 0.13, cy + 0.05), (x + 0.13, cy + 0.05), (x + 0.07, y - radius + 0.02),
                  (x - 0.07, y - radius + 0.02)], setting, 160, 160)
    for side in (-1, 1):
        canvas.solid(ribbon([(x + side * 0.12, cy - 0.09), (x + side * 0.05, y - radius)], 0.03), metal, 190, 220)
    cut = canvas.look.fitting
    if cut == "Round":
        outline = ellipse(x, cy, 0.185, 0.185, 12)
    elif cut == "Square":
        outline = np.array([(x - 0.12, cy - 0.17), (x + 0.12, cy - 0.17), (x + 0.17, cy - 0.12),
                            (x + 0.17, cy + 0.12), (x + 0.12, cy + 0.17), (x - 0.12, cy + 0.17),
                                (x - 0.17, cy + 0.12), (x - 0.17, cy - 0.12)], np.float32)
    else:
        heart = [(0, -0.09, 0), (0.08, -0.19), (0.20, -0.15), (0.20, -0.02), (0.10, 0.12), (0, 0.21, 0),
                 (-0.10, 0.12), (-0.20, -0.02), (-0.20, -0.15), (-0.08, -0.19)]
        outline = curve([(x + p[0], cy + p[1], *p[2:]) for p in heart], steps=3)
    middle = np.array([x, cy], np.float32)
    canvas.solid(middle + 1.1 * (outline - middle), scaled(metal, 0.5), 170, 40)
    canvas.solid(middle + 1.07 * (outline - middle), metal, 200, 200)
    gem(canvas, outline, x, cy, canvas.base)
    light = BRIGHT if metal == GOLD else (235, 238, 244)
    if cut == "Round":
        claws = ellipse(x, cy, 0.205, count=14)
    elif cut == "Square":
        claws = box(x - 0.15, cy - 0.15, x + 0.15, cy + 0.15)
    else:
        claws = np.array([(x, cy - 0.10), (x, cy + 0.22)], np.float32)
    for px, py in claws:
        radius = 0.042 if cut == "Square" else 0.027
        canvas.solid(ellipse(px, py, 1.25 * radius, count=14), scaled(metal, 0.45), 215)
        canvas.solid(ellipse(px, py, radius, count=14), light, 230, 220)
