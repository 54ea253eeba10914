"""The kinds of product there are: where each stands in the shop, how it is drawn, what values its attributes take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from hangtag.catalogue.render import accessories, bags, clothes, shoes
from hangtag.catalogue.render.canvas import Canvas, Look
from hangtag.catalogue.render.palette import COLOURS
from hangtag.catalogue.render.patterns import PATTERNS

NONE = ""


@dataclass(frozen=True)
class Kind:
    """One kind of product.

    categories: levels 1 to 3; noun: its word in a title; share: relative frequency; sizes, materials and fittings:
    the values that occur; fitting_words: how a fitting is said; pattern_scale: finer patterns for narrow products;
    floor: whether it is pictured standing.
    """

    categories: tuple[str, str, str]
    noun: str
    draw: Callable[[Canvas], None]
    sizes: tuple[str, ...]
    materials: tuple[str, ...]
    fittings: tuple[str, ...]
    share: float = 1.0
    patterns: tuple[str, ...] = tuple(PATTERNS)
    colours: tuple[str, ...] = tuple(COLOURS)
    template: str = "{size} {colour} {pattern} {material} {noun} with {fitting}"
    pattern_scale: float = 1.0
    floor: bool = False

    @property
    def name(self) -> str:
        return self.categories[2]

    def looks(self) -> Iterator[Look]:
        """Every product of this kind that can be."""
        for colour, pattern, material, size, fitting in product(
            self.colours, self.patterns, self.materials, self.sizes, self.fittings
        ):
            yield Look(self.name, colour, pattern, material, size, fitting)

    def title(self, look: Look) -> str:
        """The product's title: every word can be seen; "plain" and a fitting that is not there are not said."""
        words = self.template if look.fitting else self.template.removesuffix(" with {fitting}")
        pattern = "" if look.pattern == "Plain" else look.pattern
        said = words.format(
            size=look.size,
            colour=look.colour,
            pattern=pattern,
            material=look.material,
            noun=self.noun,
            fitting=look.fitting,
        )
        return " ".join(said.split())


BAG_SIZES = ("Small", "Large")
LENGTHS = ("Short", "Long")
SLEEVES = ("Short-Sleeved", "Long-Sleeved")

_KINDS = (
    Kind(
        ("WOMAN", "BAGS", "TOTE BAGS"),
        "Tote Bag",
        bags.tote,
        BAG_SIZES,
        ("Canvas", "Leather"),
        (NONE, "Gold Buckle", "Bow"),
        1.3,
        floor=True,
    ),
    Kind(
        ("WOMAN", "BAGS", "CROSSBODY BAGS"),
        "Crossbody Bag",
        bags.crossbody,
        BAG_SIZES,
        ("Leather", "Quilted"),
        (NONE, "Chain", "Tassel"),
        1.1,
        floor=True,
    ),
    Kind(
        ("MAN", "BAGS", "BACKPACKS"),
        "Backpack",
        bags.backpack,
        BAG_SIZES,
        ("Canvas", "Quilted"),
        (NONE, "Pocket", "Zip"),
        0.9,
        floor=True,
    ),
    Kind(
        ("MAN", "ACCESSORIES", "WALLETS"),
        "Wallet",
        bags.wallet,
        BAG_SIZES,
        ("Denim", "Croc"),
        (NONE, "Zip", "Studs"),
        0.8,
    ),
    Kind(
        ("KIDS", "SHOES", "SNEAKERS"),
        "Sneakers",
        shoes.sneaker,
        ("Low-Top", "High-Top"),
        ("Canvas", "Leather"),
        (NONE, "Star", "Studs"),
        1.3,
        pattern_scale=1.15,
        floor=True,
    ),
    Kind(
        ("MAN", "SHOES", "BOOTS"),
        "Boots",
        shoes.boot,
        ("Ankle", "Tall"),
        ("Leather", "Shearling"),
        (NONE, "Gold Buckle", "Zip"),
        0.9,
        floor=True,
    ),
    Kind(
        ("WOMAN", "SHOES", "PUMPS"),
        "Pumps",
        shoes.pump,
        ("Low-Heeled", "High-Heeled"),
        ("Satin", "Croc"),
        (NONE, "Bow", "Studs"),
        0.9,
        pattern_scale=1.2,
        floor=True,
    ),
    Kind(
        ("KIDS", "TOPS", "T-SHIRTS"),
        "T-Shirt",
        clothes.tshirt,
        SLEEVES,
        ("Cotton", "Knit"),
        (NONE, "Pocket", "Star"),
        1.3,
    ),
    Kind(
        ("MAN", "TOPS", "SHIRTS"),
        "Shirt",
        clothes.shirt,
        SLEEVES,
        ("Cotton", "Denim"),
        (NONE, "Pocket", "Bow"),
        1.1,
    ),
    Kind(
        ("KIDS", "TOPS", "HOODIES"),
        "Hoodie",
        clothes.hoodie,
        ("Cropped", "Long"),
        ("Cotton", "Shearling"),
        (NONE, "Star", "Zip"),
        1.0,
    ),
    Kind(
        ("WOMAN", "OUTERWEAR", "COATS"),
        "Coat",
        clothes.coat,
        LENGTHS,
        ("Quilted", "Shearling"),
        (NONE, "Gold Buckle", "Buttons"),
        1.2,
    ),
    Kind(
        ("WOMAN", "DRESSES", "DRESSES"),
        "Dress",
        clothes.dress,
        LENGTHS,
        ("Denim", "Satin"),
        (NONE, "Gold Buckle", "Bow"),
        1.2,
    ),
    Kind(
        ("WOMAN", "BOTTOMS", "SKIRTS"),
        "Skirt",
        clothes.skirt,
        LENGTHS,
        ("Denim", "Leather"),
        (NONE, "Buttons", "Fringe"),
        0.9,
    ),
    Kind(
        ("MAN", "BOTTOMS", "TROUSERS"),
        "Trousers",
        clothes.trousers,
        ("Cropped", "Long"),
        ("Leather", "Knit"),
        (NONE, "Gold Buckle", "Pocket"),
        1.0,
    ),
    Kind(
        ("KIDS", "ACCESSORIES", "HATS"),
        "Hat",
        accessories.hat,
        ("Narrow-Brimmed", "Wide-Brimmed"),
        ("Canvas", "Shearling"),
        (NONE, "Star", "Bow"),
        0.9,
    ),
    Kind(
        ("WOMAN", "ACCESSORIES", "SCARVES"),
        "Scarf",
        accessories.scarf,
        LENGTHS,
        ("Knit", "Satin"),
        (NONE, "Star", "Tassel"),
        0.8,
    ),
    Kind(
        ("KIDS", "ACCESSORIES", "SOCKS"),
        "Socks",
        accessories.socks,
        ("Ankle", "Long"),
        ("Cotton", "Shearling"),
        (NONE, "Bow", "Star"),
        0.8,
    ),
    Kind(
        ("MAN", "JEWELLERY", "WATCHES"),
        "Watch",
        accessories.watch,
        BAG_SIZES,
        ("Leather", "Canvas"),
        ("Gold Case", "Silver Case", "Diamonds"),
        0.8,
        pattern_scale=1.25,
    ),
    Kind(
        ("WOMAN", "JEWELLERY", "RINGS"),
        "Ring",
        accessories.ring,
        ("Slim", "Wide"),
        ("Gold", "Silver"),
        ("Round", "Square", "Heart"),
        0.6,
        patterns=("Plain",),
        template="{size} {material} {noun} with {colour} {fitting} Stone",
        floor=True,
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}
