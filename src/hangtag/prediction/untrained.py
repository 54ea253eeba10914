"""A run's base model before it was trained: where training started from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText

from hangtag.errors import RunError, first_line
from hangtag.prediction.reader import Reader, Shown
from hangtag.progress import Progress


class Untrained:
    """A run's base model as it was before it was trained, asked the same way: the answers that training started from.

    Args:
        tagger: the run's. Adapters are switched off while it is asked; beside a fully trained model the base is loaded.

    Raises:
        RunError: the base cannot be loaded.
    """

    def __init__(self, tagger: Reader) -> None:
        self.tagger = tagger
        self.off: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
        if isinstance(tagger.model, PeftModel):
            self.off = tagger.model.disable_adapter
            return
        base = tagger.recipe.model.base
        try:
            model = AutoModelForImageTextToText.from_pretrained(base, dtype=tagger.model.dtype)
        except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
            raise RunError(f"model.base {base!r} cannot be loaded: {first_line(error)}") from None
        model.generation_config = tagger.model.generation_config
        self.tagger = Reader(model.to(tagger.model.device), tagger.processor, tagger.recipe, tagger.batch_size)

    def answers(self, images: Sequence[Shown], progress: Progress | None = None) -> list[str | None]:
        """As `Tagger.answers`."""
        with self.off():
            return self.tagger.answers(images, progress)
