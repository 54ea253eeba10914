"""A shop's table that nobody owns, to the columns of the DBQ price tables: what `hangtag synth --like` is measured on.

    python benchmarks/shop_table.py ROWS OUT.csv [--seed 0]

Products in up to three of four countries, prices in steps and heavy-tailed, EUR prices by a rate, discounts, dates,
N.A. among URLs and categories, missing EUR prices.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = [
    "website_name", "competence_date", "country_code", "currency_code", "brand", "category1_code", "category2_code",
    "category3_code", "product_code", "title", "itemurl", "imageurl", "full_price", "price", "full_price_eur",
    "price_eur", "flg_discount",
]  # fmt: skip
TREE = {
    "BAGS": ["TOTE BAGS", "CROSSBODY", "BACKPACKS", "BELT BAGS"],
    "SHOES": ["SNEAKERS", "BOOTS", "SANDALS", "PUMPS"],
    "OUTERWEAR": ["COATS", "JACKETS"],
    "READY TO WEAR": ["SHIRTS", "T-SHIRTS", "KNITWEAR", "DRESSES", "SKIRTS", "TROUSERS", "JEANS"],
    "ACCESSORIES": ["SCARVES", "HATS & GLOVES", "BELTS", "WALLETS", "SUNGLASSES", "JEWELLERY", "WATCHES"],
    "N.A.": ["N.A."],
}
LEAVES = [(middle, leaf) for middle, leaves in TREE.items() for leaf in leaves]
COLOURS, COLOUR_SHARES = (
    ["Black", "Beige", "Red", "Navy", "Green", "White", "Pink"],
    [0.3, 0.2, 0.1, 0.12, 0.08, 0.15, 0.05],
)
MATERIALS = ["Leather", "Cotton", "Silk", "Wool", "Canvas", "Cashmere"]
PATTERNS = ["Check", "Striped", "Quilted", "Monogram", "", ""]
COUNTRIES = [
    ("USA", "USD", 1.0, 0.9225),
    ("FRA", "EUR", 0.95, 1.0),
    ("CHN", "CNY", 7.9, 0.1285),
    ("JPN", "JPY", 160.0, 0.0062),
]
"""Country, currency, its price of one US dollar's worth, and euros of one unit."""


def shop(rows: int, seed: int = 0) -> list[list[Any]]:
    """The first `rows` rows, without a header."""
    rng = np.random.default_rng(seed)
    level = rng.normal(6.6, 0.7, len(LEAVES))
    level[23], level[11] = 8.5, 5.8
    share = rng.dirichlet(np.full(len(LEAVES), 1.2))
    found: list[list[Any]] = []
    while len(found) < rows:
        found += _product(rng, int(rng.choice(len(LEAVES), p=share)), level)
    return found[:rows]


def _product(rng: np.random.Generator, place: int, level: np.ndarray) -> list[list[Any]]:
    """A product's rows, one for each of its countries."""
    middle, leaf = LEAVES[place]
    top = rng.choice(["MAN", "WOMAN", "KIDS"], p=[0.15, 0.84, 0.01] if middle == "BAGS" else [0.38, 0.55, 0.07])
    colour = rng.choice(COLOURS, p=COLOUR_SHARES)
    material = MATERIALS[(place + rng.integers(3)) % 6]
    pattern = rng.choice(PATTERNS)
    noun = leaf.split()[0].rstrip("S").title()
    title = " ".join(word for word in [pattern, colour if rng.random() < 0.4 else "", material, noun] if word)
    dollars = float(np.exp(level[place] + 0.35 * (material in ("Leather", "Cashmere")) + rng.normal(0, 0.45)))
    if rng.random() < 0.01:
        dollars *= 8
    code = int(rng.integers(26_000_000, 80_900_000))
    picture = "N.A." if rng.random() < 0.06 else _picture(rng)
    top = top if leaf != "N.A." else "N.A."
    chosen = sorted(rng.choice(4, rng.integers(1, 4), replace=False))
    return [_row(rng, COUNTRIES[each], [top, middle, leaf, code, title], dollars, picture) for each in chosen]


def _picture(rng: np.random.Generator) -> str:
    first, second, third, last = (rng.bytes(length).hex().upper() for length in (4, 2, 2, 6))
    return f"https://assets.maison.com/is/image/Maisonltd/{first}-{second}-4{third[1:]}-{last}"


def _row(
    rng: np.random.Generator, country: tuple[str, str, float, float], product: list[Any], dollars: float, picture: str
) -> list[Any]:
    name, currency, factor, euros = country
    step = 1000 if currency == "JPY" else 10
    full = max(30, min(70_000 * factor, step * round(dollars * factor / step)))
    discounted = bool(rng.random() < 0.15)
    price = round(full * (rng.choice([0.8, 0.7, 0.5])), 2) if discounted else full
    missing = rng.random() < 0.03
    date = f"2023-{rng.integers(1, 12):02d}-{rng.integers(1, 28):02d}"
    slug = f"{product[4].lower().replace(' ', '-')}-p{product[3]}"
    page = "N.A." if rng.random() < 0.03 else f"https://{name.lower()}.maison.com/{slug}"
    in_euros = ["", ""] if missing else [f"{full * euros:.2f}", f"{price * euros:.2f}"]
    prices = [f"{full:g}" if full < 1e6 else int(full), f"{price:.10g}", *in_euros]
    return ["Maison", date, name, currency, "MAISON", *product, page, picture, *prices, int(discounted)]


def write(path: Path, rows: int, seed: int = 0) -> None:
    """The table as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *shop(rows, seed)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("rows", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    write(asked.out, asked.rows, asked.seed)


if __name__ == "__main__":
    main()
