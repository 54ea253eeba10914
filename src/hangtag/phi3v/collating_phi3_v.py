"""Labels: picture places are never a target, in this model's own loss and in other libraries' collators."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

IGNORED_LABEL = -100


def without_picture_places(labels: torch.Tensor, image_token_id: int) -> torch.Tensor:
    """Labels in which no picture place is a target."""
    return labels.masked_fill(labels == image_token_id, IGNORED_LABEL)


@dataclass(frozen=True)
class PictureMaskingCollator:
    """A collator that takes picture places out of another's labels; make one with `mask_pictures`."""

    collator: Callable[[Any], dict[str, Any]]
    image_token_id: int

    def __call__(self, examples: Any) -> dict[str, Any]:
        batch = self.collator(examples)
        batch["labels"] = without_picture_places(batch["labels"], self.image_token_id)
        return batch


def mask_pictures(collator: Callable[[Any], dict[str, Any]], processor: Any) -> PictureMaskingCollator:
    """`collator`, with every picture place in its `labels` set to -100.

    The model's own loss leaves these places out. Trainers that compute the loss themselves, or count the labels
    (TRL's `SFTTrainer`, transformers' `Trainer`), do not know them, and would train the model to write placeholders.

    Args:
        collator: makes batches with `labels`, such as TRL's `DataCollatorForVisionLanguageModeling`.
        processor: a `Phi3VProcessor`.
    """
    return PictureMaskingCollator(collator, processor.image_token_id)


__all__ = ["IGNORED_LABEL", "PictureMaskingCollator", "mask_pictures", "without_picture_places"]
