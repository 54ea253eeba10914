"""How many bytes of tensors are alive while a block runs, and the largest tensor made: on any device, to the byte.

Every operation is seen through a `TorchDispatchMode`; a storage counts from the operation that makes it until it is
freed. Storages that were there before do not count, nor does what a kernel takes and gives back inside itself.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


class LiveMemory(TorchDispatchMode):
    """`live` and `peak` in bytes of what was made inside the block; `largest` is the most elements of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = self.largest = 0
        self._known = WeakIdKeyDictionary(ref_type=weakref.ref)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._known.setdefault(tensor.untyped_storage(), True)
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            storage = tensor.untyped_storage()
            if storage not in self._known:
                self._known[storage] = True
                self.live += storage.nbytes()
                self.largest = max(self.largest, storage.nbytes() // tensor.element_size())
                weakref.finalize(storage, self._freed, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return made

    def _freed(self, size: int) -> None:
        self.live -= size


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [each for each in tree_leaves(tree) if isinstance(each, torch.Tensor)]
