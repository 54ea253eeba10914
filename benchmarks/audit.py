"""Does `hangtag audit` find wrong tags? An invented catalogue with some rows damaged, a model trained on it as it is.

    python benchmarks/audit.py --rows 3040 --share .03 --damage-seeds 0 1 --folds 3 --work /some/folder

For every seed of damage the demo recipe is trained on the damaged catalogue (4 to 5 minutes on two cores, and about
twice that for the folds), the audit is run over all its rows, and the ranking is held against the list of damaged rows:
area under ROC with a bootstrap interval, precision at the number of damaged rows, overall, by kind of damage and by
field. What is there already in --work is used again.

Damage, evenly over four kinds, each row once, rows and partners drawn at random:

title      the title of a row with another title
category   the category of a row with another category
price      times 10 or divided by 10, each with probability 1/2, and whole as all invented prices are
picture    the picture of a row with another title
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Row = dict[str, str]
KINDS = ("title", "category", "price", "picture")
TITLE, CATEGORY, PRICE = "title", "category3_code", "full_price"


def damaged(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], dict[int, str]]:
    """The rows of a table with a share of them damaged, and the kind of damage by place."""
    random = np.random.default_rng(seed)
    count = round(share * len(rows))
    places = random.choice(len(rows), count, replace=False).tolist()
    kinds = {place: KINDS[number % len(KINDS)] for number, place in enumerate(places)}
    return [
        _damage(rows, place, kinds[place], random) if place in kinds else row for place, row in enumerate(rows)
    ], kinds


def _damage(rows: Sequence[Row], place: int, kind: str, random: np.random.Generator) -> Row:
    row = rows[place]
    if kind == "price":
        price = float(row[PRICE])
        up = random.random() < 0.5 or round(price / 10) < 1
        return {**row, PRICE: f"{price * 10 if up else price / 10:.0f}"}
    unlike, taken = (CATEGORY, CATEGORY) if kind == "category" else (TITLE, "file_name" if kind == "picture" else TITLE)
    others = [other for other in rows if other[unlike] != row[unlike] and other["file_name"] != row["file_name"]]
    return {**row, taken: others[int(random.integers(len(others)))][taken]}
