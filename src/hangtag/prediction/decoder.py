"""The decoder over single nodes of many rows: the next tokens of answers, and branches of trees, in one step.

All that is not attention is computed for the nodes of all rows, end to end. A row's keys and values have a slot; rows
with few nodes are padded to each other within attention, rows with many are attended to by themselves.

Shapes: M nodes of a step, Q most nodes of a row, K places of a slot, H heads (G of keys and values), D a head's width,
V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers.cache_utils import Cache

from hangtag.phi3v.adapters_phi3_v import without_wrapper
from hangtag.prediction.nodes import Found, Node, Task
from hangtag.prediction.store import Store

_NARROW = 4
"""Nodes of a row that is padded to others on a CPU (docs/log.md)."""
_FEW = 4
"""Nodes whose keys and values are put into their places one by one on a CPU."""


class Decoder:
    """Keys and values of rows, and what is computed with them.

    Args:
        model: a `Phi3VForCausalLM`, or PEFT's wrapper of one.
        signs: tokens whose probability is told of every node.
        likeliest: how many likeliest tokens are told of those that want them.
    """

    def __init__(self, model: Any, signs: Sequence[int], likeliest: int) -> None:
        self.model = without_wrapper(model)
        self.device, self.dtype = self.model.device, self.model.dtype
        self._signs, self._likeliest = list(signs), likeliest
        self._store = Store()
        self._lengths: dict[int, int] = {}

    def put(self, cache: Cache, tokens: Sequence[range]) -> list[int]:
        """Copy rows out of a cache, without their padding; each one's number.

        The cache's length, padding included, decided between the two sets of rotary factors, and still does.

        Args:
            tokens: of each row, where in the cache its tokens lie.
        """
        rows = self._store.put(cache, tokens)
        self._lengths.update(dict.fromkeys(rows, int(cache.get_seq_length())))
        return rows

    def drop(self, row: int) -> None:
        """Forget a row."""
        self._store.drop(row)
        del self._lengths[row]

    def step(self, wanted: Sequence[tuple[int, Sequence[Node]]]) -> list[Found]:
        """What follows the nodes that some rows want.

        Args:
            wanted: numbers of rows, and nodes; each row once, and none without a node.
        """
        nodes = [node for _, each in wanted for node in each]
        decoder, at = self.model.model, _Places(self, self._store, wanted, nodes)
        lengths_M = [max(node.sees.bit_count(), self._lengths[row]) for row, each in wanted for node in each]
        with torch.inference_mode():
            hidden = decoder.embed_tokens(self._tensor([node.token for node in nodes]))[None]
            positions_M = self._tensor([node.sees.bit_count() - 1 for node in nodes])
            turned = _turns(*decoder.rotary_emb(positions_M[None], self._tensor(lengths_M)[None], hidden.dtype))
            for layer, held in zip(decoder.layers, self._store.layers, strict=True):
                attention = layer.self_attn
                heads, fewer = attention.config.num_attention_heads, attention.config.num_key_value_heads
                states = attention.qkv_proj(layer.input_layernorm(hidden))[0]
                states_MXD = states.view(len(nodes), heads + 2 * fewer, attention.head_dim)
                both = _turned(states_MXD[:, : heads + fewer], *turned)
                attended_MHD = at.attend(
                    held, both[:, :heads], both[:, heads:], states_MXD[:, heads + fewer :], attention.scaling
                )
                hidden = hidden + attention.o_proj(attended_MHD.flatten(1)[None])
                hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
            found = self.found(self.model.lm_head(decoder.norm(hidden))[0], nodes)
        ends = list(accumulate(len(each) for _, each in wanted))
        return [found.part(end - len(each), end) for end, (_, each) in zip(ends, wanted, strict=True)]

    def found(self, logits_MV: torch.Tensor, nodes: Sequence[Node]) -> Found:
        """What follows nodes by their logits, as far as each wants it."""
        logits_MV = logits_MV.float()
        log_p_MV = logits_MV.log_softmax(-1)
        count = len(nodes)
        few = min(self._likeliest, log_p_MV.shape[-1])
        found = Found(
            np.full(count, -1),
            np.full(count, -np.inf),
            np.full((count, few), -1),
            np.full((count, few), -np.inf),
            _numpy(log_p_MV[:, self._signs]),
            np.full(count, -np.inf),
            np.full(count, -np.inf),
        )
        if where := [place for place, node in enumerate(nodes) if node.likeliest]:
            best = log_p_MV[where].topk(few)
            found.likeliest[where], found.likeliest_log_p[where] = best.indices.cpu().numpy(), _numpy(best.values)
        choosing = [(place, node.allowed) for place, node in enumerate(nodes) if node.allowed is not None]
        if choosing:
            where = [place for place, _ in choosing]
            allowed = torch.stack([each for _, each in choosing])
            chosen = logits_MV[where].masked_fill_(~allowed, -torch.inf).argmax(-1)
            found.chosen[where] = chosen.cpu().numpy()
            found.chosen_log_p[where] = _numpy(log_p_MV[where, chosen])
        for enders in {node.enders for node in nodes if node.enders}:
            where = [place for place, node in enumerate(nodes) if node.enders == enders]
            found.enders[where] = _numpy(log_p_MV[where][:, list(enders)].logsumexp(-1))
        if where := [place for place, node in enumerate(nodes) if node.target is not None]:
            found.target[where] = _numpy(log_p_MV[where, [nodes[place].target for place in where]])
        return found

    def _tensor(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, device=self.device)


def _turns(cosine_1MD: torch.Tensor, sine_1MD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotary factors for all heads, the sine's sign as it meets the other half."""
    low, high = sine_1MD[0, :, None].chunk(2, -1)
    return cosine_1MD[0, :, None], torch.cat((-low, high), -1)


def _turned(states_MXD: torch.Tensor, cosine_M1D: torch.Tensor, sine_M1D: torch.Tensor) -> torch.Tensor:
    """As `apply_rotary_pos_emb`, to the last bit."""
    return states_MXD * cosine_M1D + states_MXD.roll(states_MXD.shape[-1] // 2, -1) * sine_M1D


def _numpy(values: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(values.double().cpu().numpy())


class _Places:
    """A step's attention, layer by layer."""

    def __init__(
        self, decoder: Decoder, store: Store, wanted: Sequence[tuple[int, Sequence[Node]]], nodes: Sequence[Node]
    ) -> None:
        place_M = [node.sees.bit_length() - 1 for node in nodes]
        seen = _bits([node.sees for node in nodes], max(place_M) + 1)
        bias_MK = np.where(seen, np.float32(0), np.float32(torch.finfo(decoder.dtype).min))
        self._bias_MK = torch.from_numpy(bias_MK).to(decoder.device, decoder.dtype)
        counts = [len(each) for _, each in wanted]
        ends = list(accumulate(counts))
        most = [max(place_M[end - count : end]) + 1 for count, end in zip(counts, ends, strict=True)]
        slots = store.slots([row for row, _ in wanted], most)
        self._rows = [
            (slot, end - count, end, places) for slot, count, end, places in zip(slots, counts, ends, most, strict=True)
        ]
        self._by_place = len(nodes) <= _FEW and decoder.device.type == "cpu"
        slot_M = [slot for slot, count in zip(slots, counts, strict=True) for _ in range(count)]
        self._where = list(zip(slot_M, place_M, strict=True))
        if not self._by_place:
            self._slot_M, self._place_M = decoder._tensor(slot_M), decoder._tensor(place_M)
        self._alone, self._padded = self._split(decoder.device.type == "cpu")

    def _split(self, cpu: bool) -> tuple[list[tuple[int, int, int, int]], _Padded | None]:
        """The rows that are attended to by themselves, and the others, padded to each other."""
        narrow = [row for row in self._rows if not cpu or row[2] - row[1] <= _NARROW]
        span = 1 + max((slot for slot, *_ in narrow), default=-1)
        if cpu and 2 * len(narrow) <= span + 1:
            return self._rows, None
        alone = [row for row in self._rows if row not in narrow] if cpu else []
        return alone, _Padded(narrow, span, self._bias_MK)

    def attend(
        self,
        held: tuple[torch.Tensor, torch.Tensor],
        query_MHD: torch.Tensor,
        key_MGD: torch.Tensor,
        value_MGD: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        """Put a layer's keys and values into their places, and attend: [M, H, D]."""
        for there, new_MGD in zip(held, (key_MGD, value_MGD), strict=True):
            if self._by_place:
                for (slot, place), new in zip(self._where, new_MGD, strict=True):
                    there[slot, :, place] = new
            else:
                there[self._slot_M, :, self._place_M] = new_MGD
        keys, values = held
        options: dict[str, Any] = {"scale": scaling, "enable_gqa": keys.shape[1] != query_MHD.shape[1]}
        if self._padded and not self._alone:
            return self._padded.attend(query_MHD, keys, values, options)
        attended_MHD = torch.empty_like(query_MHD)
        if self._padded:
            attended_MHD[self._padded.nodes] = self._padded.attend(query_MHD[self._padded.nodes], keys, values, options)
        query_HMD = query_MHD.transpose(0, 1)[None]
        for slot, start, end, places in self._alone:
            found_HQD = F.scaled_dot_product_attention(
                query_HMD[:, :, start:end],
                keys[slot : slot + 1, :, :places],
                values[slot : slot + 1, :, :places],
                self._bias_MK[start:end, :places],
                **options,
            )[0]
            if len(self._rows) == 1:
                return found_HQD.transpose(0, 1)
            attended_MHD[start:end] = found_HQD.transpose(0, 1)
        return attended_MHD


class _Padded:
    """Rows padded to the one with most nodes, in all slots up to the last of theirs."""

    def __init__(self, rows: Sequence[tuple[int, int, int, int]], span: int, bias_MK: torch.Tensor) -> None:
        device = bias_MK.device
        nodes = [node for _, start, end, _ in rows for node in range(start, end)]
        slots = [slot for slot, start, end, _ in rows for _ in range(start, end)]
        places = [place for _, start, end, _ in rows for place in range(end - start)]
        self.nodes, *self._at = (torch.tensor(each, device=device) for each in (nodes, slots, places))
        self._places = max(places for *_, places in rows)
        self._shape = span, max(end - start for _, start, end, _ in rows)
        least = torch.finfo(bias_MK.dtype).min
        self._bias = bias_MK.new_full((span, 1, self._shape[1], self._places), least)
        self._bias[self._at[0], 0, self._at[1]] = bias_MK[self.nodes, : self._places]

    def attend(
        self, query_NHD: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, options: dict[str, Any]
    ) -> torch.Tensor:
        query = query_NHD.new_zeros(*self._shape, *query_NHD.shape[1:])
        query[tuple(self._at)] = query_NHD
        found_BHQD = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            keys[: self._shape[0], :, : self._places],
            values[: self._shape[0], :, : self._places],
            self._bias,
            **options,
        )
        return found_BHQD.transpose(1, 2)[tuple(self._at)]


def _bits(numbers: Sequence[int], count: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The lowest `count` bits of each number: bool [M, count]."""
    size = (count + 7) // 8
    packed = np.frombuffer(b"".join(each.to_bytes(size, "little") for each in numbers), np.uint8)
    return np.unpackbits(packed.reshape(-1, size), axis=1, count=count, bitorder="little").astype(bool)


def run(decoder: Decoder, tasks: Iterable[Task[Any]]) -> None:
    """Run tasks of different rows to their ends."""
    live = [each for each in tasks if not each.done]
    while live:
        for task, found in zip(live, decoder.step([(each.row, each.nodes) for each in live]), strict=True):
            task.send(found)
        live = [each for each in live if not each.done]
