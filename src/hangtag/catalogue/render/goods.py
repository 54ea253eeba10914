"""The kinds of product that a row of any table can be drawn as: those of invented catalogues, and more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hangtag.catalogue.render import things, wear
from hangtag.catalogue.render.canvas import Canvas
from hangtag.catalogue.render.kinds import KINDS


@dataclass(frozen=True)
class Good:
    """How a kind is drawn. small, large: what its sizes are called; usual: the one where the text says none, "" for
    either; lowered: how far it is moved down into the frame's middle;
    sleeves: whether its sizes are those of its sleeves."""

    draw: Callable[[Canvas], None]
    small: str = ""
    large: str = ""
    usual: str = ""
    floor: bool = False
    pattern_scale: float = 1.0
    lowered: float = 0.0
    sleeves: bool = False


def _goods() -> dict[str, Good]:
    known = {
        name: Good(kind.draw, kind.sizes[0], kind.sizes[1], floor=kind.floor, pattern_scale=kind.pattern_scale)
        for name, kind in KINDS.items()
    }
    shirt, trousers = known["T-SHIRTS"], known["TROUSERS"]
    known["T-SHIRTS"] = replace(shirt, usual=shirt.small, sleeves=True)
    known["SHIRTS"] = replace(known["SHIRTS"], usual=known["SHIRTS"].large, sleeves=True)
    known["SWEATERS"] = replace(shirt, small=shirt.large)
    known["TROUSERS"] = replace(trousers, small=trousers.large)
    known["SHORTS"] = replace(trousers, large=trousers.small, lowered=0.19)
    known["RINGS"] = replace(known["RINGS"], lowered=-0.02)
    known["COATS"] = replace(known["COATS"], usual=known["COATS"].large)
    known["HOODIES"] = replace(known["HOODIES"], usual=known["HOODIES"].large)
    return known | {
        "TANKS": Good(wear.tank),
        "BRAS": Good(wear.bra),
        "JACKETS": Good(wear.jacket),
        "LOAFERS": Good(wear.loafer, floor=True),
        "SANDALS": Good(wear.sandals),
        "CAPS": Good(wear.cap),
        "HELMETS": Good(wear.helmet),
        "GLOVES": Good(wear.gloves),
        "DUFFLES": Good(things.duffle, floor=True),
        "BELTS": Good(things.belt),
        "TIES": Good(things.tie),
        "SUNGLASSES": Good(things.sunglasses, pattern_scale=1.25),
        "BOTTLES": Good(things.bottle, floor=True),
        "UMBRELLAS": Good(things.umbrella),
        "TENTS": Good(things.tent, floor=True),
        "BALLS": Good(things.ball, floor=True),
        "NECKLACES": Good(things.necklace),
        "EARRINGS": Good(things.earrings),
    }


GOODS = _goods()
