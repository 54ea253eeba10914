"""A drawing of a product as four maps at twice the size: colour, height, what it is made of, and where it is.

Shapes are given in the product's own frame (the unit square) and drawn through its pose. `lighting` turns the maps
into a picture. Colours are premultiplied: nothing is drawn where there is no product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from hangtag.catalogue.render.materials import MATERIALS, Material
from hangtag.catalogue.render.palette import COLOURS, RGB, contrast, print_colour, scaled
from hangtag.catalogue.render.shapes import Outline, Points, ribbon, spaced
from hangtag.catalogue.render.trims import TRIMS

OVERSAMPLE = 2
CELLS = 64  # side of the coarse maps of soft shapes, the same for every size of picture


@dataclass(frozen=True)
class Look:
    """Everything that can be seen of a product and is said in its tag."""

    kind: str
    colour: str
    pattern: str
    material: str
    size: str
    fitting: str


@dataclass(frozen=True)
class Pose:
    """Where a product lies: degrees, frames, a factor, and whether it is mirrored."""

    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    mirror: bool = False

    def matrix(self) -> tuple[Points, Points]:
        """(2, 2) and (2,): a point p of the product lies at p @ A.T + b in the frame."""
        cos, sin = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
        a = self.scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if self.mirror else 1.0, 1.0])
        return a.astype(np.float32), (np.array([0.5, 0.5]) - a @ [0.5, 0.5] + self.shift).astype(np.float32)


class Canvas:
    """The maps of one product while it is drawn; heights run from 0 to 255, other lengths in frames.

    dyes: the cloth's colour and its pattern's; None for those that the look names.
    """

    def __init__(self, look: Look, pose: Pose, size: int, dyes: tuple[RGB, RGB] | None = None) -> None:
        self.look, self.pose, self.size = look, pose, size
        self.material: Material = MATERIALS[look.material]
        self.base, self.second = dyes or (COLOURS[look.colour], print_colour(look.pattern, look.colour))
        self.trim = contrast(self.base)
        self.side = OVERSAMPLE * size
        self.colour = Image.new("RGB", (self.side, self.side))
        self.surface = Image.new("CMYK", (self.side, self.side))  # height, cloth, metal, cover
        self.folds = Image.new("L", (CELLS, CELLS), 128)
        self._colour, self._surface = ImageDraw.Draw(self.colour), ImageDraw.Draw(self.surface)
        self._folds = ImageDraw.Draw(self.folds)
        self.shiny = self.material.gloss > 0
        self._a, self._b = pose.matrix()

    def _place(self, points: Outline, side: float) -> list[float]:
        flat: list[float] = ((np.asarray(points, np.float32) @ self._a.T + self._b) * side).ravel().tolist()
        return flat

    def _fill(self, points: Outline, rgb: RGB, surface: tuple[int, int, int, int]) -> None:
        xy = self._place(points, self.side)
        self._colour.polygon(xy, fill=rgb)
        self._surface.polygon(xy, fill=surface)

    def deep(self, factor: float) -> RGB:
        """The cloth's colour where it is darker or deeper; black gets lighter above a half, so as still to be seen."""
        if sum(self.base) > 150 or max(self.base) - min(self.base) > 24:
            return scaled(self.base, factor)
        return (round(132 * factor), round(129 * factor), round(138 * factor)) if factor > 0.5 else (18, 17, 19)

    def cloth(self, points: Outline, height: int = 120, shade: float = 1.0) -> None:
        """Fill with the product's own colour, pattern and material, and finish the edge as the material is finished;
        `shade` darkens a part that lies deeper."""
        self._fill(points, scaled(self.base, shade), (height, round(255 * min(1.0, shade)), 0, 255))
        if self.look.material in TRIMS:
            TRIMS[self.look.material](self, points)

    def solid(self, points: Outline, rgb: RGB, height: int = 140, gloss: int = 0) -> None:
        """Fill with one colour; `gloss` 0-255 makes it shine."""
        self.shiny |= gloss > 0
        self._fill(points, rgb, (height, 0, gloss, 255))

    def hole(self, points: Outline) -> None:
        """Cut through to the background."""
        self._fill(points, (0, 0, 0), (0, 0, 0, 0))

    def seam(self, points: Outline, height: int = 85, width: float = 0.007) -> None:
        """A narrow groove in cloth along an open line; `height` lies below the part's own."""
        self._surface.polygon(self._place(ribbon(points, width), self.side), fill=(height, 255, 0, 255))

    def stroke(self, points: Outline, rgb: RGB, width: float, height: int, gloss: int = 0) -> None:
        """A line of one colour and even width, with round corners."""
        self.shiny |= gloss > 0
        xy, thick = self._place(points, self.side), max(1, round(width * self.side))
        p = np.asarray(points, np.float32)
        way = np.diff(p, axis=0)
        turn = way[:-1, 0] * way[1:, 1] - way[:-1, 1] * way[1:, 0]
        corners = p[1:-1][np.abs(turn) > 0.35 * np.hypot(*way[:-1].T) * np.hypot(*way[1:].T)]
        self._colour.line(xy, fill=rgb, width=thick)
        self._surface.line(xy, fill=(height, 0, gloss, 255), width=thick)
        if len(corners):
            self.discs(corners, rgb, width / 2, height, gloss)

    def dashes(self, points: Points, rgb: RGB, width: float, height: int) -> None:
        """Straight dashes from every even point to the next."""
        xy, thick = self._place(points, self.side), max(1, round(width * self.side))
        for i in range(0, len(xy) - 3, 4):
            self._colour.line(xy[i : i + 4], fill=rgb, width=thick)
            self._surface.line(xy[i : i + 4], fill=(height, 0, 0, 255), width=thick)

    def discs(self, points: Points, rgb: RGB, radius: float, height: int, gloss: int = 0) -> None:
        """A disc at every point."""
        xy, r = self._place(points, self.side), radius * self.side
        for x, y in zip(xy[::2], xy[1::2], strict=True):
            self._colour.ellipse((x - r, y - r, x + r, y + r), fill=rgb)
            self._surface.ellipse((x - r, y - r, x + r, y + r), fill=(height, 0, gloss, 255))

    def fold(self, points: Outline, depth: float = 0.5, width: float = 0.05) -> None:
        """A soft fold along an open line; `depth` -1..1, negative for a ridge."""
        cells = CELLS
        self._folds.polygon(self._place(ribbon(points, (width, width * 0.4)), cells), fill=round(128 - 100 * depth))

    def stitches(self, points: Outline, rgb: RGB | None = None, width: float = 0.006, height: int = 130) -> None:
        """A row of stitches along an open line; none in the cloth's own thread where the edge is finished otherwise."""
        if rgb is None and self.look.material in TRIMS:
            return
        if rgb is None:
            rgb = scaled(self.base, 0.62) if sum(self.base) > 200 else scaled(self.base, 2.2)
        self.dashes(spaced(points, 0.009), rgb, width, height)
