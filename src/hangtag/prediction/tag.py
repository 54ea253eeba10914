"""What is asked of a tagger, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from hangtag.answer import Value


@dataclass(frozen=True)
class Ask:
    """One answer to be written.

    Args:
        pictures: decoded, upright RGB; as many as the recipe's rows have, usually one.
        prompt: in place of the recipe's question.
        held: whether the answer is held to the template: every field there, numbers that parse.
        known_only: whether a category is held to the known ones too; else it may be "other".
        most_tokens: where the answer is cut; by default as many as the run's longest answers need.
    """

    pictures: Sequence[Image.Image]
    prompt: str | None = None
    held: bool = True
    known_only: bool = False
    most_tokens: int | None = None


@dataclass(frozen=True)
class Tag:
    """One picture's tag.

    Args:
        fields: every field's value, a category being a known one or "other"; None where there is no tag.
        raw: the text that the model wrote.
        error: why there is no tag.
        confidence: of each field the probability, 0..1, that it is right; a number is right within 20 %,
            None where the model tells none.
        numbers: of each number its `estimate` by the model's whole distribution, and `low` and `high` of a 90 %
            interval (None where the calibration had too few rows).
        calibrated: whether confidence and intervals have been put right on validation rows (`hangtag evaluate`).
        tokens: of the prompt with its pictures, and of the answer.
        finished: whether the answer came to its end by itself: it was neither cut nor, being too long, hurried.
    """

    fields: dict[str, Value] | None
    raw: str | None
    error: str | None = None
    confidence: dict[str, float | None] | None = None
    numbers: dict[str, dict[str, float | None]] | None = None
    calibrated: bool = False
    tokens: tuple[int, int] = (0, 0)
    finished: bool = True

    def record(self) -> dict[str, Any]:
        """As JSON: fields, confidence, numbers, raw, error, calibrated."""
        every = asdict(self)
        return {name: every[name] for name in ("fields", "confidence", "numbers", "raw", "error", "calibrated")}
