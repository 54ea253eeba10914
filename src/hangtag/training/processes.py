"""This process among those of a training run; alone, it is the first of one."""

from __future__ import annotations

from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

T = TypeVar("T")


class Processes:
    """Set up from what `accelerate launch` or `torchrun` left in the environment."""

    def __init__(self) -> None:
        self.state = PartialState()
        self.index: int = self.state.process_index
        self.number: int = self.state.num_processes
        self.main = self.index == 0

    def wait(self) -> None:
        """Until all processes have come here."""
        self.state.wait_for_everyone()

    def agreed(self, decided: T) -> T:
        """What the first process decided, in all of them."""
        if self.number == 1:
            return decided
        told: list[T] = broadcast_object_list([decided])
        return told[0]
