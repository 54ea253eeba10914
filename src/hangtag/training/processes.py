"""This process among those of a training run; alone, it is the first of one."""

from __future__ import annotations

from accelerate import PartialState


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
