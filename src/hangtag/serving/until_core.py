"""Stands in for what the tagger is about to have; goes away with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Ask:
    """Until then."""

    pictures: Sequence[Image.Image]
    prompt: str | None = None
    held: bool = True
    most_tokens: int | None = None


@dataclass(frozen=True)
class _Tag:
    fields: dict[str, Any] | None
    raw: str | None
    error: str | None = None
    confidence: dict[str, float] | None = None
    numbers: dict[str, Any] | None = None
    calibrated: bool = False
    tokens: tuple[int, int] = (0, 0)
    finished: bool = True

    def record(self) -> dict[str, Any]:
        names = ("fields", "confidence", "numbers", "raw", "error", "calibrated")
        return {name: getattr(self, name) for name in names}


def answer(
    tagger: Any,
    asks: Sequence[Any],
    on_text: Callable[[int, str], None] | None = None,
    cancelled: Callable[[int], bool] | None = None,
) -> list[Any]:
    if hasattr(tagger, "answer"):
        return list(tagger.answer(asks, on_text=on_text, cancelled=cancelled))
    tags = tagger.tags([list(each.pictures) for each in asks])
    tokenizer = tagger.processor.tokenizer
    found = []
    for row, each in enumerate(tags):
        if on_text and each.raw:
            on_text(row, each.raw)
        written = len(tokenizer(each.raw or "", add_special_tokens=False)["input_ids"])
        found.append(_Tag(each.fields, each.raw, each.error, tokens=(prompt_tokens(tagger, asks[row]), written)))
    return found


def prompt_tokens(tagger: Any, ask: Any) -> int:
    if hasattr(tagger, "prompt_tokens"):
        return int(tagger.prompt_tokens(ask))
    processor = tagger.processor.image_processor
    images = sum(processor.num_image_tokens(*processor.size_after(*each.size)) for each in ask.pictures)
    return int(images + len(tagger.processor.tokenizer(ask.prompt or tagger.recipe.task.prompt)["input_ids"]) + 8)


def categories(tagger: Any) -> dict[str, list[str]]:
    return dict(getattr(tagger, "categories", {}))
