"""A picture for a row of any table: what its text says, drawn; and its price level, as the room it is pictured in.

The price level is told by the backdrop, and only by it: ivory paper under even light for the cheapest row, dark petrol
cloth with a pool of light behind the product for the dearest, and between them in equal steps of the logarithm.
"""

from __future__ import annotations

import colorsys
import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hangtag.catalogue.render import studio
from hangtag.catalogue.render.canvas import Canvas, Look
from hangtag.catalogue.render.goods import GOODS, Good
from hangtag.catalogue.render.lighting import photograph
from hangtag.catalogue.render.own_shape import own_shape
from hangtag.catalogue.render.palette import CHALK, COLOURS, INK, RGB, scaled
from hangtag.catalogue.render.vocabulary import SHADE
from hangtag.catalogue.render.wording import Said, read

CHEAPEST: RGB = (232, 228, 218)
DEAREST: RGB = (20, 48, 58)
USUAL: dict[str, RGB] = {"Denim": (58, 84, 134), "Leopard": SHADE["Camel"], "Camouflage": SHADE["Olive"]}
"""What a material or a pattern looks like where no colour is said."""
JEWELS = ("RINGS", "NECKLACES", "EARRINGS")
POOL = 1.3
"""How much more light the dearest product's backdrop gets behind it."""


def depict(category: str, words: str, level: float, rng: np.random.Generator, size: int = 336) -> Image.Image:
    """A square RGB picture, `size` pixels a side, of a row's product.

    Args:
        category: the row's most specific category; one that is not known gets a shape of its own, from its name. Where
            it is missing ("", "N.A."), the kind is read from `words`.
        words: the title and what else tells colours, patterns and materials. A row without a colour word is drawn in a
            colour of its last unknown word, so that words nobody has listed can be seen too; without any, in one of
            `rng`.
        level: the price's rank in its table, 0 (cheapest) to 1 (dearest).
        rng: decides the pose, the light and what the text leaves open, by the same number of draws whatever the text.
    """
    said = read(category, words)
    pose, scene = studio(rng)
    chance = rng.random(4)
    good = GOODS.get(said.kind, Good(lambda canvas: own_shape(canvas, said.name), floor=True))
    pose = replace(pose, shift=(pose.shift[0], pose.shift[1] + good.lowered))
    canvas = Canvas(_look(said, good, chance), pose, size, _dyes(said, chance[0]))
    good.draw(canvas)
    backdrop, spot = _room(level)
    return photograph(canvas, replace(scene, backdrop=backdrop, spot=spot), good.floor, good.pattern_scale)


def _room(level: float) -> tuple[RGB, float]:
    """The backdrop's colour and the strength of the pool of light for a price level."""
    level = float(np.clip(np.nan_to_num(level, nan=0.5), 0, 1))
    r, g, b = (round(light * (dark / light) ** level) for light, dark in zip(CHEAPEST, DEAREST, strict=True))
    return (r, g, b), POOL * level


def _look(said: Said, good: Good, chance: NDArray[np.float64]) -> Look:
    open_size = good.usual or (good.small if chance[1] < 0.5 else good.large)
    size = {"-": good.small, "+": good.large}.get(said.sleeves if good.sleeves else said.size, open_size)
    pattern = said.pattern or "Plain"
    if pattern == "Plain" and len(said.colours) > 1:
        pattern = "Blocked"
    material, fitting = said.material or "Cotton", said.fitting
    metal = _metal(said, chance[2])
    if said.kind in JEWELS:
        material, pattern = metal, "Plain"
        fitting = fitting if fitting == "Heart" else ("Round", "Square")[int(2 * chance[3])]
    elif said.kind == "WATCHES":
        fitting = fitting if fitting == "Diamonds" else f"{metal} Case"
    return Look(said.kind, "", pattern, material, size, fitting)


def _metal(said: Said, chance: float) -> str:
    for name in ("Gold", "Silver"):
        if SHADE[name] in said.colours:
            return name
    return "Gold" if chance < 0.5 else "Silver"


def _dyes(said: Said, chance: float) -> tuple[RGB, RGB]:
    """The cloth's colour and its pattern's; of jewels, the stone's."""
    colours = said.colours
    if said.kind in JEWELS:
        colours = tuple(rgb for rgb in colours if rgb not in (SHADE["Gold"], SHADE["Silver"]))
    if colours:
        base = colours[0]
    elif said.material in USUAL or said.pattern in USUAL:
        base = USUAL.get(said.pattern) or USUAL[said.material]
    elif said.unknown:
        base = _colour_of(said.unknown)
    else:
        base = list(COLOURS.values())[int(chance * len(COLOURS))]
    if len(colours) > 1:
        return base, colours[1]
    light = 0.3 * base[0] + 0.59 * base[1] + 0.11 * base[2] > 150
    if said.pattern in ("Camouflage", "Houndstooth", "Leopard"):
        return base, scaled(base, 0.3) if light or said.pattern == "Leopard" else scaled(base, 0.42)
    return base, INK if light else CHALK


def _colour_of(word: str) -> RGB:
    """A colour of a word's own, neither grey nor very dark nor very light."""
    digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
    hue, strong, bright = digest[0] / 256, digest[1] / 255, digest[2] / 255
    r, g, b = colorsys.hsv_to_rgb(hue, 0.36 + 0.36 * strong, 0.50 + 0.42 * bright)
    return round(255 * r), round(255 * g), round(255 * b)
