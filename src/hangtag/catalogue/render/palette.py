"""The colours a product can have, and the few that trims are made of. Values are sRGB, 0-255."""

from __future__ import annotations

RGB = tuple[int, int, int]

COLOURS: dict[str, tuple[RGB, RGB]] = {
    # name: cloth, and the second colour of a pattern
    "Black": ((44, 43, 47), (200, 200, 204)),
    "White": ((240, 239, 235), (112, 122, 140)),
    "Red": ((200, 26, 34), (250, 222, 212)),
    "Yellow": ((246, 190, 14), (255, 249, 226)),
    "Green": ((22, 128, 66), (205, 236, 208)),
    "Sky": ((86, 172, 230), (238, 247, 255)),
    "Navy": ((30, 44, 122), (186, 200, 238)),
    "Purple": ((128, 56, 164), (232, 210, 245)),
    "Pink": ((244, 124, 168), (255, 240, 244)),
    "Brown": ((116, 68, 34), (232, 202, 164)),
}

GOLD: RGB = (222, 170, 58)
SILVER: RGB = (184, 196, 216)
CREAM: RGB = (246, 238, 220)
INK: RGB = (36, 34, 38)
RUBBER: RGB = (244, 243, 238)
OCHRE: RGB = (250, 142, 20)  # stitches on denim
INDIGO: RGB = (26, 28, 52)
TAN: RGB = (206, 164, 112)  # binding of canvas
UMBER: RGB = (84, 54, 30)
FLEECE: RGB = (255, 248, 228)


def contrast(rgb: RGB) -> RGB:
    """A trim colour that stands out on `rgb`: cream on dark cloth, ink on light cloth."""
    return CREAM if 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2] < 150 else INK


def scaled(rgb: RGB, factor: float) -> RGB:
    """`rgb` times `factor`, kept within 0-255."""
    r, g, b = (min(255, round(each * factor)) for each in rgb)
    return r, g, b
