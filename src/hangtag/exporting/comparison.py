"""Whether an export is its run: what rounding can do to logits, and whether no more was seen.

A weight rounded to a format with unit roundoff u is off by about 0.4 u of itself; so is each layer's output, and what
later layers make of it, and so, as a share of their spread, are the logits. docs/log.md has the mean differences that
were seen, in u; the largest of all is several times the mean. About the double is allowed. The adapter of a short
training that was forgotten, halved or left out in a single layer is off by many u of bfloat16: in float32 each shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hangtag.errors import ModelError
from hangtag.exporting.models import name_of
from hangtag.exporting.witness import Difference

ROUNDOFFS = {torch.float32: 128, torch.bfloat16: 6, torch.float16: 6}
"""The mean difference allowed where float32 is computed in, by the format of the weights: in its unit roundoffs, as a
share of the logits' spread."""
COMPUTED_IN_BFLOAT16 = 16
"""The same in unit roundoffs of bfloat16, where that is computed in."""
LARGEST = 12
"""The largest difference allowed, in mean ones."""
NEAR_TIES = 0.25
"""The largest share of rows whose answer may part at a near tie."""


@dataclass(frozen=True)
class Row:
    """A row of the comparison: its number in metadata.csv, its name there, and how far the models are apart."""

    number: int
    name: str
    apart: Difference

    def __str__(self) -> str:
        return f"row {self.number} ({self.name})"


@dataclass(frozen=True)
class Comparison:
    """An export beside its run on some rows; of differences, absolute ones of logits.

    Args:
        rounded: the format of the exported weights; `computed`: that of the arithmetic of both models.
        exact: whether both are the same weights, so that every bit must be the same.
    """

    rows: Sequence[Row]
    rounded: torch.dtype
    computed: torch.dtype
    exact: bool = False

    @property
    def places(self) -> int:
        return sum(each.apart.places for each in self.rows)

    @property
    def mean(self) -> float:
        return sum(each.apart.mean * each.apart.places for each in self.rows) / self.places

    @property
    def largest(self) -> float:
        return max(each.apart.largest for each in self.rows)

    @property
    def spread(self) -> float:
        return sum(each.apart.spread * each.apart.places for each in self.rows) / self.places

    @property
    def mean_tolerance(self) -> float:
        if self.exact:
            return 0.0
        in_float32 = self.computed == torch.float32
        roundoffs = ROUNDOFFS[self.rounded] if in_float32 else COMPUTED_IN_BFLOAT16
        return roundoffs * torch.finfo(self.rounded if in_float32 else self.computed).eps / 2 * self.spread

    @property
    def largest_tolerance(self) -> float:
        return LARGEST * self.mean_tolerance

    @property
    def parted(self) -> list[Row]:
        """Rows whose answers are not the same."""
        return [each for each in self.rows if each.apart.margin is not None]

    def check(self) -> None:
        """Whether all is within tolerance.

        Raises:
            ModelError: a row is not; the message names it and the numbers.
        """
        # NaN is within nothing, so each is asked whether it is within.
        worst = max(self.rows, key=lambda row: (row.apart.mean != row.apart.mean, row.apart.mean))
        if not self.mean <= self.mean_tolerance:
            raise _apart(
                f"logits differ by {self.mean:.3g} on average, {self.mean_tolerance:.3g} is allowed; most in {worst}, "
                f"by {worst.apart.mean:.3g}"
            )
        for row in self.rows:
            if not row.apart.largest <= self.largest_tolerance:
                raise _apart(
                    f"in {row} logits differ by up to {row.apart.largest:.3g}, {self.largest_tolerance:.3g} is allowed"
                )
        for row in self.parted:
            assert row.apart.margin is not None
            if self.exact or not row.apart.margin <= 2 * self.largest_tolerance:
                mine, other = row.apart.texts
                raise _apart(
                    f"in {row} the run writes {mine!r}, the export {other!r}, though the run preferred its own word "
                    f"by {row.apart.margin:.3g} and rounding explains {2 * self.largest_tolerance:.3g}"
                )
        if len(self.parted) > max(1, NEAR_TIES * len(self.rows)):
            raise _apart(
                f"{len(self.parted)} of {len(self.rows)} answers differ, the first in {self.parted[0]}; "
                f"rounding may change {NEAR_TIES:.0%}"
            )

    def table(self) -> list[tuple[str, str, str]]:
        """What was measured, its value, and what is allowed, for people."""
        parted = len(self.parted)
        answers = f"{len(self.rows) - parted} of {len(self.rows)}"
        allowed = "all" if self.exact else "all but near ties"
        return [
            ("rows, tokens", f"{len(self.rows)}, {self.places}", ""),
            ("logits, mean difference", f"{self.mean:.2g}", f"{self.mean_tolerance:.2g}"),
            ("logits, largest difference", f"{self.largest:.2g}", f"{self.largest_tolerance:.2g}"),
            ("logits, spread", f"{self.spread:.3g}", ""),
            ("equal answers", answers, allowed),
        ]

    def record(self) -> dict[str, Any]:
        """For export.json."""
        return {
            "rows": [each.number for each in self.rows],
            "tokens": self.places,
            "weights": name_of(self.rounded),
            "arithmetic": name_of(self.computed),
            "exact": self.exact,
            "logits": {
                "spread": self.spread,
                "mean": {"value": self.mean, "tolerance": self.mean_tolerance},
                "largest": {"value": self.largest, "tolerance": self.largest_tolerance},
            },
            "answers": {
                "equal": len(self.rows) - len(self.parted),
                "parted": [
                    {
                        "row": each.number,
                        "margin": each.apart.margin,
                        "run": each.apart.texts[0],
                        "export": each.apart.texts[1],
                    }
                    for each in self.parted
                ],
            },
        }


def _apart(how: str) -> ModelError:
    return ModelError(f"the export is not the run: {how}. Nothing was written; report this as a bug")
