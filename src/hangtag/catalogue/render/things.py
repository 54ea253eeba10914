"""More things than clothes, for rows of other tables; invented catalogues do not have them."""

# fmt: off

from __future__ import annotations

import numpy as np

from hangtag.catalogue.render.accessories import METALS
from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.fittings import gem, handle
from hangtag.catalogue.render.palette import GOLD, INK, SILVER, scaled
from hangtag.catalogue.render.shapes import arc, both, box, curve, ellipse, flip, moved, ribbon, spaced


def duffle(canvas: Canvas) -> None:
    """A long soft bag with round ends, a zip along its top and two handles."""
    handle(canvas, arc(0.5, 0.52, 0.17, 0.29, 180, 360), 0.034, 0.75)
    body = curve([(0.13, 0.44, 0), (0.5, 0.405), (0.87, 0.44, 0), (0.945, 0.53), (0.955, 0.70), (0.90, 0.86, 0),
                  (0.5, 0.875), (0.10, 0.86, 0), (0.045, 0.70), (0.055, 0.53)])
    canvas.cloth(body, 135)
    for turned in (False, True):
        end = curve([(0.855, 0.435), (0.825, 0.65), (0.855, 0.865)], closed=False)
        canvas.solid(ribbon(flip(end) if turned else end, 0.024), canvas.deep(0.6), 175)
        fold = [(0.78, 0.50), (0.74, 0.84)]
        canvas.fold(flip(fold) if turned else fold, 0.4, 0.06)
        x = 0.5 + (-1 if turned else 1) * 0.19
        canvas.solid(box(x - 0.026, 0.50, x + 0.026, 0.87, 0.008), canvas.deep(0.55), 185)
        canvas.solid(ellipse(x, 0.545, 0.013), GOLD, 220, 220)
    zipped = curve([(0.15, 0.465), (0.5, 0.435), (0.85, 0.465)], closed=False)
    canvas.solid(ribbon(zipped, 0.030), INK, 160)
    canvas.dashes(spaced(zipped, 0.008), (206, 208, 214), 0.012, 190)
    handle(canvas, arc(0.5, 0.56, 0.19, 0.30, 180, 360), 0.040)


def belt(canvas: Canvas) -> None:
    """A belt, closed, lying as a ring; its buckle is in front."""
    back = arc(0.5, 0.43, 0.365, 0.155, 170, 370, 40)
    canvas.solid(ribbon(back, 0.095), canvas.deep(0.5), 70)
    canvas.solid(ribbon(moved(back, 0, 0.018), 0.070), canvas.deep(0.62), 60)
    front = arc(0.5, 0.46, 0.37, 0.18, -8, 188, 40)
    for end in (-8, 188):
        canvas.cloth(ribbon(arc(0.5, 0.46, 0.37, 0.18, 90, end, 24), (0.135, 0.095)), 160)
    for shift in (-0.042, 0.042):
        canvas.stitches(moved(front, 0, shift)[6:-6])
    for x in (0.66, 0.705, 0.75):
        canvas.solid(ellipse(x, 0.46 + 0.18 * np.sqrt(1 - ((x - 0.5) / 0.37) ** 2) , 0.011), canvas.deep(0.3), 60)
    x, y = 0.5, 0.64
    canvas.solid(box(x - 0.125, y - 0.115, x + 0.125, y + 0.115, 0.035), scaled(GOLD, 0.5), 190, 60)
    canvas.solid(box(x - 0.115, y - 0.105, x + 0.115, y + 0.105, 0.03), GOLD, 215, 210)
    canvas.cloth(box(x - 0.072, y - 0.066, x + 0.072, y + 0.066, 0.012), 150, 0.85)
    canvas.solid(box(x - 0.085, y - 0.013, x + 0.112, y + 0.013, 0.01), (255, 224, 150), 235, 220)
    canvas.solid(box(0.335, 0.55, 0.375, 0.70, 0.01), canvas.deep(0.7), 195)


def tie(canvas: Canvas) -> None:
    """A tie, knotted, its broad end in front."""
    canvas.cloth(both([(0.5, 0.24), (0.555, 0.24, 0), (0.585, 0.60), (0.565, 0.82, 0), (0.5, 0.87, 0)]), 90, 0.7)
    canvas.cloth([(0.455, 0.215), (0.545, 0.215), (0.635, 0.80), (0.5, 0.955), (0.365, 0.80)], 140)
    canvas.fold([(0.5, 0.25), (0.5, 0.92)], -0.4, 0.05)
    canvas.fold([(0.545, 0.26), (0.47, 0.42)], 0.5, 0.035)
    canvas.solid(moved(both([(0.5, 0.06), (0.60, 0.065, 0), (0.553, 0.235, 0), (0.5, 0.25)]), 0, 0.012),
                 canvas.deep(0.4), 130)
    canvas.cloth(both([(0.5, 0.05), (0.60, 0.055, 0), (0.553, 0.225, 0), (0.5, 0.24)]), 190, 0.92)
    canvas.fold([(0.56, 0.08), (0.50, 0.21)], 0.5, 0.03)


def sunglasses(canvas: Canvas) -> None:
    """Sunglasses from the front, their arms folded back."""
    for turned in (True, False):
        arm = curve([(0.90, 0.44), (0.86, 0.36), (0.72, 0.30)], closed=False)
        canvas.solid(ribbon(flip(arm) if turned else arm, 0.034), canvas.deep(0.55), 80)
    canvas.cloth(ribbon(curve([(0.40, 0.46), (0.5, 0.415), (0.60, 0.46)], closed=False), 0.052), 150)
    outline = curve([(0.555, 0.44), (0.64, 0.385), (0.80, 0.375), (0.935, 0.395, 0), (0.925, 0.54), (0.86, 0.655),
                     (0.73, 0.685), (0.61, 0.635), (0.55, 0.53)])
    x, y = outline.mean(0)
    middle = np.array([x, y], np.float32)
    lens = middle + 0.70 * (outline - middle)
    for turned in (True, False):
        canvas.cloth(flip(outline) if turned else outline, 170)
        canvas.solid(flip(lens) if turned else lens, (26, 28, 34), 130, 130)
        glint = curve([(x - 0.085, y + 0.07), (x - 0.045, y - 0.07), (x + 0.005, y - 0.095), (x - 0.04, y + 0.085)])
        canvas.solid(moved(glint, 1 - 2 * x if turned else 0, 0), (86, 94, 108), 132, 110)
        canvas.solid(ellipse(1 - 0.905 if turned else 0.905, 0.425, 0.012), SILVER, 210, 220)


def bottle(canvas: Canvas) -> None:
    """A bottle with a screw cap and a loop to carry it by."""
    canvas.solid(ribbon(arc(0.5, 0.135, 0.075, 0.085, 150, 390), 0.026), canvas.deep(0.5), 140)
    canvas.solid(box(0.455, 0.20, 0.545, 0.30), canvas.deep(0.5), 100)
    canvas.cloth(both([(0.5, 0.255), (0.56, 0.26, 0), (0.575, 0.30), (0.665, 0.39), (0.69, 0.50), (0.69, 0.88),
                       (0.65, 0.945), (0.5, 0.955)]), 150)
    canvas.solid(both([(0.5, 0.12), (0.575, 0.125, 0), (0.585, 0.245, 0), (0.5, 0.25)]), canvas.deep(0.62), 190, 60)
    for x in np.arange(0.43, 0.58, 0.02):
        canvas.solid(ribbon([(x, 0.135), (x, 0.235)], 0.006), canvas.deep(0.45), 150)
    for y in (0.50, 0.83):
        canvas.seam(curve([(0.312, y - 0.012), (0.5, y + 0.008), (0.688, y - 0.012)], closed=False), 90, 0.010)
    canvas.fold([(0.60, 0.42), (0.605, 0.90)], -0.6, 0.05)
    canvas.fold([(0.37, 0.46), (0.37, 0.90)], 0.4, 0.05)
    canvas.solid(ribbon(curve([(0.365, 0.45), (0.35, 0.55), (0.352, 0.76)], closed=False), (0.022, 0.010)),
                 scaled(canvas.base, 1.35), 165, 60)


def umbrella(canvas: Canvas) -> None:
    """An open umbrella from the side, its handle a hook."""
    canvas.solid(ribbon([(0.5, 0.06), (0.5, 0.16)], (0.012, 0.030)), (60, 48, 42), 150)
    canvas.solid(ribbon([(0.5, 0.40), (0.5, 0.84)], 0.026), (74, 58, 48), 130, 60)
    hook = arc(0.57, 0.84, 0.07, 0.085, 0, 180)
    canvas.stroke(hook, (150, 96, 48), 0.044, 170, 60)
    edge = [(0.93, 0.50), (0.79, 0.465), (0.64, 0.52), (0.5, 0.475)]
    right = [(0.5, 0.125), (0.66, 0.15), (0.82, 0.27), (0.945, 0.50, 0), edge[1], (0.645, 0.515, 0), (0.5, 0.475)]
    canvas.solid(moved(both(right), 0, 0.018), canvas.deep(0.4), 70)
    canvas.cloth(both(right), 150)
    for turned in (False, True):
        rib = curve([(0.5, 0.13), (0.605, 0.28), (0.645, 0.51)], closed=False)
        canvas.seam(flip(rib) if turned else rib, 95, 0.009)
        canvas.fold(flip(rib) if turned else rib, 0.4, 0.05)
        middle = curve([(0.54, 0.14), (0.72, 0.30), (0.79, 0.45)], closed=False)
        canvas.fold(flip(middle) if turned else middle, -0.4, 0.06)


def tent(canvas: Canvas) -> None:
    """A ridge tent from the front, its flaps drawn aside."""
    for turned in (False, True):
        rope = [(0.5, 0.20), (0.965, 0.80)]
        canvas.solid(ribbon(flip(rope) if turned else rope, 0.010), (216, 206, 180), 80)
    canvas.cloth(both([(0.5, 0.17), (0.53, 0.175, 0), (0.69, 0.46), (0.90, 0.82, 0), (0.5, 0.845)]), 140)
    canvas.solid(both([(0.5, 0.31), (0.57, 0.58), (0.66, 0.835, 0), (0.5, 0.842)]), canvas.deep(0.22), 30)
    flap = curve([(0.5, 0.29, 0), (0.605, 0.56), (0.735, 0.835, 0), (0.655, 0.835, 0), (0.60, 0.64)])
    for turned in (False, True):
        canvas.cloth(flip(flap) if turned else flap, 185, 0.84)
        tied = ribbon([(0.585, 0.60), (0.655, 0.585)], 0.026)
        canvas.solid(flip(tied) if turned else tied, canvas.trim, 210)
        fold = [(0.56, 0.24), (0.80, 0.80)]
        canvas.fold(flip(fold) if turned else fold, -0.4, 0.06)
        canvas.solid(ellipse(1 - 0.955 if turned else 0.955, 0.80, 0.014), (120, 124, 132), 160, 120)
    canvas.solid(ribbon([(0.5, 0.10), (0.5, 0.20)], 0.020), (96, 78, 58), 160)
    canvas.stitches(curve([(0.13, 0.80), (0.5, 0.825), (0.87, 0.80)], closed=False))


def ball(canvas: Canvas) -> None:
    """A ball with four seams."""
    x, y, radius = 0.5, 0.53, 0.36
    canvas.cloth(ellipse(x, y, radius, count=72), 150)
    for turned in (False, True):
        side = arc(x + 1.35 * radius, y, 0.92 * radius, 0.98 * radius, 133, 227)
        canvas.solid(ribbon(flip(side) if turned else side, 0.017), canvas.deep(0.4), 90)
    canvas.solid(ribbon(curve([(x, y - radius + 0.005), (x + 0.05, y), (x, y + radius - 0.005)], closed=False), 0.017),
                 canvas.deep(0.4), 90)
    canvas.solid(ribbon(curve([(x - radius + 0.005, y - 0.02), (x, y + 0.05), (x + radius - 0.005, y - 0.02)],
                              closed=False), 0.017), canvas.deep(0.4), 90)
    for out, depth in ((0.93, 0.5), (0.5, -0.3)):
        canvas.fold(arc(x, y, out * radius, out * radius, 20, 160), depth, 0.06)


def necklace(canvas: Canvas) -> None:
    """A necklace as it lies on a neck, with a large stone of the product's colour."""
    metal = METALS[canvas.look.material]
    line = curve([(0.17, 0.07), (0.20, 0.30), (0.33, 0.48), (0.5, 0.555), (0.67, 0.48), (0.80, 0.30), (0.83, 0.07)],
                 closed=False)
    canvas.stroke(line, scaled(metal, 0.5), 0.016, 130)
    for number, (x, y) in enumerate(spaced(line, 0.030)):
        canvas.solid(ellipse(x, y, 0.020 if number % 2 else 0.015, count=14), scaled(metal, 0.5), 160)
        canvas.solid(ellipse(x, y, 0.017 if number % 2 else 0.012, count=14), metal, 210, 220)
    canvas.solid(ribbon(arc(0.5, 0.585, 0.028, 0.034, 0, 359), 0.016), metal, 220, 220)
    _stone(canvas, 0.5, 0.745, 0.145, 0.165)


def earrings(canvas: Canvas) -> None:
    """A pair of drop earrings with stones of the product's colour."""
    metal = METALS[canvas.look.material]
    for x in (0.29, 0.71):
        canvas.stroke(arc(x + 0.035, 0.19, 0.055, 0.085, 150, 380), metal, 0.018, 190, 200)
        canvas.solid(ellipse(x, 0.30, 0.060), scaled(metal, 0.5), 170, 60)
        canvas.solid(ellipse(x, 0.30, 0.052), metal, 210, 220)
        canvas.solid(ellipse(x, 0.30, 0.034), canvas.base, 225, 120)
        for y in (0.385, 0.43):
            canvas.solid(ribbon(arc(x, y, 0.018, 0.022, 0, 359), 0.012), metal, 200, 220)
        _stone(canvas, x, 0.65, 0.135, 0.19)


def _stone(canvas: Canvas, x: float, y: float, wide: float, tall: float) -> None:
    """A cut stone of the product's colour in a metal rim."""
    metal = METALS[canvas.look.material]
    canvas.solid(ellipse(x, y, 1.16 * wide, 1.14 * tall, 40), scaled(metal, 0.5), 160, 60)
    canvas.solid(ellipse(x, y, 1.12 * wide, 1.10 * tall, 40), metal, 195, 220)
    gem(canvas, ellipse(x, y, wide, tall, 14), x, y, canvas.base)
