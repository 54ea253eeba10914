"""Where rows' keys and values lie: a slot a row, all slots equally long, so that rows can be padded to each other.

Rows come and go, short and long ones. When a new one finds no room, or far too much, the rows that are there move
together into tensors of their own size: what is held follows from the rows of now, not from the longest row and the
fullest hour that ever were.

Shapes: B slots, K places of a slot, G heads, D a head's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache

_ROOM = 128
"""Places made behind what rows need: enough for most answers and their trees."""
_MUCH = 64_000_000
"""Bytes that may lie idle."""


class Store:
    """Keys and values, layer by layer, of rows by their number."""

    def __init__(self, config: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        heads, width = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
        empty_BGKD = torch.zeros(0, heads, 0, width, device=device, dtype=dtype)
        self.layers = [(empty_BGKD, empty_BGKD)] * config.num_hidden_layers
        self._slots: dict[int, int] = {}
        self._used: dict[int, int] = {}
        self._made = 0

    def put(self, cache: Cache, tokens: Sequence[range]) -> list[int]:
        """Copy rows out of a cache; their numbers.

        Args:
            tokens: of each row, where in the cache its tokens lie.
        """
        rows = self.open([len(where) for where in tokens])
        for place, (row, where) in enumerate(zip(rows, tokens, strict=True)):
            for held, layer in zip(self.layers, cache.layers, strict=True):
                for there, new in zip(held, (layer.keys, layer.values), strict=True):
                    there[self._slots[row], :, : len(where)] = new[place, :, where.start : where.stop]
        return rows

    def open(self, lengths: Sequence[int]) -> list[int]:
        """Slots for new rows of so many tokens; their numbers."""
        self._fit(len(lengths), max(lengths))
        taken = set(self._slots.values())
        free = (slot for slot in range(len(self.layers[0][0])) if slot not in taken)
        rows = list(range(self._made, self._made + len(lengths)))
        self._made += len(lengths)
        self._slots.update(zip(rows, free, strict=False))
        self._used.update(zip(rows, lengths, strict=True))
        return rows

    def drop(self, row: int) -> None:
        """Let another row have its slot."""
        del self._slots[row], self._used[row]

    def slots(self, rows: Sequence[int], places: Sequence[int]) -> list[int]:
        """The slots of some rows, with room for so many places in each."""
        self._used.update({row: max(self._used[row], most) for row, most in zip(rows, places, strict=True)})
        self._fit(0, 0)
        return [self._slots[row] for row in rows]

    def _fit(self, new: int, longest: int) -> None:
        """Have room for what all rows use, and for so many new rows of up to `longest` places."""
        slots, places = len(self._slots) + new, max([longest, *self._used.values()])
        keys = self.layers[0][0]
        there_slots, _, there_places, _ = keys.shape
        idle = there_slots * there_places - 4 * slots * (places + _ROOM)
        much = idle * keys[:0].element_size() * keys.shape[1] * keys.shape[3] * 2 * len(self.layers) > _MUCH
        if slots <= there_slots and places <= there_places and not (new and much):
            return
        old = list(self._slots.values())
        kept, shape = min(places, there_places), (max(slots, len(old)), places + _ROOM)
        self.layers = [
            (_moved(keys, old, kept, shape), _moved(values, old, kept, shape)) for keys, values in self.layers
        ]
        self._slots = {row: slot for slot, row in enumerate(self._slots)}


def _moved(held_BGKD: torch.Tensor, slots: list[int], kept: int, shape: tuple[int, int]) -> torch.Tensor:
    """What was never written is zero: NaN would outlive its weight of zero."""
    made = held_BGKD.new_zeros(shape[0], held_BGKD.shape[1], shape[1], held_BGKD.shape[3])
    made[: len(slots), :, :kept] = held_BGKD[slots, :, :kept]
    return made
