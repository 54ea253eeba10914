"""Shoes seen from the side, toe to the right (or mirrored)."""

# fmt: off

from __future__ import annotations

from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.fittings import belt, bow, patch_star, studs, zip_line
from hangtag.catalogue.render.palette import CREAM, RUBBER
from hangtag.catalogue.render.shapes import curve, moved, ribbon


def sneaker(canvas: Canvas) -> None:
    """A sneaker with a thick white sole; the high one covers the ankle."""
    high = canvas.look.size == "High-Top"
    top = 0.16 if high else 0.34
    sole = curve([(0.05, 0.73, 0), (0.30, 0.75), (0.6, 0.74), (0.94, 0.735), (0.965, 0.78), (0.93, 0.83),
                  (0.5, 0.84), (0.1, 0.84), (0.045, 0.80)])
    inside = curve([(0.10, top + 0.02), (0.26, top - 0.035), (0.42, top + 0.02), (0.40, top + 0.16),
                    (0.12, top + 0.14)])
    canvas.solid(inside, canvas.deep(0.38), 50)
    upper = curve([(0.07, top, 0), (0.14, top + 0.055), (0.24, top + 0.07), (0.34, top + 0.045),
                   (0.425, top + 0.005, 0), (0.50, 0.40 if not high else 0.36),
                   (0.60, 0.545), (0.76, 0.59), (0.90, 0.64), (0.945, 0.75, 0), (0.5, 0.77), (0.06, 0.75, 0),
                       (0.05, 0.6)])
    canvas.cloth(upper, 130)
    toe = curve([(0.81, 0.605, 0), (0.85, 0.67), (0.86, 0.75, 0), (0.945, 0.75, 0), (0.90, 0.645)])
    canvas.solid(toe, RUBBER, 165)
    heel = curve([(0.05, 0.58), (0.085, 0.60), (0.105, 0.75, 0), (0.06, 0.75, 0)])
    canvas.solid(heel, canvas.deep(0.6), 160)
    canvas.seam(curve([(0.30, top + 0.06), (0.36, 0.58), (0.48, 0.76)], closed=False), 80)
    canvas.seam(curve([(0.81, 0.605), (0.85, 0.67), (0.86, 0.75)], closed=False), 80)
    steps = 5 if high else 3
    for i in range(steps):
        t = (i + 0.6) / steps
        x, y = 0.425 + t * 0.20, top + 0.02 + t * (0.555 - top - 0.02)
        canvas.solid(ribbon([(x - 0.105, y + 0.055), (x + 0.02, y - 0.018)], 0.030), CREAM, 195)
        canvas.solid(ribbon([(x - 0.105, y + 0.068), (x + 0.015, y - 0.002)], 0.006), (150, 144, 132), 150)
    canvas.solid(sole, RUBBER, 170)
    canvas.solid(ribbon(curve([(0.05, 0.785), (0.5, 0.80), (0.955, 0.785)], closed=False), 0.012), canvas.deep(0.9),
                 150)
    canvas.fold([(0.60, 0.60), (0.70, 0.72)], 0.4, 0.05)
    if canvas.look.fitting == "Star":
        patch_star(canvas, 0.30, 0.62, 0.125)
    elif canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(0.06, 0.49), (0.50, 0.49)], 0.18)
    if canvas.look.fitting == "Studs":
        studs(canvas, curve([(0.06, 0.715), (0.45, 0.72), (0.945, 0.715)], closed=False))


def boot(canvas: Canvas) -> None:
    """A boot with a block heel; the shaft ends at the ankle or below the knee."""
    tall = canvas.look.size == "Tall"
    top = 0.07 if tall else 0.30
    canvas.solid(curve([(0.20, top + 0.01), (0.36, top - 0.03), (0.53, top + 0.01), (0.36, top + 0.07)]),
                 canvas.deep(0.38), 50)
    upper = curve([(0.19, top, 0), (0.36, top + 0.05), (0.54, top, 0), (0.525, 0.40), (0.555, 0.56), (0.68, 0.66),
                   (0.84, 0.71), (0.90, 0.80),
                   (0.89, 0.855, 0), (0.5, 0.855), (0.17, 0.85, 0), (0.165, 0.70), (0.20, 0.50)])
    canvas.cloth(upper, 130)
    canvas.solid(curve([(0.165, 0.835, 0), (0.40, 0.84, 0), (0.385, 0.93, 0), (0.18, 0.93, 0)]), (44, 34, 30), 150,
                 30)
    canvas.solid(curve([(0.165, 0.84, 0), (0.5, 0.845), (0.90, 0.835), (0.905, 0.875), (0.85, 0.89), (0.5, 0.88),
                        (0.39, 0.87, 0), (0.17, 0.87, 0)]), (52, 40, 34), 175, 20)
    canvas.seam(curve([(0.17, 0.72), (0.30, 0.68), (0.42, 0.72), (0.50, 0.85)], closed=False), 80)
    canvas.seam(curve([(0.555, 0.57), (0.62, 0.70), (0.74, 0.85)], closed=False), 80)
    canvas.stitches(curve([(0.20, top + 0.045), (0.36, top + 0.095), (0.53, top + 0.045)], closed=False))
    canvas.fold([(0.50, 0.50), (0.30, 0.56)], 0.5, 0.05)
    canvas.fold([(0.54, 0.58), (0.34, 0.64)], 0.45, 0.05)
    if canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(0.18, 0.57), (0.57, 0.57)], 0.18)
    elif canvas.look.fitting == "Zip":
        zip_line(canvas, [(0.36, top + 0.07), (0.36, 0.83)])
    elif canvas.look.fitting == "Studs":
        studs(canvas, curve([(0.17, 0.775), (0.5, 0.785), (0.90, 0.785)], closed=False))


def pump(canvas: Canvas) -> None:
    """A pointed pump; the heel is high or low."""
    seat, dip = (0.56, 0.52) if canvas.look.size == "High-Heeled" else (0.76, 0.60)  # where heel and instep rest
    back, floor = seat - 0.34, 0.88
    dark = canvas.deep(0.6)
    heel = [(0.05, seat - 0.10, 0), (0.30, seat + 0.03, 0), (0.19, seat + 0.11), (0.15, floor, 0), (0.07, floor, 0),
            (0.075, seat + 0.1)]
    canvas.solid(curve(heel), dark, 130, 60)
    canvas.solid(curve([(0.08, back + 0.02), (0.20, back + 0.06), (0.48, dip), (0.64, dip + 0.06), (0.5, 0.74),
                        (0.12, seat - 0.1)]), canvas.deep(0.42), 60)
    sole = [(0.05, seat, 0), (0.25, seat + 0.04), (0.47, 0.82), (0.65, floor), (0.965, floor, 0), (0.8, 0.80),
            (0.4, seat)]
    canvas.solid(moved(curve(sole), 0, 0.012), (40, 32, 30), 100)
    upper = [(0.03, back, 0), (0.10, back + 0.045), (0.22, 0.4 * back + 0.6 * dip), (0.38, dip), (0.50, dip + 0.03),
             (0.60, dip - 0.03, 0), (0.72, dip + 0.05),
             (0.86, 0.71), (0.975, 0.865, 0), (0.8, floor), (0.64, floor - 0.005), (0.46, 0.81), (0.25, seat + 0.03),
                 (0.05, seat - 0.01, 0), (0.02, back + 0.15)]
    canvas.cloth(curve(upper), 150)
    canvas.seam(curve([(0.25, 0.2 * back + 0.8 * dip + 0.02), (0.27, seat - 0.04), (0.30, seat + 0.06)],
                      closed=False), 100, 0.007)
    rim = curve([(0.05, back + 0.025), (0.12, back + 0.08), (0.22, 0.4 * back + 0.6 * dip + 0.03),
                 (0.38, dip + 0.025), (0.50, dip + 0.055), (0.585, dip + 0.005)], closed=False)
    canvas.solid(ribbon(rim, 0.018), dark, 185)
    x, y = 0.66, dip + 0.06
    if canvas.look.fitting == "Bow":
        bow(canvas, x, y + 0.02, 0.28)
    elif canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(x - 0.06, dip - 0.02), (x, y + 0.07), (x + 0.04, 0.88)], 0.19)
    elif canvas.look.fitting == "Studs":
        studs(canvas, curve([(0.05, seat - 0.14), (0.22, seat - 0.06), (0.42, 0.5 * dip + 0.41), (0.64, 0.80),
                             (0.92, 0.83)], closed=False))
