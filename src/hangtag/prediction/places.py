"""A step's attention: where each token's key and value lie, and what it sees of its row.

Rows with few nodes are padded to each other, rows with many and prompts are attended to by themselves.

Shapes: M nodes of a step, L tokens of a step (nodes, then prompts), Q most nodes of a row, K places of a slot, H heads
(G of keys and values), D a head's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from hangtag.prediction.nodes import Node
from hangtag.prediction.store import Store

_NARROW = 4
"""Nodes of a row that is padded to others on a CPU (docs/log.md)."""
_FEW = 4
"""Nodes whose keys and values are put into their places one by one on a CPU."""


class _Span(NamedTuple):
    """Tokens `start` to `end` of a step, all of one row; the row's slot, and how many of its places they can see."""

    slot: int
    start: int
    end: int
    places: int


class Places:
    """A step's attention, layer by layer.

    Args:
        grown: rows and their nodes.
        begun: rows and how many tokens their prompts have.

    `asked` are the tokens whose followers are asked for: the nodes, and each prompt's last.
    """

    def __init__(
        self, store: Store, grown: Sequence[tuple[int, Sequence[Node]]], begun: Sequence[tuple[int, int]]
    ) -> None:
        self._cpu = store.device.type == "cpu"
        nodes = [node for _, each in grown for node in each]
        place_M = [node.sees.bit_length() - 1 for node in nodes]
        ends = list(accumulate([len(each) for _, each in grown] + [tokens for _, tokens in begun], initial=0))
        most = [max(node.sees for node in each).bit_length() for _, each in grown] + [tokens for _, tokens in begun]
        slots = store.slots([row for row, _ in [*grown, *begun]], most)
        spans = [_Span(slot, *bounds, each) for slot, bounds, each in zip(slots, pairwise(ends), most, strict=True)]
        self._rows, self._prompts = spans[: len(grown)], spans[len(grown) :]
        self.asked = [*range(len(nodes)), *(span.end - 1 for span in self._prompts)]
        if nodes:
            self._place(nodes, place_M, store)

    def _place(self, nodes: Sequence[Node], place_M: list[int], store: Store) -> None:
        seen = _bits([node.sees for node in nodes], max(place_M) + 1)
        bias_MK = np.where(seen, np.float32(0), np.float32(torch.finfo(store.dtype).min))
        self._bias_MK = torch.from_numpy(bias_MK).to(store.device, store.dtype)
        slot_M = [span.slot for span in self._rows for _ in range(span.start, span.end)]
        self._by_place = len(nodes) <= _FEW and self._cpu
        self._where = list(zip(slot_M, place_M, strict=True))
        if not self._by_place:
            self._slot_M, self._place_M = (torch.tensor(each, device=store.device) for each in (slot_M, place_M))
        self._alone, self._padded = self._split()

    def _split(self) -> tuple[list[_Span], _Padded | None]:
        """The rows that are attended to by themselves, and the others, padded to each other."""
        narrow = [span for span in self._rows if not self._cpu or span.end - span.start <= _NARROW]
        slots = 1 + max((span.slot for span in narrow), default=-1)
        if self._cpu and 2 * len(narrow) <= slots + 1:
            return self._rows, None
        alone = [span for span in self._rows if span not in narrow] if self._cpu else []
        return alone, _Padded(narrow, slots, self._bias_MK)

    def attend(
        self,
        held: tuple[torch.Tensor, torch.Tensor],
        query_LHD: torch.Tensor,
        key_LGD: torch.Tensor,
        value_LGD: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        """Put a layer's keys and values into their places, and attend: [L, H, D]."""
        options: dict[str, Any] = {"scale": scaling, "enable_gqa": key_LGD.shape[1] != query_LHD.shape[1]}
        states = [query_LHD, key_LGD, value_LGD]
        if not self._prompts:
            return self._nodes(held, states, options)
        attended_LHD = torch.empty_like(query_LHD)
        if self._rows:
            count = self._rows[-1].end
            attended_LHD[:count] = self._nodes(held, [each[:count] for each in states], options)
        for span in self._prompts:
            query, key, value = (each[span.start : span.end].transpose(0, 1) for each in states)
            for there, new in zip(held, (key, value), strict=True):
                there[span.slot, :, : span.places] = new
            found_1HTD = F.scaled_dot_product_attention(query[None], key[None], value[None], is_causal=True, **options)
            attended_LHD[span.start : span.end] = found_1HTD[0].transpose(0, 1)
        return attended_LHD

    def _nodes(
        self,
        held: tuple[torch.Tensor, torch.Tensor],
        states: Sequence[torch.Tensor],
        options: dict[str, Any],
    ) -> torch.Tensor:
        query_MHD, key_MGD, value_MGD = states
        for there, new_MGD in zip(held, (key_MGD, value_MGD), strict=True):
            if self._by_place:
                for (slot, place), new in zip(self._where, new_MGD, strict=True):
                    there[slot, :, place] = new
            else:
                there[self._slot_M, :, self._place_M] = new_MGD
        keys, values = held
        if self._padded and not self._alone:
            return self._padded.attend(query_MHD, keys, values, options)
        attended_MHD = torch.empty_like(query_MHD)
        if self._padded:
            attended_MHD[self._padded.nodes] = self._padded.attend(query_MHD[self._padded.nodes], keys, values, options)
        query_HMD = query_MHD.transpose(0, 1)[None]
        for span in self._alone:
            found_HQD = F.scaled_dot_product_attention(
                query_HMD[:, :, span.start : span.end],
                keys[span.slot : span.slot + 1, :, : span.places],
                values[span.slot : span.slot + 1, :, : span.places],
                self._bias_MK[span.start : span.end, : span.places],
                **options,
            )[0]
            if len(self._rows) == 1:
                return found_HQD.transpose(0, 1)
            attended_MHD[span.start : span.end] = found_HQD.transpose(0, 1)
        return attended_MHD


class _Padded:
    """Rows padded to the one with most nodes, in all slots up to the last of theirs."""

    def __init__(self, rows: Sequence[_Span], slots: int, bias_MK: torch.Tensor) -> None:
        device = bias_MK.device
        nodes = [node for span in rows for node in range(span.start, span.end)]
        slot_N = [span.slot for span in rows for _ in range(span.start, span.end)]
        place_N = [place for span in rows for place in range(span.end - span.start)]
        self.nodes, *self._at = (torch.tensor(each, device=device) for each in (nodes, slot_N, place_N))
        self._places = max(span.places for span in rows)
        self._shape = slots, max(span.end - span.start for span in rows)
        least = torch.finfo(bias_MK.dtype).min
        self._bias = bias_MK.new_full((slots, 1, self._shape[1], self._places), least)
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
