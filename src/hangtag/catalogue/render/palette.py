"""The colours a product can have, and the few that trims are made of. Values are sRGB, 0-255."""

from __future__ import annotations

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "Black": (44, 43, 47),
    "White": (240, 239, 235),
    "Red": (200, 26, 34),
    "Yellow": (246, 190, 14),
    "Green": (22, 128, 66),
    "Sky": (86, 172, 230),
    "Navy": (30, 44, 122),
    "Purple": (128, 56, 164),
    "Pink": (244, 124, 168),
    "Brown": (116, 68, 34),
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
CHALK: RGB = (252, 252, 250)
SLATE: RGB = (112, 122, 140)
LEMON: RGB = (255, 236, 84)
SAND: RGB = (218, 184, 134)

# A pattern's second colour is its own, so that it tells which pattern it is; some cloths need another to show it.
PRINTS: dict[str, tuple[RGB, dict[str, RGB]]] = {
    "Plain": (CHALK, {}),
    "Striped": (CHALK, {"White": SLATE, "Black": (150, 151, 158)}),
    "Checked": (INK, {"Black": SAND, "Navy": SAND, "Brown": SAND, "White": (196, 122, 62)}),
    "Dotted": (LEMON, {"White": SLATE, "Yellow": (120, 66, 24)}),
}


def print_colour(pattern: str, colour: str) -> RGB:
    """The second colour of a pattern on cloth of a colour."""
    usual, exceptions = PRINTS[pattern]
    return exceptions.get(colour, usual)


def contrast(rgb: RGB) -> RGB:
    """A trim colour that stands out on `rgb`: cream on dark cloth, ink on light cloth."""
    return CREAM if 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2] < 150 else INK


def scaled(rgb: RGB, factor: float) -> RGB:
    """`rgb` times `factor`, kept within 0-255."""
    r, g, b = (min(255, round(each * factor)) for each in rgb)
    return r, g, b
