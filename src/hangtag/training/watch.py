"""When to validate, save and stop; what goes into log.jsonl and onto the progress bar."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hangtag.progress import Progress
from hangtag.recipe import Train
from hangtag.training.interrupt import Interrupt
from hangtag.training.log import Log
from hangtag.training.processes import Processes

LOGGED = ("loss", "grad_norm", "learning_rate", "tokens", "validation_loss", "answer_score", "readable", "wait")


class Watch(TrainerCallback):
    """Follows a run.

    Args:
        every: steps between two validations and checkpoints.
        validates: whether there is a validation split.
        wish: of an end, asked for by Ctrl-C in any of the processes.
    """

    def __init__(
        self,
        settings: Train,
        log: Log,
        progress: Progress,
        every: int,
        validates: bool,
        wish: Interrupt,
        processes: Processes,
    ) -> None:
        self.settings = settings
        self.log = log
        self.progress = progress
        self.every = every
        self.validates = validates
        self.wish = wish
        self.processes = processes
        self.interrupted = False
        self.note = ""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.progress(state.global_step, state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.progress(state.global_step, state.max_steps, self.note)
        due = state.global_step % self.every == 0 or state.global_step == state.max_steps
        control.should_evaluate = due and self.validates
        control.should_save = due
        self._stop_if_asked(state, control)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_training_stop |= self.log.is_over(self.settings)
        self._stop_if_asked(state, control)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        record = {name: logs[name] for name in LOGGED if logs and name in logs}
        if record:
            self.log.add(step=state.global_step, epoch=state.epoch or 0.0, **record)
        if "loss" in record:
            self.note = f"loss {record['loss']:.3f}"

    def _stop_if_asked(self, state: TrainerState, control: TrainerControl) -> None:
        if self._asked() and state.global_step < state.max_steps:
            self.interrupted = control.should_save = control.should_training_stop = True

    def _asked(self) -> bool:
        """Whether any process was asked to stop: all must stop at the same step."""
        return self.processes.any([self.wish.asked])[0]
