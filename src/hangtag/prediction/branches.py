"""What a model would have written instead: short branches off an answer, many in one call, none seeing another.

The prompt and the answer are in the cache already, once a row; a branch adds only its own tokens. Each call appends
to the cache, so that later branches can grow from earlier ones, and a mask says what each token sees.

Shapes: B rows, Q tokens of one call a row, K tokens in the cache with those of the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, StaticCache


@dataclass
class Answers:
    """A batch of prompts and the answers written after them, with everything computed on the way.

    Args:
        cache: of the prompts and all but the last of the new tokens; branches are appended to it.
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
        self.cached = self.cache.get_seq_length()
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

    def extend(self, ids_BQ: torch.Tensor, positions_BQ: torch.Tensor, sees_BQK: torch.Tensor) -> torch.Tensor:
        """Append tokens and return the log probabilities of what follows each: float32 [B, Q, vocabulary].

        Args:
            positions_BQ: each token's place in its own sequence, from 0.
            sees_BQK: bool, over all that is cached and the call's own tokens; each sees itself.
        """
        device, dtype = self.model.device, self.model.dtype
        mask = torch.zeros(sees_BQK.shape, dtype=dtype).masked_fill_(~sees_BQK, torch.finfo(dtype).min)
        with torch.inference_mode():
            logits = self.model(
                input_ids=ids_BQ.to(device),
                attention_mask=mask[:, None].to(device),
                position_ids=positions_BQ.to(device),
                past_key_values=self.cache,
                use_cache=True,
            ).logits
        return logits.float().log_softmax(-1)

    def forget_branches(self) -> None:
        """Cut the cache back to prompts and answers."""
        if grown := self.cache.get_seq_length() - self.cached:
            self.cache.crop(-grown)


def growing(cache: Cache) -> Cache:
    """A cache that branches can be appended to: of one of fixed size a copy of what it holds."""
    if not isinstance(cache, StaticCache):
        return cache
    held, grown = int(cache.get_seq_length()), DynamicCache()
    for number, layer in enumerate(cache.layers):
        grown.update(layer.keys[:, :, :held], layer.values[:, :, :held], number)
    return grown


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
