"""Invents a shop's catalogue: products that do not exist, their pictures, and prices that follow from what can be seen.

Row i is drawn from the generator seeded with (seed, i) alone, so a longer catalogue begins with the shorter one, and
the number of processes changes nothing. The columns are those of the DBQ luxury price tables.

The price is a product of a few factors, each of something visible, times exp(NOISE_SIGMA * N(0, 1)); so a reader who
sees everything still errs by a known amount, which catalogue.json states as the `limit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from hangtag.catalogue.drawing import check_drawing, divide_drawn, draw_all, save_drawn
from hangtag.catalogue.render import KINDS, Look, render, studio
from hangtag.catalogue.split import SPLITS, Places, assign_splits
from hangtag.catalogue.store import write_catalogue
from hangtag.files import require_new_folder, whole_folder

COLUMNS = [
    "website_name", "competence_date", "country_code", "currency_code", "brand", "category1_code", "category2_code",
    "category3_code", "product_code", "title", "itemurl", "imageurl", "full_price", "price", "full_price_eur",
    "price_eur", "flg_discount",
]  # fmt: skip
SHOP = "Quillmere"
DATE = "2025-11-14"
EUR_PER_USD = 0.9225
NOISE_SIGMA = 0.06

# Prices stand on steps: everything that can be seen moves a product some steps up from the cheapest.
LOWEST_PRICE = 45.0
STEP_FACTOR = 1.5
KIND_STEPS = {
    "SOCKS": 0, "T-SHIRTS": 2, "HATS": 2, "WALLETS": 2, "SCARVES": 3, "SHIRTS": 3, "HOODIES": 4, "TROUSERS": 4,
    "SNEAKERS": 4, "SKIRTS": 4, "PUMPS": 5, "BOOTS": 5, "CROSSBODY BAGS": 5, "BACKPACKS": 5, "DRESSES": 6,
    "TOTE BAGS": 6, "COATS": 7, "WATCHES": 9, "RINGS": 10,
}  # fmt: skip
MATERIAL_STEPS = {
    "Cotton": 0, "Canvas": 0, "Denim": 0, "Knit": 1, "Quilted": 1, "Satin": 1, "Leather": 2, "Shearling": 3,
    "Croc": 4, "Silver": 0, "Gold": 3,
}  # fmt: skip
PATTERN_STEPS = {"Plain": 0, "Striped": 0, "Dotted": 0, "Checked": 1}
FITTING_STEPS = {
    "": 0, "Star": 1, "Pocket": 1, "Buttons": 1, "Zip": 1, "Bow": 1, "Fringe": 1, "Tassel": 1, "Studs": 1,
    "Gold Buckle": 2, "Chain": 2, "Silver Case": 0, "Gold Case": 2, "Diamonds": 4, "Round": 0, "Square": 1, "Heart": 2,
}  # fmt: skip

_FIRST_CODE, _CODES, _CODE_STEP = 26_000_000, 54_900_000, 31_415_927  # step and number of codes share no divisor


Row = dict[str, str]


def median_price(look: Look) -> float:
    """The price of a product before its noise, in USD: what can be read from the picture."""
    size = KINDS[look.kind].sizes.index(look.size)
    seen = MATERIAL_STEPS[look.material] + PATTERN_STEPS[look.pattern] + FITTING_STEPS[look.fitting]
    return LOWEST_PRICE * STEP_FACTOR ** (KIND_STEPS[look.kind] + size + seen)


def shop_price(value: float) -> int:
    """A price as shops write it: whole units, from 1,000 whole tens, from 10,000 whole hundreds."""
    step = 1 if value < 1_000 else 10 if value < 10_000 else 100
    return step * round(value / step)


def synthesise(
    out: Path,
    rows: int = 3040,
    seed: int = 0,
    size: int = 336,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write an invented catalogue of `rows` products with pictures of `size` x `size` pixels to `out`.

    Args:
        workers: processes to draw with; None for all cores. The bytes written do not depend on it.
        progress: called with (pictures done, pictures in all) after each.

    Returns:
        What catalogue.json says, `limit` included: the median APE and MAE of the noise-free price. Near duplicates
        stay in one split; they are compared up to drawing.MOST_COMPARED pictures.

    Raises:
        UsageError: rows, seed, size or workers is out of range. OutputNotEmpty: `out` holds something.
        HangtagError: a drawing process was killed or could not start.
    """
    check_drawing(rows, _CODES, seed, size, workers)
    require_new_folder(out)
    with whole_folder(out) as folder:
        (folder / "images").mkdir()
        draw = partial(_draw, str(folder), seed, size)
        files, hashes = draw_all(draw, range(rows), rows, workers, progress)
        table = [{"file_name": name, **invent(number, seed)[1]} for number, name in enumerate(files)]

        def divide(alike: Sequence[tuple[str, str]]) -> Places:
            names = assign_splits(table, ("product_code", "title"), seed, alike=alike)
            return np.array([SPLITS.index(name) for name in names])

        splits, near = divide_drawn(hashes, divide)
        for row, split in zip(table, splits.tolist(), strict=True):
            row["split"] = SPLITS[split]
        info = {**_describe(table, rows, seed, size), "near_duplicates": near}
        return write_catalogue(folder, COLUMNS, table, [], info)


def invent(number: int, seed: int) -> tuple[Look, Row]:
    """What product `number` looks like, and its row."""
    look, rng = _look(number, seed)
    kind = KINDS[look.kind]
    title = kind.title(look)
    price = shop_price(median_price(look) * float(np.exp(NOISE_SIGMA * rng.standard_normal())))
    code = _FIRST_CODE + (number * _CODE_STEP + seed * 7_654_321) % _CODES
    host = f"{SHOP.lower()}.example"
    picture = UUID(bytes=rng.bytes(16), version=4)
    slug = title.lower().replace(" ", "-")
    values = [
        SHOP, DATE, "USA", "USD", SHOP.upper(), *kind.categories, code, title, f"https://us.{host}/{slug}-p{code}",
        f"https://assets.{host}/is/image/{SHOP}/{str(picture).upper()}", price, price,
        f"{price * EUR_PER_USD:.2f}", f"{price * EUR_PER_USD:.2f}", 0,
    ]  # fmt: skip
    return look, {name: str(value) for name, value in zip(COLUMNS, values, strict=True)}


def _look(number: int, seed: int) -> tuple[Look, np.random.Generator]:
    rng = np.random.default_rng([seed, number])
    kinds = list(KINDS.values())
    shares = np.cumsum([kind.share for kind in kinds])
    kind = kinds[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]

    def pick(values: Sequence[str]) -> str:
        return values[int(rng.integers(len(values)))]

    look = Look(
        kind.name, pick(kind.colours), pick(kind.patterns), pick(kind.materials), pick(kind.sizes), pick(kind.fittings)
    )
    return look, rng


def _draw(folder: str, seed: int, size: int, hashed: bool, number: int) -> tuple[str, str]:
    """Write the picture of product `number`; return what `save_drawn` does."""
    look, _ = _look(number, seed)
    pose, scene = studio(np.random.default_rng([seed, number, 1]))
    return save_drawn(folder, render(look, pose, scene, size), hashed)


def _describe(table: list[Row], rows: int, seed: int, size: int) -> dict[str, Any]:
    estimates = [shop_price(median_price(_look(number, seed)[0])) for number in range(rows)]
    by_split = {
        name: _limit([(e, float(r["full_price"])) for e, r in zip(estimates, table, strict=True) if r["split"] == name])
        for name in SPLITS
        if any(row["split"] == name for row in table)
    }
    return {
        "source": "hangtag synth",
        "options": {"rows": rows, "size": size},
        "seed": seed,
        "noise_sigma": NOISE_SIGMA,
        "limit": _limit([(e, float(row["full_price"])) for e, row in zip(estimates, table, strict=True)]),
        "limit_by_split": by_split,
    }


def _limit(pairs: Sequence[tuple[float, float]]) -> dict[str, dict[str, float]]:
    """The scores of the reader who sees everything, from (its estimate, the price)."""
    estimate, price = np.array(pairs).T
    error = np.abs(estimate - price)
    return {"full_price": {"median_ape": float(np.median(error / price)), "mae": float(error.mean())}}
