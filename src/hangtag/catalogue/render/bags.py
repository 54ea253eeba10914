"""Bags and wallets, seen from the front."""

# fmt: off

from __future__ import annotations

from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.fittings import (
    arc_line,
    belt,
    bow,
    chain,
    handle,
    pocket,
    studs,
    tassel,
    zip_line,
)
from hangtag.catalogue.render.palette import GOLD
from hangtag.catalogue.render.shapes import arc, both, box, curve, ellipse, moved, ribbon, scaled_about


def tote(canvas: Canvas) -> None:
    """An open bag with two handles; the handles are the same whatever the size of the body."""
    large = canvas.look.size == "Large"
    top, wide, foot, low = (0.33, 0.42, 0.35, 0.94) if large else (0.41, 0.34, 0.29, 0.89)
    x = 0.5
    handle(canvas, arc_line(x, top + 0.03, 0.17, 0.27), 0.04, 0.7)
    inside = [(x + wide - 0.02, top), (x + wide - 0.05, top - 0.025), (x, top - 0.03)]
    canvas.solid(both([*reversed(inside), (x + wide - 0.03, top + 0.05), (x, top + 0.06)]), canvas.deep(0.4),
                 60)
    body = [(x, top + 0.018), (x + wide - 0.03, top, 0), (x + wide, top + 0.06), (x + foot + 0.01, low - 0.05),
            (x + foot - 0.03, low), (x, low + 0.008)]
    canvas.cloth(both(body), 130)
    for side in (-1, 1):
        canvas.fold([(x + side * (wide - 0.06), top + 0.06), (x + side * (foot - 0.06), low - 0.06)], 0.5, 0.06)
        canvas.seam([(x + side * (wide - 0.05), top + 0.03), (x + side * (foot - 0.05), low - 0.005)], 80)
    canvas.fold([(x - 0.1, top + 0.1), (x + 0.02, low - 0.1)], 0.25, 0.12)
    canvas.stitches([(x - wide + 0.03, top + 0.04), (x, top + 0.055), (x + wide - 0.03, top + 0.04)])
    front = arc_line(x, top + 0.10, 0.17, 0.27)
    handle(canvas, front, 0.045)
    for side in (-1, 1):
        tab = box(x + side * 0.17 - 0.036, top + 0.055, x + side * 0.17 + 0.036, top + 0.15, 0.02)
        canvas.solid(tab, canvas.deep(0.6), 185, 30)
        canvas.solid(ellipse(x + side * 0.17, top + 0.125, 0.013), GOLD, 220, 220)
    middle = (top + low) / 2 + 0.06
    if canvas.look.fitting == "Gold Buckle":
        reach = (wide + foot) / 2
        belt(canvas, [(x - reach, middle), (x + reach, middle)])
    elif canvas.look.fitting == "Tassel":
        tassel(canvas, x, top + 0.03, 0.32)
    elif canvas.look.fitting == "Bow":
        bow(canvas, x, top + 0.04, 0.25)


def crossbody(canvas: Canvas) -> None:
    """A flap bag on a long strap."""
    large = canvas.look.size == "Large"
    wide, top, low = (0.42, 0.40, 0.92) if large else (0.33, 0.46, 0.91)
    x, depth = 0.5, low - top
    strap = arc(x, top + 0.04, 0.21, top - 0.02, 178, 362, 40)
    if canvas.look.fitting == "Chain":
        chain(canvas, strap)
    else:
        handle(canvas, strap, 0.032)
    canvas.cloth(both([(x, top), (x + wide - 0.04, top), (x + wide, top + 0.07), (x + wide, low - 0.08),
                       (x + wide - 0.05, low), (x, low + 0.01)]), 110, 0.9)
    flap = both([(x, top - 0.015), (x + wide - 0.03, top - 0.012), (x + wide + 0.006, top + 0.05),
                 (x + wide, top + 0.38 * depth), (x + 0.6 * wide, top + 0.60 * depth), (x, top + 0.66 * depth)])
    canvas.solid(moved(flap, 0, 0.014), canvas.deep(0.42), 70)
    canvas.cloth(flap, 175)
    canvas.stitches(scaled_about(flap, x, top + 0.3 * depth, 0.93))
    for side in (-1, 1):
        canvas.solid(ellipse(x + side * 0.21, top + 0.02, 0.026), GOLD, 210, 220)
        canvas.solid(ellipse(x + side * 0.21, top + 0.02, 0.012), (60, 44, 24), 160)
    clasp = top + 0.62 * depth
    if canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(x - wide, clasp - 0.04), (x + wide, clasp - 0.04)])
    elif canvas.look.fitting == "Tassel":
        tassel(canvas, x, top + 0.05, 0.32)
    elif canvas.look.fitting == "Chain":
        chain(canvas, curve([(x - wide, top + 0.40 * depth), (x - 0.6 * wide, top + 0.60 * depth),
                             (x, top + 0.66 * depth), (x + 0.6 * wide, top + 0.60 * depth),
                             (x + wide, top + 0.40 * depth)], closed=False))


def backpack(canvas: Canvas) -> None:
    """A rounded pack with a loop on top and its shoulder straps at the sides."""
    large = canvas.look.size == "Large"
    wide, top, low = (0.34, 0.15, 0.94) if large else (0.26, 0.35, 0.90)
    x, depth = 0.5, low - top
    canvas.solid(ribbon(arc(x, top + 0.03, 0.10, 0.11, 180, 360), 0.04), canvas.deep(0.5), 120)
    for side in (-1, 1):
        strap = curve([(x + side * 0.12, top + 0.04), (x + side * (wide + 0.07), top + 0.3 * depth),
                       (x + side * (wide + 0.06), low - 0.12), (x + side * (wide - 0.06), low - 0.03)], closed=False)
        handle(canvas, strap, 0.06, 0.85)
    body = both([(x, top), (x + 0.6 * wide, top + 0.025), (x + wide - 0.01, top + 0.24 * depth),
                 (x + wide, low - 0.14), (x + wide - 0.05, low - 0.01), (x, low)])
    canvas.cloth(body, 135)
    lid = curve([(x - wide + 0.012, top + 0.30 * depth), (x, top + 0.36 * depth),
                 (x + wide - 0.012, top + 0.30 * depth)], closed=False)
    canvas.seam(lid, 70, 0.012)
    canvas.stitches(moved(lid, 0, 0.018))
    for side in (-1, 1):
        canvas.fold([(x + side * (wide - 0.05), top + 0.35 * depth), (x + side * (wide - 0.04), low - 0.05)], 0.45,
                    0.05)
    canvas.seam(curve([(x - wide + 0.02, low - 0.09), (x, low - 0.06), (x + wide - 0.02, low - 0.09)], closed=False),
                85)
    if canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(x - wide, top + 0.55 * depth), (x + wide, top + 0.55 * depth)])
    elif canvas.look.fitting == "Pocket":
        pocket(canvas, x, top + 0.48 * depth, 1.3 * wide, 0.44 * depth)
    elif canvas.look.fitting == "Zip":
        zip_line(canvas, curve([(x - 0.96 * wide, top + 0.32 * depth), (x, top + 0.38 * depth),
                                (x + 0.96 * wide, top + 0.32 * depth)], closed=False),
                 pull=(x, top + 0.38 * depth))


def wallet(canvas: Canvas) -> None:
    """A folded wallet, lying: square when small, long when large."""
    large = canvas.look.size == "Large"
    wide, tall = (0.44, 0.25) if large else (0.30, 0.27)
    x, y = 0.5, 0.52
    canvas.solid(box(x - wide + 0.012, y - tall + 0.02, x + wide + 0.012, y + tall + 0.022, 0.04), canvas.deep(0.45),
                 60)
    canvas.cloth(box(x - wide, y - tall, x + wide, y + tall, 0.045), 140)
    inset = 0.022
    edge = box(x - wide + inset, y - tall + inset, x + wide - inset, y + tall - inset, 0.03)
    canvas.stitches([*edge, edge[0]])
    canvas.fold([(x - wide + 0.03, y + tall - 0.05), (x + wide - 0.03, y + tall - 0.05)], 0.3, 0.04)
    if canvas.look.fitting == "Gold Buckle":
        belt(canvas, [(x - wide - 0.01, y), (x + wide + 0.01, y)])
    elif canvas.look.fitting == "Zip":
        zip_line(canvas, [(x - wide, y - tall + 0.10), (x + wide, y - tall + 0.10)], pull=(x, y - tall + 0.10))
    elif canvas.look.fitting == "Studs":
        for side in (-1, 1):
            studs(canvas, [(x + side * (wide - 0.10), y - tall), (x + side * (wide - 0.10), y + tall)])
