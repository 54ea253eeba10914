"""Clothes, seen from the front, hung or laid flat."""

# fmt: off

from __future__ import annotations

from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.fittings import belt, bow, buttons, fringe, patch_star, pocket, zip_line
from hangtag.catalogue.render.palette import CREAM, INK
from hangtag.catalogue.render.shapes import Points, both, box, curve, flip, moved, ribbon, scaled_about


def _sleeves(canvas: Canvas, long: bool, top: float = 0.15, cuff: bool = False, reach: float = 1.0) -> None:
    """Two sleeves from the shoulders (0.5 +- 0.27, top); `reach` shortens long ones."""
    if long:
        right = [(0.68, top, 0), (0.80, top + 0.07), (0.885, top + 0.30), (0.955, 0.80, 0), (0.85, 0.825, 0),
                 (0.78, 0.55), (0.70, top + 0.28, 0)]
        end = [(0.955, 0.80), (0.85, 0.825)]
        right = [(p[0], top + (p[1] - top) * reach, *p[2:]) for p in right]
        end = [(x, top + (y - top) * reach) for x, y in end]
    else:
        right = [(0.68, top, 0), (0.80, top + 0.05), (0.965, top + 0.25, 0), (0.845, top + 0.345, 0),
                 (0.70, top + 0.24, 0)]
        end = [(0.965, top + 0.25), (0.845, top + 0.345)]
    for side in (0, 1):
        outline = curve(right)
        canvas.cloth(flip(outline) if side else outline, 105, 0.95)
        hem = _between(end, 0.06 if not cuff else 0.09, (0.70, top + 0.24))
        canvas.seam(flip(hem) if side else hem, 70, 0.010)
        line: Points = curve([(0.72, top + 0.12), (0.80, top + 0.25), (0.86, top + 0.42)], closed=False)
        if long:
            canvas.fold(flip(line) if side else line, 0.5, 0.05)
        else:
            canvas.fold(flip(line[:10]) if side else line[:10], 0.35, 0.05)


def _between(end: list[tuple[float, float]], part: float, towards: tuple[float, float]) -> Points:
    return curve([(x + part * (towards[0] - x), y + part * (towards[1] - y)) for x, y in end], closed=False)


def _body(canvas: Canvas, low: float, top: float = 0.13, neck: float = 0.11, flare: float = 0.0) -> None:
    """A garment's trunk from the shoulders to a hem at `low`."""
    canvas.cloth(
        both([(0.5, top + 0.03), (0.5 + neck, top - 0.02, 0), (0.70, top + 0.03), (0.725, top + 0.09),
              (0.715, top + 0.25), (0.72 + flare, low - 0.02, 0), (0.5, low + 0.012)]),
        130,
    )
    for side in (0, 1):
        for line, depth in (
            (curve([(0.71, top + 0.26), (0.62, top + 0.36), (0.60, low - 0.1)], closed=False), 0.35),
            (curve([(0.70, top + 0.10), (0.69, top + 0.17), (0.71, top + 0.25)], closed=False), 0.55),
        ):
            canvas.fold(flip(line) if side else line, depth, 0.045)
        seam = curve([(0.695, top + 0.03), (0.685, top + 0.15), (0.712, top + 0.25)], closed=False)
        canvas.seam(flip(seam) if side else seam, 85)
    canvas.seam(curve([(0.28 - flare, low - 0.05), (0.5, low - 0.03), (0.72 + flare, low - 0.05)], closed=False), 90,
                0.006)


def tshirt(canvas: Canvas) -> None:
    """A T-shirt with a round neck."""
    _sleeves(canvas, canvas.look.size == "Long-Sleeved")
    canvas.solid(both([(0.5, 0.085), (0.60, 0.105), (0.60, 0.15), (0.5, 0.20)]), canvas.deep(0.5), 50)
    canvas.cloth(both([(0.5, 0.205), (0.56, 0.185), (0.615, 0.105, 0), (0.70, 0.15), (0.725, 0.22), (0.715, 0.38),
                       (0.725, 0.90, 0), (0.5, 0.915)]), 130)
    canvas.solid(ribbon(curve([(0.385, 0.105), (0.43, 0.185), (0.5, 0.21), (0.57, 0.185), (0.615, 0.105)],
                              closed=False), 0.026), canvas.deep(0.85), 165)
    for side in (0, 1):
        line = curve([(0.71, 0.40), (0.62, 0.50), (0.60, 0.80)], closed=False)
        canvas.fold(flip(line) if side else line, 0.4, 0.05)
        seam = curve([(0.695, 0.15), (0.685, 0.28), (0.712, 0.38)], closed=False)
        canvas.seam(flip(seam) if side else seam, 80)
    canvas.seam(curve([(0.28, 0.86), (0.5, 0.875), (0.72, 0.86)], closed=False), 90, 0.006)
    canvas.stitches(curve([(0.28, 0.868), (0.5, 0.883), (0.72, 0.868)], closed=False))
    if canvas.look.fitting == "Pocket":
        pocket(canvas, 0.5, 0.55, 0.36, 0.29)
    elif canvas.look.fitting == "Star":
        patch_star(canvas, 0.5, 0.47, 0.165)
    elif canvas.look.fitting == "Bow":
        bow(canvas, 0.5, 0.26, 0.29)


def shirt(canvas: Canvas) -> None:
    """A shirt; its pointed collar and its placket are cream whatever its colour."""
    _sleeves(canvas, canvas.look.size == "Long-Sleeved", cuff=True)
    canvas.solid(both([(0.5, 0.075), (0.585, 0.09), (0.59, 0.15), (0.5, 0.22)]), canvas.deep(0.5), 50)
    _body(canvas, 0.91)
    canvas.solid(box(0.448, 0.16, 0.552, 0.922), INK, 120)
    canvas.solid(box(0.458, 0.16, 0.542, 0.916), CREAM, 150)
    for x in (0.472, 0.528):
        canvas.stitches([(x, 0.2), (x, 0.91)], (170, 160, 140))
    for side in (0, 1):
        collar = curve([(0.5, 0.20, 0), (0.585, 0.055, 0), (0.69, 0.115, 0), (0.655, 0.325, 0)])
        collar = flip(collar) if side else collar
        x, y = collar.mean(0)
        canvas.solid(scaled_about(collar, x, y, 1.14), INK, 150)
        canvas.solid(collar, CREAM, 190)
        stitch = curve([(0.525, 0.205), (0.643, 0.295), (0.672, 0.13)], closed=False)
        canvas.stitches(flip(stitch) if side else stitch, (170, 160, 140))
    if canvas.look.fitting == "Buttons":
        buttons(canvas, [(0.5, 0.38), (0.5, 0.82)], 3, 0.062)
    elif canvas.look.fitting == "Pocket":
        for side in (-1, 1):
            pocket(canvas, 0.5 + side * 0.14, 0.55, 0.20, 0.27)
    elif canvas.look.fitting == "Bow":
        bow(canvas, 0.5, 0.31, 0.27)


def hoodie(canvas: Canvas) -> None:
    """A hooded sweatshirt; cropped at the waist or long."""
    low = 0.90 if canvas.look.size == "Long" else 0.60
    _sleeves(canvas, True, 0.20, cuff=True)
    _body(canvas, low, 0.18)
    canvas.cloth(curve([(0.275, low - 0.07, 0), (0.725, low - 0.07, 0), (0.70, low + 0.02, 0), (0.5, low + 0.03),
                        (0.30, low + 0.02, 0)]), 150, 0.84)
    hood = both([(0.5, 0.045), (0.60, 0.065), (0.665, 0.17), (0.615, 0.27), (0.5, 0.345)])
    canvas.solid(moved(hood, 0, 0.012), canvas.deep(0.5), 90)
    canvas.cloth(hood, 185)
    canvas.solid(both([(0.5, 0.10), (0.575, 0.12), (0.605, 0.19), (0.56, 0.26), (0.5, 0.315)]), canvas.deep(0.38), 60)
    for side in (-1, 1):
        canvas.solid(ribbon(curve([(0.5 + side * 0.055, 0.29), (0.5 + side * 0.075, 0.36),
                                   (0.5 + side * 0.07, 0.43)], closed=False), 0.017), canvas.trim, 210)
    if canvas.look.fitting == "Zip":
        zip_line(canvas, [(0.5, 0.35), (0.5, low + 0.02)])
    elif canvas.look.fitting == "Pocket":
        pocket(canvas, 0.5, low - 0.22, 0.36, 0.22)
    elif canvas.look.fitting == "Star":
        patch_star(canvas, 0.5, 0.48, 0.13 if low < 0.8 else 0.15)


def coat(canvas: Canvas) -> None:
    """A coat with lapels; to the hip or to the calf."""
    long = canvas.look.size == "Long"
    low, flare = (0.955, 0.09) if long else (0.60, 0.02)
    _sleeves(canvas, True, 0.13, reach=0.76)
    canvas.solid(both([(0.5, 0.05), (0.59, 0.07), (0.59, 0.15), (0.5, 0.36)]), canvas.deep(0.4), 40)
    _body(canvas, low, 0.11, 0.11, flare)
    canvas.solid([(0.44, 0.09), (0.56, 0.09), (0.5, 0.33)], canvas.deep(0.4), 50)
    canvas.seam([(0.505, 0.33), (0.505, low)], 50, 0.010)
    for side in (0, 1):
        lapel = curve([(0.5, 0.36, 0), (0.55, 0.07, 0), (0.645, 0.10, 0), (0.665, 0.19, 0), (0.625, 0.205, 0),
                       (0.65, 0.24, 0)])
        canvas.solid(moved(flip(lapel) if side else lapel, 0, 0.012), canvas.deep(0.5), 110)
        canvas.cloth(flip(lapel) if side else lapel, 190, 0.93)
        notch = [(0.665, 0.19), (0.60, 0.21)]
        canvas.seam(flip(notch) if side else notch, 110)
    if canvas.look.fitting == "Buttons":
        for side in (-1, 1):
            buttons(canvas, [(0.5 + side * 0.09, 0.40), (0.5 + side * 0.09, min(low - 0.06, 0.76))],
                    3 if long else 2, 0.052)
    elif canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(0.27, 0.465), (0.73, 0.465)])
    elif canvas.look.fitting == "Zip":
        zip_line(canvas, [(0.5, 0.34), (0.5, low)])


def dress(canvas: Canvas) -> None:
    """A sleeveless dress with a waist; the skirt ends above the knee or at the floor."""
    long = canvas.look.size == "Long"
    low, hem = (0.96, 0.36) if long else (0.72, 0.38)
    canvas.solid(both([(0.5, 0.09), (0.59, 0.06), (0.58, 0.14), (0.5, 0.20)]), canvas.deep(0.42), 50)
    skirt = both([(0.5, 0.37), (0.625, 0.37, 0), (0.66, 0.44), (0.5 + hem, low, 0), (0.5 + hem * 0.5, low + 0.018),
                  (0.5, low + 0.01)])
    canvas.cloth(skirt, 120)
    for side in (-1, 1):
        for at in (0.25, 0.6, 0.85):
            canvas.fold([(0.5 + side * at * hem, low + 0.02), (0.5 + side * (0.03 + 0.08 * at), 0.42)], 0.75, 0.07)
    canvas.fold([(0.5, low + 0.02), (0.5, 0.46)], -0.4, 0.05)
    canvas.cloth(both([(0.5, 0.21), (0.565, 0.17), (0.585, 0.05, 0), (0.64, 0.05, 0), (0.655, 0.18), (0.70, 0.24, 0),
                       (0.655, 0.32), (0.63, 0.40, 0), (0.5, 0.405)]), 140)
    canvas.seam(curve([(0.37, 0.395), (0.5, 0.40), (0.63, 0.395)], closed=False), 80, 0.009)
    for side in (0, 1):
        dart = curve([(0.585, 0.39), (0.575, 0.32), (0.60, 0.26)], closed=False)
        canvas.seam(flip(dart) if side else dart, 100, 0.005)
    if canvas.look.fitting == "Bow":
        bow(canvas, 0.5, 0.23, 0.24)
    elif canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(0.36, 0.40), (0.64, 0.40)], 0.19)
    elif canvas.look.fitting == "Buttons":
        buttons(canvas, [(0.5, 0.27), (0.5, low - 0.08)], 5 if long else 3, 0.054)


def skirt(canvas: Canvas) -> None:
    """A flared skirt on a waistband."""
    long = canvas.look.size == "Long"
    top, low, hem = (0.08, 0.93, 0.40) if long else (0.26, 0.72, 0.38)
    waist = 0.2
    canvas.cloth(both([(0.5, top + 0.06), (0.5 + waist, top + 0.06, 0), (0.5 + hem * 0.82, (top + low) / 2),
                       (0.5 + hem, low, 0), (0.5 + hem * 0.5, low + 0.025), (0.5, low + 0.012)]), 120)
    for side in (-1, 1):
        for at in (0.22, 0.5, 0.8):
            canvas.fold([(0.5 + side * at * hem, low + 0.03), (0.5 + side * at * waist, top + 0.12)], 0.8, 0.08)
    canvas.fold([(0.5, low + 0.02), (0.5, top + 0.2)], -0.4, 0.05)
    canvas.cloth(curve([(0.5 - waist - 0.005, top, 0), (0.5 + waist + 0.005, top, 0),
                        (0.5 + waist + 0.01, top + 0.085, 0), (0.5, top + 0.095),
                            (0.5 - waist - 0.01, top + 0.085, 0)]), 170, 0.86)
    canvas.seam(curve([(0.29, top + 0.09), (0.5, top + 0.10), (0.71, top + 0.09)], closed=False), 60, 0.010)
    canvas.stitches(curve([(0.5 - hem + 0.03, low - 0.035), (0.5, low - 0.02), (0.5 + hem - 0.03, low - 0.035)],
                          closed=False))
    if canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(0.5 - waist - 0.01, top + 0.05), (0.5 + waist + 0.01, top + 0.05)])
    elif canvas.look.fitting == "Buttons":
        buttons(canvas, [(0.5, top + 0.13), (0.5, low - 0.07)], 5 if long else 3, 0.054)
    elif canvas.look.fitting == "Fringe":
        fringe(canvas, (0.5 - 0.80 * hem, low - 0.17), (0.5 + 0.80 * hem, low - 0.17), 0.20)


def trousers(canvas: Canvas) -> None:
    """Straight trousers; cropped above the knee or long."""
    low = 0.95 if canvas.look.size == "Long" else 0.58
    for side in (0, 1):
        leg = curve([(0.5, 0.12, 0), (0.70, 0.12, 0), (0.745, 0.30), (0.76, low, 0), (0.56, low + 0.008, 0),
                     (0.515, 0.38, 0), (0.49, 0.34, 0)])
        canvas.cloth(flip(leg) if side else leg, 125)
        for line, depth in (
            (curve([(0.52, 0.37), (0.60, 0.33), (0.70, 0.32)], closed=False), 0.5),
            (curve([(0.53, 0.40), (0.62, 0.40), (0.70, 0.44)], closed=False), 0.35),
        ):
            canvas.fold(flip(line) if side else line, depth, 0.045)
        crease = [(0.655, 0.35), (0.66, low)]
        canvas.fold(flip(crease) if side else crease, -0.45, 0.03)
        mouth = curve([(0.56, 0.155), (0.60, 0.215), (0.715, 0.225)], closed=False)
        canvas.seam(flip(mouth) if side else mouth, 70, 0.009)
        hem = [(0.56, low - 0.035), (0.76, low - 0.043)]
        canvas.seam(flip(hem) if side else hem, 85)
        canvas.stitches(moved(flip(mouth) if side else mouth, 0, 0.014))
    canvas.seam(curve([(0.5, 0.14), (0.505, 0.26), (0.5, 0.37)], closed=False), 60, 0.010)
    canvas.stitches(curve([(0.535, 0.15), (0.535, 0.26), (0.505, 0.31)], closed=False))
    canvas.cloth(box(0.295, 0.055, 0.705, 0.135, 0.01), 165, 0.86)
    canvas.seam([(0.295, 0.137), (0.705, 0.137)], 60, 0.009)
    if canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(0.283, 0.13), (0.717, 0.13)])
    elif canvas.look.fitting == "Pocket":
        for side in (-1, 1):
            pocket(canvas, 0.5 + side * 0.145, 0.27, 0.21, 0.26)
    elif canvas.look.fitting == "Buttons":
        for side in (-1, 1):
            buttons(canvas, [(0.5 + side * 0.105, 0.20), (0.5 + side * 0.105, 0.42)], 3, 0.047)
    for x in (0.36, 0.64):
        canvas.solid(box(x - 0.013, 0.048, x + 0.013, 0.145, 0.006), canvas.deep(0.7), 200)
