"""Weights & Biases and TensorBoard, where a recipe's [track] asks for them, beside log.jsonl.

What the Trainer logs goes through transformers' own callbacks, each behind a guard: whatever a tracker raises is told
once, that tracker is switched off, and training goes on. Pictures with their tags and the final metrics come on top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hangtag.errors import first_line
from hangtag.files import Run
from hangtag.recipe import Recipe
from hangtag.training.samples import Sample
from hangtag.training.tracking_tensorboard import TensorBoardTracker
from hangtag.training.tracking_wandb import WandbTracker

__all__ = ["Sample", "Trackers"]


class Tracker(Protocol):
    """One service. Any method may raise; its `Guard` sees to it that nobody else notices."""

    name: str

    def start(self, step: int) -> TrainerCallback:
        """Begin, or go on after optimizer step `step`; returns what the Trainer's events go to from now on."""

    def samples(self, step: int, rows: Sequence[Sample]) -> None: ...

    def finish(self, metrics: dict[str, float], model_folder: Path | None) -> None: ...

    def abandon(self) -> None:
        """Close what is open after a failure, the tracker's own or the training's."""


class Guard:
    """Stands between training and one tracker. The first exception is told and switches the tracker off."""

    def __init__(self, tracker: Tracker, say: Callable[[str], None]) -> None:
        self.tracker = tracker
        self.say = say
        self.callback: TrainerCallback | None = None
        self.on = True

    def attempt(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """`work(...)` while the tracker is on; None after it failed."""
        if not self.on:
            return None
        try:
            return work(*arguments, **named)
        except (Exception, SystemExit) as error:  # wandb exits where its process failed; training does not
            self.on = False
            self.say(f"{self.tracker.name} failed and is off from here on; training goes on: {first_line(error)}")
            with suppress(Exception, SystemExit):
                self.tracker.abandon()
            return None

    def start(self, step: int) -> None:
        self.callback = self.attempt(self.tracker.start, step)

    def event(self, name: str, *arguments: Any, **named: Any) -> None:
        if self.callback is not None:
            self.attempt(getattr(self.callback, name), *arguments, **named)

    def close(self, work: Callable[..., Any], *arguments: Any) -> None:
        """The tracker's last work."""
        if self.callback is not None:
            self.attempt(work, *arguments)
        self.on = False


class Trackers(TrainerCallback):
    """All trackers that a recipe asks for; does nothing where it asks for none or this is not the main process.

    Used as a context, it closes what training that raised leaves open.

    Args:
        run: its folder exists when training begins.
        say: told, a line each, where to look and what failed.
    """

    def __init__(self, recipe: Recipe, run: Run, say: Callable[[str], None], main_process: bool = True) -> None:
        trackers: list[Tracker] = []
        if main_process and recipe.track.wandb != "off":
            trackers.append(WandbTracker(recipe, run, say))
        if main_process and recipe.track.tensorboard:
            trackers.append(TensorBoardTracker(recipe, run))
        self.guards = [Guard(tracker, say) for tracker in trackers]

    @property
    def callbacks(self) -> list[TrainerCallback]:
        """For the Trainer, whose `report_to` must be `["none"]`."""
        return [self] if self.guards else []

    def samples(self, step: int, rows: Sequence[Sample]) -> None:
        """Show validation rows as they were written after optimizer step `step`."""
        for guard in self.guards:
            if guard.callback is not None:
                guard.attempt(guard.tracker.samples, step, rows)

    def finish(self, metrics: dict[str, float], model_folder: Path | None) -> None:
        """Record the final metrics and, where the recipe asks for it, the model; then close."""
        for guard in self.guards:
            guard.close(guard.tracker.finish, metrics, model_folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for guard in self.guards:
            guard.close(guard.tracker.abandon)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any
    ) -> None:
        for guard in self.guards:
            guard.start(state.global_step)
            guard.event("on_train_begin", args, state, control, **named)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any) -> None:
        """Nothing: transformers' callbacks close their tracker here, and the final metrics are still to come."""


def _forward(event: str) -> Callable[..., None]:
    def handle(self: Trackers, *arguments: Any, **named: Any) -> None:
        for guard in self.guards:
            guard.event(event, *arguments, **named)

    return handle


for _event in dir(TrainerCallback):
    if _event.startswith("on_") and _event not in vars(Trackers):
        setattr(Trackers, _event, _forward(_event))
