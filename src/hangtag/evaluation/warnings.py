"""What a reader of the scores has to know before believing them, in whole sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hangtag.answer import Template, Value, written
from hangtag.calibration import LEVEL
from hangtag.reading import SMALLEST

FEW_ROWS = 30


def warnings(
    template: Template,
    metrics: Mapping[str, Any],
    truths: Sequence[Mapping[str, Value]],
    calibrates: bool,
    split: str,
) -> list[str]:
    """Warnings for the content of metrics.json, most important first.

    Args:
        calibrates: whether readings of the validation split were at hand.
        split: the evaluated one.
    """
    rows, found = metrics["rows"], []
    if metrics["answers"]["readable"]["value"] == 0:
        found.append("No answer is readable: every score is that of an empty answer, or of the constant.")
    if split == "train":
        found.append(
            "The model was trained on these very rows: the scores say how well it remembers, not how well it knows."
        )
    if split == "validation":
        found.append("The validation split may have chosen the model that was kept: its scores may flatter.")
    if rows < FEW_ROWS:
        counted = "1 row was" if rows == 1 else f"{rows} rows were"
        found.append(f"Only {counted} evaluated: the intervals are wide, or say nothing at all.")
    for name in template.names:
        if template.fields[name] == "number":
            found += _about_numbers(name, [float(each[name]) for each in truths])
    found += about_unseen(metrics)
    for name, told in metrics.get("intervals", {}).items():
        if "coverage" not in told:
            found.append(
                f"{told['calibration_rows']} validation rows are too few to calibrate a {100 * LEVEL:.0f} % interval "
                f"of {name}, so none is given."
            )
    if "estimates" in metrics and not calibrates:
        reason = "it is the evaluated split itself" if split == "validation" else "it has no usable row"
        found.append(f"Nothing could be calibrated on the validation split, since {reason}: there are no intervals.")
    return found


def about_unseen(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence for each category field with values that training never showed, the first three named."""
    found = []
    for name, categories in metrics.get("unseen", {}).items():
        listed = ", ".join(each["category"] for each in categories[:3]) + (", …" if len(categories) > 3 else "")
        count = sum(each["rows"] for each in categories)
        held = "1 row has" if count == 1 else f"{count} rows have"
        found.append(f"{held} a {name} that training never showed ({listed}), which the model can hardly write.")
    return found


def _about_numbers(name: str, values: Sequence[float]) -> list[str]:
    found = []
    zeros = sum(value == 0 for value in values)
    if zeros:
        held = "1 row has" if zeros == 1 else f"{zeros} rows have"
        found.append(
            f"{held} a {name} of 0: the relative error is then taken against {written(SMALLEST)}, "
            "and the row is within 10 % only if 0 is written."
        )
    if len(set(values)) == 1 and len(values) > 1:
        found.append(f"Every true {name} is {written(values[0])}: a constant is right, and the errors say little.")
    return found
