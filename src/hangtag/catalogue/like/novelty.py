"""Which new rows are too like a row of the source: equal in categories, and near it in numbers."""

from __future__ import annotations

import numpy as np

from hangtag.catalogue.like.parts import FINE_BINS, Part, amounts_of, fold_values
from hangtag.catalogue.like.table_model import TableModel

SAME, NEAR = 0.01, 0.03
"""Two prices so near, as a share of either, are the same to who looks for a row, or too near. Dates do not count."""
_WORD = 2**64


class Source:
    """All rows of the source, to be looked up."""

    def __init__(self, model: TableModel) -> None:
        self.model = model
        folded, amounts = [], []
        for column, part in zip(model.source, model.parts, strict=True):
            folded.append(fold_values(column, part.nature, model.min_count)[0][column.codes])
            amounts.append(amounts_of(part.nature)[column.codes] if part.is_number() else folded[-1])
        free = [p for p, part in enumerate(model.parts) if part.nature.kind == "number" and part.rates is None]
        main = model.place(model.roles.price) if model.roles.price else -1
        if main >= 0 and model.parts[main].rates is not None:
            main = model.parts[main].base
        self.main = main if main in free else free[0] if free else -1
        self.others = [place for place in free if place != self.main]
        self.edges = {place: _edges(model.parts[place], amounts[place], folded[place]) for place in self.others}
        self.mixed, places = np.unique(self._mix(folded, amounts), return_inverse=True)
        self.points = np.sort(places + 1j * self._main(amounts, len(places)))

    def _main(self, amounts: list[np.ndarray], rows: int) -> np.ndarray:
        return amounts[self.main].astype(float) if self.main >= 0 else np.zeros(rows)

    def _mix(self, folded: list[np.ndarray], amounts: list[np.ndarray]) -> np.ndarray:
        """One number a row that follows from categories, from what is missing among numbers, and from bins of all
        numbers but the main one."""
        made = np.zeros(len(folded[0]), np.uint64)
        for place, part in enumerate(self.model.parts):
            if part.nature.kind not in ("category", "number") or part.rates is not None:
                continue
            value = folded[place]
            if place in self.edges:
                value = np.where(value < len(part.texts), value, len(part.texts) + self._bin(place, amounts))
            mixed = value.astype(np.uint64) + np.uint64((place + 1) * 0x9E3779B97F4A7C15 % _WORD)
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
            made = made * np.uint64(31) + (mixed ^ (mixed >> np.uint64(31)))
        return made

    def _bin(self, place: int, amounts: list[np.ndarray]) -> np.ndarray:
        """Where a number lies; of one that is a share of another, the share in twentieths."""
        part = self.model.parts[place]
        if part.shares is None:
            return np.searchsorted(self.edges[place], amounts[place])
        base = amounts[part.base] * (self.model.parts[part.base].numbers.unit / part.numbers.unit)
        return np.rint(20 * np.clip(amounts[place] / np.where(base == 0, 1, base), 0, 100)).astype(np.int64)

    def holds(self, folded: list[np.ndarray], amounts: list[np.ndarray], tolerance: float) -> np.ndarray:
        """For each new row whether the source has one like it."""
        mixed = self._mix(folded, amounts)
        places = np.minimum(np.searchsorted(self.mixed, mixed), len(self.mixed) - 1)
        main = self._main(amounts, len(mixed))
        reach = tolerance * np.abs(main)
        first = np.searchsorted(self.points, places + 1j * (main - reach), "left")
        last = np.searchsorted(self.points, places + 1j * (main + reach), "right")
        return (self.mixed[places] == mixed) & (last > first)


def _edges(part: Part, amounts: np.ndarray, folded: np.ndarray) -> np.ndarray:
    """Ends of bins of about as many rows each; every value its own where there are few."""
    present = amounts[folded >= len(part.texts)]
    distinct = np.unique(present)
    if len(distinct) <= FINE_BINS:
        return distinct
    return np.unique(np.quantile(present, np.arange(1, FINE_BINS) / FINE_BINS, method="lower"))
