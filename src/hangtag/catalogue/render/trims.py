"""How each material is finished along the edges of a piece: the cue that tells materials apart from far away.

Every function takes the canvas and the outline of a piece that has just been filled; widths are in frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hangtag.catalogue.render.palette import FLEECE, INDIGO, OCHRE, TAN, UMBER
from hangtag.catalogue.render.shapes import Outline, Points, spaced

if TYPE_CHECKING:
    from hangtag.catalogue.render.canvas import Canvas


def contour(points: Outline, inset: float, step: float = 0.02) -> tuple[Points, Points]:
    """(N, 2) each: points every `step` along a closed outline, moved inwards by `inset`, and their outward normals."""
    p = np.asarray(points, np.float32)
    p = spaced(np.concatenate([p, p[:1]]), step)
    along = np.roll(p, -1, 0) - np.roll(p, 1, 0)
    along /= np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-6)
    area = np.sum(p[:, 0] * np.roll(p[:, 1], -1) - p[:, 1] * np.roll(p[:, 0], -1))
    outward = np.stack([along[:, 1], -along[:, 0]], 1) * np.sign(area)
    return p - inset * outward, outward


def _closed(p: Points) -> Points:
    return np.concatenate([p, p[:1]])


def topstitched(canvas: Canvas, points: Outline) -> None:
    """Denim: ochre stitches as thick as rope on a dark edge."""
    line = _closed(contour(points, 0.010)[0])
    canvas.stroke(line, INDIGO, 0.044, 140)
    third = spaced(line, 0.024)
    third = third[: len(third) // 3 * 3].reshape(-1, 3, 2)
    canvas.dashes(third[:, [0, 2]].reshape(-1, 2), OCHRE, 0.028, 170)


def bound(canvas: Canvas, points: Outline) -> None:
    """Canvas: bound with a broad band of tan leather."""
    line = _closed(contour(points, 0.002)[0])
    canvas.stroke(line, UMBER, 0.062, 150)
    canvas.stroke(line, TAN, 0.046, 175)


def piped(canvas: Canvas, points: Outline) -> None:
    """Leather: dark piping."""
    canvas.stroke(_closed(contour(points, 0.004)[0]), canvas.deep(0.24), 0.034, 160, gloss=40)


def fleeced(canvas: Canvas, points: Outline) -> None:
    """Shearling: puffs of cream fleece."""
    line, outward = contour(points, 0.006, 0.034)
    canvas.stroke(_closed(line), (214, 198, 166), 0.062, 120)
    wobble = np.sin(np.arange(len(line)) * 2.4 + 1.0)[:, None].astype(np.float32)
    canvas.discs(line + 0.010 * wobble * outward, FLEECE, 0.027, 205)


def ribbed(canvas: Canvas, points: Outline) -> None:
    """Knit: dark ribbed bands where a piece ends above and below."""
    line, outward = contour(points, 0.016, 0.017)
    level = np.abs(outward[:, 1]) > 0.72
    ends = np.flatnonzero(np.diff(np.concatenate([[0], level, [0]])))
    for start, stop in zip(ends[::2], ends[1::2], strict=True):
        run = line[start:stop]
        if len(run) > 2:
            canvas.stroke(run, canvas.deep(0.62), 0.060, 165)
    across = 0.029 * outward[level][::2]
    middle = line[level][::2]
    ribs = np.stack([middle + across, middle - across], 1).reshape(-1, 2)
    canvas.dashes(ribs, canvas.deep(0.30), 0.012, 90)


TRIMS: dict[str, Callable[[Canvas, Outline], None]] = {
    "Canvas": bound,
    "Denim": topstitched,
    "Knit": ribbed,
    "Leather": piped,
    "Shearling": fleeced,
}
