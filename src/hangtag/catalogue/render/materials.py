"""What cloth looks like: textures as height maps, and how each meets the light.

Textures and patterns are drawn once per process as square tiles, two frames wide, and sampled through a product's pose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from hangtag.catalogue.render.patterns import MORE_PATTERNS, PATTERNS, Field, noise

TILE = 2.0  # side of a tile, in frames
FINEST = 1024  # pixels per frame that a tile has at most


@dataclass(frozen=True)
class Material:
    """How a material meets the light.

    relief: depth of the texture, in frames; gloss: strength of highlights; sheen: a broad band of light across it;
    mottle: how much the texture also changes the colour's lightness; nap: light its fibres scatter, 0-255, which
    is what shows on dark cloth; drape: strength of the broad bands of light on flowing cloth; rim: how dark it gets
    towards its edges; spark: highlights on top of the texture's humps, 0-255.
    """

    texture: Callable[[Field, Field], Field]
    relief: float
    gloss: float = 0.0
    sheen: float = 0.0
    mottle: float = 0.0
    nap: float = 0.0
    drape: float = 0.0
    rim: float = 0.0
    spark: float = 0.0


def _smooth(u: Field, v: Field) -> Field:
    return noise(u.shape, 260, 1)


def _leather(u: Field, v: Field) -> Field:
    return noise(u.shape, 180, 2)


def _canvas(u: Field, v: Field) -> Field:
    a, b = u / 0.05, v / 0.05
    over = (np.floor(a) + np.floor(b)) % 2
    across, along = np.sin(np.pi * (a % 1)), np.sin(np.pi * (b % 1))
    weave = np.where(over > 0, across * along**0.3, along * across**0.3)
    woven: Field = weave * (0.80 + 0.20 * over)
    return woven


def _denim(u: Field, v: Field) -> Field:
    twill: Field = 0.5 + 0.5 * np.sin(2 * np.pi * (u + v) / 0.055)
    return twill


def _knit(u: Field, v: Field) -> Field:
    t = (u / 0.125) % 1
    cable = np.sqrt(np.sin(np.pi * t))
    twist = 0.5 + 0.5 * np.cos(2 * np.pi * (v / 0.105 + 1.1 * np.abs(t - 0.5)))
    knit: Field = cable * (0.40 + 0.60 * twist**0.7)
    return knit


def _quilted(u: Field, v: Field) -> Field:
    a, b = np.abs(np.sin(np.pi * (u + v) / 0.23)), np.abs(np.sin(np.pi * (u - v) / 0.23))
    puff: Field = (a * b) ** 0.5
    return puff


def _croc(u: Field, v: Field) -> Field:
    u = u + 0.024 * (noise(u.shape, 24, 7) - 0.5)
    v = v + 0.024 * (noise(u.shape, 24, 8) - 0.5)
    row = np.floor(v / 0.115)
    s, t = (u / 0.15 + 0.5 * (row % 2)) % 1, (v / 0.115) % 1
    dome = 0.84 * (1 - np.abs(2 * s - 1) ** 4) * (1 - np.abs(2 * t - 1) ** 4)
    scale: Field = np.where(np.hypot(0.15 * (s - 0.42), 0.21 * (t - 0.36)) < 0.022, 1, dome)
    return scale


def _shearling(u: Field, v: Field) -> Field:
    curl: Field = 0.5 + 0.5 * np.cos(2 * np.pi * 1.7 * (noise(u.shape, 44, 10) + 0.15 * noise(u.shape, 100, 11)))
    return curl


MATERIALS: dict[str, Material] = {
    "Cotton": Material(_smooth, 0.0007, mottle=0.04),
    "Canvas": Material(_canvas, 0.006, mottle=0.30, nap=26),
    "Denim": Material(_denim, 0.004, mottle=0.24, nap=30),
    "Knit": Material(_knit, 0.030, mottle=0.30, nap=36),
    "Quilted": Material(_quilted, 0.050, gloss=0.30, mottle=0.42, spark=70),
    "Satin": Material(_smooth, 0.0003, gloss=0.25, drape=0.75),
    "Leather": Material(_leather, 0.0006, gloss=0.6, sheen=1.0, mottle=0.03, rim=0.75),
    "Croc": Material(_croc, 0.022, gloss=0.30, mottle=0.46, spark=160),
    "Shearling": Material(_shearling, 0.010, mottle=0.15, nap=34),
    "Gold": Material(_smooth, 0.0),
    "Silver": Material(_smooth, 0.0),
}


def waves(u: Field, v: Field) -> Field:
    """-1..1: the broad bands of light on draped satin."""
    return np.sin(2 * np.pi * (0.9 * u + 0.55 * v + 0.03 * np.sin(7 * v) + 0.02 * np.sin(9 * u - 4 * v)) / 0.30)


def tile_scale(size: int) -> int:
    """Pixels per frame of the tiles for pictures of `size` pixels: twice the picture's, so that sampling is cheap."""
    return min(2 * size, FINEST)


def _grid(scale: int) -> tuple[Field, Field]:
    line = (np.arange(round(TILE * scale), dtype=np.float32) + 0.5) / scale
    u, v = np.meshgrid(line, line)
    return u, v


@cache
def texture_tile(name: str, scale: int) -> Image.Image:
    """The tile of a material at `scale` pixels per frame, mode L: heights, which also darken what lies low."""
    height = MATERIALS[name].texture(*_grid(scale))
    return Image.fromarray((np.clip(height, 0, 1) * 255).astype(np.uint8))


@cache
def pattern_tile(name: str, scale: int) -> Image.Image | None:
    """The tile of a pattern, mode L: the share of the second colour; None for plain cloth."""
    draw = PATTERNS[name] if name in PATTERNS else MORE_PATTERNS[name]
    return None if draw is None else Image.fromarray((draw(*_grid(scale)) * 255).astype(np.uint8))
