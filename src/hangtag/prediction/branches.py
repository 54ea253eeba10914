"""A batch of answers with all that was computed on the way, for branches to grow from.

The prompt and the answer are in the cache already, once a row; a branch adds only its own tokens (growth.py).

Shapes: B rows, T prompt tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from peft import PeftModel
from transformers import LogitsProcessor, PreTrainedModel
from transformers.cache_utils import Cache

from hangtag.prediction.growth import Growth


@dataclass
class Answers:
    """A batch of prompts and the answers written after them, with everything computed on the way.

    Args:
        cache: of the prompts and all but the last of the new tokens.
        prompt_BT, mask_BT: ids, padded on the left, and 1 where they are not padding.
        new: each row's written tokens, without the end; None where it did not end.
        log_probs: of the tokens in `new`, the end's included; empty where the row did not end.
    """

    model: PreTrainedModel
    cache: Cache
    prompt_BT: torch.Tensor
    mask_BT: torch.Tensor
    new: list[list[int] | None]
    log_probs: list[list[float]]

    def __post_init__(self) -> None:
        self.cached = int(self.cache.get_seq_length())
        self.lengths = self.mask_BT.sum(1).tolist()

    @property
    def room(self) -> int:
        """How many tokens a row's branches may hold in all.

        The rotary factors are chosen by the cache's length; beyond the original context they would be other ones
        than those of the prompt, unless the prompt itself is beyond.
        """
        config: Any = self.model.config
        limit = config.original_max_position_embeddings
        if self.cached > limit or config.rope_parameters["rope_type"] != "longrope":
            limit = config.max_position_embeddings
        return int(limit - self.cached)

    def token(self, row: int, place: int) -> int:
        """The written token at `place` of a row's answer; at -1 the prompt's last one."""
        return int(self.prompt_BT[row, -1]) if place < 0 else (self.new[row] or [])[place]

    def sees(self, row: int, place: int) -> torch.Tensor:
        """Of the tokens first cached, those before `place` of a row's answer: bool [cached]."""
        prompt = self.mask_BT.shape[1]
        seen = torch.ones(self.cached, dtype=torch.bool)
        seen[:prompt] = self.mask_BT[row].bool().cpu()
        seen[prompt - 1 if place < 0 else prompt + place :] = False
        return seen

    @cached_property
    def growth(self) -> Growth:
        """Where branches grow."""
        model: Any = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        return Growth(model, self.cache, self.cached)


class TokenLogProbs(LogitsProcessor):
    """Notes the log probability of each token that greedy decoding takes: the likeliest, a picture's place aside."""

    def __init__(self, image_token_id: int) -> None:
        self.image_token_id = image_token_id
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        log_probs_BV = scores.float().log_softmax(-1)
        log_probs_BV[:, self.image_token_id : self.image_token_id + 1] = -torch.inf
        self.steps.append(log_probs_BV.amax(-1))
        return scores

    def of_rows(self) -> list[list[float]]:
        """One list a row, a value for each step."""
        found: list[list[float]] = torch.stack(self.steps, 1).double().tolist()
        return found


def end_of(row: list[int], ends: set[int]) -> int | None:
    """Where a row of new tokens ends; None where it does not."""
    return next((place for place, token in enumerate(row) if token in ends), None)
