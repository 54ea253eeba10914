"""The decoder over branches alone: nodes of all rows end to end, padded inside attention only.

A level of a tree has many nodes in one row and few in another. All that is not attention is computed for the nodes
that are there; keys and values go into places beside those of the prompts and answers, which are copied once.

Shapes: M nodes of a call, B rows, Q places of a row in a call, K places of a row in all, H heads (G of keys and
values), D a head's width, V entries of the vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from transformers.cache_utils import Cache
from transformers.models.phi3.modeling_phi3 import apply_rotary_pos_emb

_LEAST = 256  # places made for branches at first: enough for most trees


class Growth:
    """Keys and values of branches behind the first `cached` places of a cache, which stays as it is.

    Args:
        model: a `Phi3VForCausalLM`, without a wrapper around it.
    """

    def __init__(self, model: Any, cache: Cache, cached: int) -> None:
        self._model, self._cache, self._cached = model, cache, cached
        self._held: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.used = cached

    def forget(self) -> None:
        """Begin again behind the answers."""
        self.used = self._cached

    def extend(
        self,
        ids_M: torch.Tensor,
        positions_M: torch.Tensor,
        at: tuple[torch.Tensor, ...],
        sees_BQK: torch.Tensor,
    ) -> torch.Tensor:
        """Append nodes; the log probabilities of what follows each: float32 [M, V].

        Args:
            positions_M: each node's place in its own sequence, from 0.
            at: each node's row and its place among the Q.
            sees_BQK: bool, over all that is used and the call's own places; each node sees itself.
        """
        decoder, device = self._model.model, self._model.device
        self._make_room(sees_BQK.shape[2])
        row_M, place_M = (each.to(device) for each in at)
        bias_BQK = torch.zeros(sees_BQK.shape, dtype=self._model.dtype, device=device)
        bias_BQK.masked_fill_(~sees_BQK.to(device), torch.finfo(self._model.dtype).min)
        with torch.inference_mode():
            hidden = decoder.embed_tokens(ids_M.to(device))[None]
            turned = decoder.rotary_emb(positions_M.to(device)[None], sees_BQK.shape[2], hidden.dtype)
            for number, layer in enumerate(decoder.layers):
                attended = self._attend(number, layer, hidden, turned, (row_M, place_M), bias_BQK)
                hidden = hidden + layer.self_attn.o_proj(attended)
                hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
            logits_MV = self._model.lm_head(decoder.norm(hidden))[0]
        self.used = sees_BQK.shape[2]
        return logits_MV.float().log_softmax(-1)

    def _attend(
        self,
        number: int,
        layer: Any,
        hidden: torch.Tensor,
        turned: tuple[torch.Tensor, torch.Tensor],
        at: tuple[torch.Tensor, ...],
        bias_BQK: torch.Tensor,
    ) -> torch.Tensor:
        attention = layer.self_attn
        heads, held = attention.config.num_attention_heads, attention.num_key_value_heads
        states = attention.qkv_proj(layer.input_layernorm(hidden))
        query, key, value = states.view(*hidden.shape[:2], -1, attention.head_dim).split([heads, held, held], 2)
        query, key = apply_rotary_pos_emb(query, key, *turned, unsqueeze_dim=2)
        row_M, place_M = at
        keys, values = (each[:, :, : bias_BQK.shape[2]] for each in self._held[number])
        keys[row_M, :, self.used + place_M], values[row_M, :, self.used + place_M] = key[0], value[0]
        query_BQHD = query.new_zeros(*bias_BQK.shape[:2], heads, attention.head_dim)
        query_BQHD[row_M, place_M] = query[0]
        found_BHQD = F.scaled_dot_product_attention(
            query_BQHD.transpose(1, 2),
            keys,
            values,
            bias_BQK[:, None],
            scale=attention.scaling,
            enable_gqa=held != heads,
        )
        return found_BHQD.transpose(1, 2)[row_M, place_M].flatten(1)[None]

    def _make_room(self, places: int) -> None:
        """Have so many places a row. What was never written is zero: NaN would outlive its weight of zero."""
        there = self._held[0][0].shape[2] if self._held else 0
        if places <= there:
            return
        new = self._cached + max(_LEAST, places - self._cached, 2 * (there - self._cached))
        before = self._held or [(layer.keys, layer.values) for layer in self._cache.layers]
        kept = self.used if self._held else self._cached
        self._held = [(_longer(keys, kept, new), _longer(values, kept, new)) for keys, values in before]


def _longer(held_BGKD: torch.Tensor, kept: int, places: int) -> torch.Tensor:
    rows, heads, _, width = held_BGKD.shape
    made = held_BGKD.new_zeros(rows, heads, places, width)
    made[:, :, :kept] = held_BGKD[:, :, :kept]
    return made
