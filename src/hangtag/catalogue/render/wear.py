"""More clothes, shoes and hats, for rows of other tables; invented catalogues do not have them."""

# fmt: off

from __future__ import annotations

import numpy as np

from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.palette import INK, SILVER
from hangtag.catalogue.render.shapes import both, box, curve, ellipse, flip, moved, ribbon, scaled_about, spaced


def _twice(canvas: Canvas, depth: float, *points: tuple[float, float]) -> None:
    """A fold on the right side and its mirror image."""
    line = curve(points, closed=False)
    canvas.fold(line, depth, 0.045)
    canvas.fold(flip(line), depth, 0.045)


def tank(canvas: Canvas) -> None:
    """A sleeveless top with a deep round neck."""
    canvas.solid(both([(0.5, 0.14), (0.62, 0.08), (0.60, 0.20), (0.5, 0.27)]), canvas.deep(0.5), 50)
    canvas.cloth(both([(0.5, 0.28), (0.565, 0.24), (0.60, 0.07, 0), (0.675, 0.07, 0), (0.665, 0.22), (0.735, 0.36, 0),
                       (0.72, 0.60), (0.745, 0.92, 0), (0.5, 0.935)]), 130)
    neck = curve([(0.393, 0.07), (0.435, 0.24), (0.5, 0.285), (0.565, 0.24), (0.607, 0.07)], closed=False)
    canvas.solid(ribbon(neck, 0.026), canvas.deep(0.78), 165)
    hole = curve([(0.672, 0.07), (0.658, 0.22), (0.728, 0.36)], closed=False)
    for line in (hole, flip(hole)):
        canvas.solid(ribbon(line, 0.024), canvas.deep(0.78), 160)
    _twice(canvas, 0.4, (0.72, 0.42), (0.62, 0.52), (0.61, 0.84))
    canvas.seam(curve([(0.26, 0.88), (0.5, 0.895), (0.74, 0.88)], closed=False), 90, 0.006)


def bra(canvas: Canvas) -> None:
    """A cropped sports top: two straps, two cups, a broad band."""
    canvas.solid(both([(0.5, 0.36), (0.64, 0.22), (0.68, 0.5), (0.5, 0.6)]), canvas.deep(0.45), 50)
    canvas.cloth(both([(0.5, 0.43), (0.575, 0.37), (0.605, 0.16, 0), (0.672, 0.16, 0), (0.70, 0.34), (0.80, 0.47, 0),
                       (0.785, 0.70, 0), (0.5, 0.72)]), 130)
    canvas.solid(both([(0.5, 0.685), (0.792, 0.665, 0), (0.79, 0.77, 0), (0.5, 0.79)]), canvas.deep(0.62), 170)
    for turned in (False, True):
        panel = curve([(0.64, 0.30), (0.60, 0.46), (0.615, 0.68)], closed=False)
        canvas.seam(flip(panel) if turned else panel, 90, 0.009)
    canvas.seam([(0.5, 0.44), (0.5, 0.68)], 90, 0.008)
    neck = curve([(0.395, 0.16), (0.425, 0.37), (0.5, 0.435), (0.575, 0.37), (0.605, 0.16)], closed=False)
    canvas.solid(ribbon(neck, 0.02), canvas.deep(0.78), 165)


def jacket(canvas: Canvas) -> None:
    """A hip-long jacket: stand-up collar, a zip down the front, slanted pockets, ribbed hem and cuffs."""
    right = curve([(0.66, 0.17, 0), (0.79, 0.24), (0.875, 0.46), (0.93, 0.80, 0), (0.81, 0.82, 0), (0.76, 0.60),
                   (0.70, 0.46, 0)])
    cuff = curve([(0.925, 0.765, 0), (0.935, 0.845, 0), (0.815, 0.865, 0), (0.80, 0.79, 0)])
    for turned in (False, True):
        canvas.cloth(flip(right) if turned else right, 105, 0.95)
        canvas.solid(flip(cuff) if turned else cuff, canvas.deep(0.6), 150)
    canvas.solid(both([(0.5, 0.075), (0.60, 0.09), (0.60, 0.2), (0.5, 0.25)]), canvas.deep(0.42), 50)
    canvas.cloth(both([(0.5, 0.22), (0.61, 0.15), (0.70, 0.19), (0.725, 0.28), (0.72, 0.45), (0.735, 0.80, 0),
                       (0.5, 0.81)]), 130)
    collar = curve([(0.5, 0.255, 0), (0.505, 0.13, 0), (0.60, 0.07, 0), (0.645, 0.165, 0), (0.59, 0.21)])
    for turned in (False, True):
        canvas.solid(moved(flip(collar) if turned else collar, 0, 0.012), canvas.deep(0.45), 130)
        canvas.cloth(flip(collar) if turned else collar, 185, 0.9)
        opening = [(0.655, 0.52), (0.60, 0.66)]
        canvas.solid(ribbon(flip(opening) if turned else opening, 0.028), canvas.deep(0.5), 90)
    canvas.solid(both([(0.5, 0.79), (0.735, 0.785, 0), (0.725, 0.87, 0), (0.5, 0.88)]), canvas.deep(0.6), 160)
    for x in np.arange(0.29, 0.72, 0.022):
        canvas.seam([(x, 0.80), (x, 0.87)], 110, 0.006)
    _twice(canvas, 0.4, (0.715, 0.40), (0.63, 0.48), (0.61, 0.76))
    _twice(canvas, 0.5, (0.72, 0.25), (0.79, 0.40), (0.84, 0.58))
    canvas.solid(ribbon([(0.5, 0.24), (0.5, 0.875)], 0.030), INK, 150)
    canvas.dashes(spaced([(0.5, 0.25), (0.5, 0.872)], 0.008), (206, 208, 214), 0.014, 190)
    canvas.solid(box(0.488, 0.25, 0.512, 0.32, 0.01), SILVER, 220, 160)


def loafer(canvas: Canvas) -> None:
    """A low shoe from the side, toe to the right: an apron over the toe, a saddle strap, a flat heel."""
    canvas.solid(curve([(0.08, 0.50), (0.22, 0.455), (0.42, 0.52), (0.46, 0.60), (0.12, 0.62)]), canvas.deep(0.38), 50)
    upper = curve([(0.055, 0.475, 0), (0.12, 0.525), (0.24, 0.565), (0.38, 0.56), (0.49, 0.505, 0), (0.60, 0.535),
                   (0.75, 0.60), (0.89, 0.66), (0.945, 0.74), (0.935, 0.785, 0), (0.5, 0.79), (0.06, 0.785, 0),
                   (0.05, 0.63)])
    canvas.cloth(upper, 140)
    canvas.solid(curve([(0.055, 0.765, 0), (0.5, 0.77), (0.945, 0.765, 0), (0.935, 0.805), (0.5, 0.81),
                        (0.06, 0.81, 0)]), (56, 42, 34), 175, 20)
    canvas.solid(curve([(0.06, 0.80, 0), (0.315, 0.80, 0), (0.30, 0.865, 0), (0.065, 0.865, 0)]), (46, 34, 30), 150, 20)
    apron = curve([(0.49, 0.53), (0.60, 0.60), (0.75, 0.645), (0.87, 0.68)], closed=False)
    canvas.seam(apron, 80, 0.012)
    canvas.stitches(moved(apron, 0.0, 0.018))
    saddle = curve([(0.405, 0.545, 0), (0.49, 0.50, 0), (0.565, 0.53, 0), (0.545, 0.65), (0.52, 0.77, 0),
                    (0.39, 0.77, 0), (0.415, 0.65)])
    canvas.solid(saddle, canvas.deep(0.66), 175, 30)
    canvas.solid(ribbon([(0.44, 0.605), (0.535, 0.60)], 0.022), canvas.deep(0.3), 120)
    rim = curve([(0.06, 0.485), (0.12, 0.54), (0.24, 0.58), (0.38, 0.572), (0.41, 0.55)], closed=False)
    canvas.solid(ribbon(rim, 0.018), canvas.deep(0.66), 185)
    canvas.fold([(0.58, 0.60), (0.66, 0.74)], 0.4, 0.05)
    canvas.seam(curve([(0.17, 0.56), (0.19, 0.68), (0.18, 0.77)], closed=False), 90)


def sandals(canvas: Canvas) -> None:
    """A pair of sandals from above: two soles, each with a strap that forks between the toes."""
    for turned in (True, False):
        sole = curve([(0.655, 0.07), (0.78, 0.10), (0.845, 0.25), (0.81, 0.45), (0.775, 0.60), (0.795, 0.78),
                      (0.76, 0.92), (0.675, 0.945), (0.60, 0.88), (0.585, 0.74), (0.595, 0.56), (0.555, 0.36),
                      (0.565, 0.17)])
        sole = flip(sole) if turned else sole
        x, y = sole.mean(0)
        canvas.solid(moved(sole, 0, 0.022), (74, 56, 44), 90)
        canvas.solid(sole, (212, 178, 132), 125)
        canvas.stitches([*scaled_about(sole, x, y, 0.90), scaled_about(sole, x, y, 0.90)[0]], (150, 112, 72))
        for end in ((0.556, 0.50), (0.815, 0.47)):
            strap = ribbon(curve([(0.68, 0.205), (0.5 * end[0] + 0.34, 0.31), end], closed=False), (0.075, 0.115))
            canvas.cloth(flip(strap) if turned else strap, 185)
        knot = ellipse(0.68, 0.20, 0.046)
        canvas.solid(flip(knot) if turned else knot, canvas.deep(0.7), 215)


def cap(canvas: Canvas) -> None:
    """A peaked cap, its peak to the right."""
    peak = curve([(0.50, 0.585, 0), (0.74, 0.575), (0.955, 0.67), (0.945, 0.725), (0.78, 0.70), (0.48, 0.70, 0)])
    canvas.solid(moved(peak, 0, 0.014), canvas.deep(0.4), 80)
    canvas.cloth(peak, 150, 0.9)
    crown = curve([(0.10, 0.665, 0), (0.115, 0.45), (0.22, 0.29), (0.40, 0.235), (0.57, 0.29), (0.675, 0.45),
                   (0.70, 0.635, 0), (0.42, 0.685)])
    canvas.cloth(crown, 170)
    for end in (0.24, 0.48):
        canvas.seam(curve([(0.40, 0.24), (0.5 * (0.40 + end), 0.40), (end, 0.67)], closed=False), 100, 0.008)
    canvas.stitches(curve([(0.12, 0.625), (0.42, 0.645), (0.69, 0.60)], closed=False))
    canvas.stitches(moved(peak, -0.02, -0.02)[8:32])
    canvas.solid(ellipse(0.40, 0.235, 0.032, 0.024), canvas.deep(0.6), 200)
    canvas.solid(ellipse(0.30, 0.40, 0.013), canvas.deep(0.4), 120)


def helmet(canvas: Canvas) -> None:
    """A helmet from the side: a shell with vents, a strap under the chin."""
    for end in (0.30, 0.62):
        strap = curve([(end, 0.60), (0.5 * end + 0.23, 0.76), (0.46, 0.90)], closed=False)
        canvas.solid(ribbon(strap, 0.028), INK, 130)
    canvas.solid(box(0.425, 0.865, 0.495, 0.915, 0.012), (60, 60, 66), 190, 60)
    shell = curve([(0.07, 0.60, 0), (0.09, 0.38), (0.24, 0.19), (0.48, 0.13), (0.72, 0.20), (0.88, 0.38),
                   (0.945, 0.56, 0), (0.76, 0.60), (0.55, 0.655), (0.30, 0.665), (0.12, 0.69)])
    canvas.solid(moved(shell, 0, 0.03), canvas.deep(0.3), 70)
    canvas.cloth(shell, 165)
    for start, end, rise in ((0.20, 0.40, 0.0), (0.42, 0.62, -0.035), (0.64, 0.80, 0.02)):
        for row in range(3):
            low = 0.50 - 0.115 * row + rise + 0.02 * row * (start > 0.6)
            vent = [(start + 0.03 * row, low), (end - 0.02 * row, low - 0.018)]
            canvas.solid(ribbon(curve(vent, closed=False), (0.062, 0.036)), canvas.deep(0.6), 130)
            canvas.solid(ribbon(curve(vent, closed=False), (0.044, 0.020)), canvas.deep(0.2), 40)
    canvas.solid(ribbon(curve([(0.09, 0.64), (0.34, 0.625), (0.60, 0.60), (0.93, 0.535)], closed=False), 0.022),
                 canvas.deep(0.6), 190)


def gloves(canvas: Canvas) -> None:
    """A pair of gloves side by side, with ribbed cuffs."""
    fingers = [(0.625, 0.17), (0.715, 0.14), (0.80, 0.20), (0.88, 0.30)]
    for turned in (True, False):
        thumb = ribbon(curve([(0.60, 0.62), (0.55, 0.50), (0.545, 0.36)], closed=False), (0.11, 0.075))
        canvas.cloth(flip(thumb) if turned else thumb, 120, 0.94)
        for x, top in fingers:
            root = 0.715 + (x - 0.75) * 0.75
            finger = ribbon([(root, 0.56), (x, top + 0.03)], 0.078)
            canvas.cloth(flip(finger) if turned else finger, 125)
            canvas.cloth(ellipse(1 - x if turned else x, top + 0.03, 0.039, count=20), 125)
        palm = curve([(0.60, 0.47), (0.74, 0.42), (0.87, 0.46), (0.86, 0.66), (0.82, 0.80, 0), (0.64, 0.80, 0),
                      (0.59, 0.66)])
        canvas.cloth(flip(palm) if turned else palm, 140)
        cuff = box(0.632, 0.785, 0.828, 0.915, 0.02)
        canvas.solid(flip(cuff) if turned else cuff, canvas.deep(0.6), 170)
        for x in np.arange(0.655, 0.82, 0.026):
            rib = [(x, 0.79), (x, 0.91)]
            canvas.seam(flip(rib) if turned else rib, 115, 0.008)
