"""transformers' Trainer, one optimizer step at a time.

The Trainer sees the whole run as one epoch whose items are optimizer steps (see `examples.loading`): so it resumes at
any step, and how many passes a step takes is the step's own affair. Ours are the step, the validation and checkpoints
that appear whole; moving gradients between processes, the optimizer's step and the schedule stay the Trainer's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerControl, TrainerState
from transformers.trainer_callback import PrinterCallback

from hangtag.errors import DataError, RunError
from hangtag.examples.examples import IGNORED
from hangtag.examples.features import crop_count
from hangtag.examples.loading import Failed, Steps, step_loader
from hangtag.files import Run
from hangtag.machine import cores
from hangtag.memory import Pass
from hangtag.prediction.tagger import Tagger
from hangtag.recipe import Recipe
from hangtag.training.arguments import arguments
from hangtag.training.checkpoints import (
    checkpoint_at,
    damage,
    partial_folder,
    prune,
    publish,
    remove_partial,
    step_of,
)
from hangtag.training.guards import CHECKED, GradientCheck, check_number
from hangtag.training.log import Log
from hangtag.training.loss import answer_loss
from hangtag.training.models import Trainable
from hangtag.training.optimizers import make_optimizer
from hangtag.training.out_of_memory import Device, advice, is_out_of_memory
from hangtag.training.processes import Processes
from hangtag.training.tracking import Trackers
from hangtag.training.validation import answer_metrics, spread, write_answers
from hangtag.training.watch import Watch


class StepTrainer(Trainer):
    """Trains `steps` and validates on `validation`, as the recipe says.

    Args:
        steps, validation: of this process; `validation` keeps its rows' order, None where the split is empty.
        log: where the best step is looked up.
        trackers: shown what is written at each validation.
        watch: decides when to validate, to save and to stop.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: Run,
        model: Trainable,
        steps: Steps,
        validation: Steps | None,
        log: Log,
        processes: Processes,
        trackers: Trackers,
        watch: Watch,
    ) -> None:
        self.recipe = recipe
        self.run = run
        self.steps = steps
        self.validation = validation
        self.run_log = log
        self.processes = processes
        self.trackers = trackers
        self.tokens = 0
        self.waited = 0.0
        self.since = time.monotonic()
        self.check_gradients = GradientCheck(recipe.train.part_rates())
        self.control: TrainerControl
        self.state: TrainerState
        self.optimizer: torch.optim.Optimizer | None
        settings = arguments(recipe, run, steps.plan.steps, processes.on_cpu)
        super().__init__(model=model, args=settings, callbacks=[watch, *trackers.callbacks])
        self.remove_callback(PrinterCallback)

    def create_accelerator_and_postprocess(self) -> None:
        """As the Trainer, but sharding is ours to set up."""
        super().create_accelerator_and_postprocess()
        self.processes.set_up_sharding(self.accelerator)
        self.is_fsdp_enabled = self.processes.sharded

    # -- data ---------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """All steps of the run; the Trainer skips those that a checkpoint holds."""
        return self._loader(self.steps, self.args.max_steps)

    def _loader(self, steps: Steps, count: int) -> DataLoader[Any]:
        return step_loader(steps, count, self._workers(steps), torch.cuda.is_available())

    def _workers(self, steps: Steps) -> int:
        asked = self.recipe.train.workers
        if asked != "auto":
            return asked
        if torch.cuda.is_available():
            return min(8, max(1, cores() - 1))
        # On a CPU a worker takes from the model what it gives; it pays where pictures are decoded or changed.
        return 0 if steps.at_hand else 1

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], None]:
        """The next step, and how long it was waited for."""
        asked = time.monotonic()
        step = next(epoch_iterator)
        self.waited += time.monotonic() - asked
        return [_whole(step)], None

    # -- a step -------------------------------------------------------------------------------------------------

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Forward and backward of all of a step's passes.

        The loss is summed over the step's answer tokens and divided by their number, over all passes and processes.
        Processes' gradients are averaged, so each gives its share times their number.
        """
        model.train()
        passes, labels, counted = inputs["passes"], inputs["labels"], 0
        total = torch.zeros((), device=self.args.device)
        for number, each in enumerate(passes):
            # Sharded, a pass's gradients are moved at once: whole ones would take the memory that sharding saves.
            waits = number < len(passes) - 1 and not self.is_fsdp_enabled
            with self._told_if_too_large(each), self.accelerator.no_sync(model) if waits else contextlib.nullcontext():
                with self.compute_loss_context_manager():
                    summed, count = answer_loss(model, self._moved(each), self.recipe.train.label_smoothing)
                loss = summed * (self.processes.number / labels)
                self.accelerator.backward(loss)
            total += loss.detach()
            counted += count
        if self.processes.number == 1 and counted != labels:
            raise RunError(
                f"a step learned {counted} answer tokens, but its rows hold {labels}; please report this bug"
            )
        self.tokens = inputs["tokens"]
        if inputs["pictures"] == any(self.steps.plan.pictured):
            self.check_gradients(self.model.named_parameters(), self.processes.any)
        return total

    @contextlib.contextmanager
    def _told_if_too_large(self, inputs: dict[str, torch.Tensor]) -> Iterator[None]:
        """Raises a RunError that says what to lower where memory runs out in a pass."""
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            side = self.steps.examples.processor.image_processor.crop_size
            sizes = inputs["image_sizes"].tolist() if "image_sizes" in inputs else []
            crops = sum(crop_count(height, width, side) for height, width in sizes)
            one = Pass(inputs["input_ids"].numel(), int((inputs["labels"] != IGNORED).sum()), crops)
            device = Device(self.processes.number, self.is_fsdp_enabled, self.args.bf16)
            raise RunError(advice(self.recipe, one, device, max(self.steps.lengths))) from None

    def _moved(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: each.to(self.args.device, non_blocking=True) for name, each in inputs.items()}

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted here."""
        return 0

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The recipe's, over the parts that learn."""
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.model if model is None else model, self.recipe.train)
        return self.optimizer

    # -- the log ------------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A record for log.jsonl and the trackers, with the epoch counted over the training rows.

        Raises:
            RunError: the loss is no number, or exactly 0.
        """
        step = self.state.global_step
        self.state.epoch = round(step / self.steps.plan.steps, 4)
        for name in logs.keys() & CHECKED:
            check_number(name, logs[name], step)
        if "loss" in logs:
            now = time.monotonic()
            logs["tokens"] = self.tokens
            logs["wait"] = round(self.waited / max(now - self.since, 1e-9), 4)
            self.waited, self.since = 0.0, now
        super().log(logs, start_time)

    # -- validation ---------------------------------------------------------------------------------------------

    @torch.compiler.set_stance("force_eager")
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The validation loss, without smoothing or augmentation, and the score of answers that are written.

        Layers run as they are written: compiled ones would be compiled anew for every length of a cache.
        """
        assert self.validation is not None
        metrics = {"validation_loss": self._validation_loss(self.validation)}
        chosen = spread(len(self.validation.examples), self.recipe.train.validation_answers)
        if chosen:
            tagger = Tagger(self.model, self.validation.examples.processor, self.recipe)
            # A token's keys and values take about what training keeps of it: so many rows fit as a pass has.
            at_once = max(1, self.recipe.train.token_budget // max(self.validation.lengths))
            written = write_answers(tagger, self.validation, chosen, at_once)
            metrics |= answer_metrics(written, self.recipe.task.template)
            shown = [written[place] for place in spread(len(written), self.recipe.track.samples)]
            self.trackers.samples(self.state.global_step, shown)
        metrics = self.processes.told(metrics)  # what they decide by must be one and the same
        self.model.train()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.since = time.monotonic()
        return metrics

    def _validation_loss(self, validation: Steps) -> float:
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad(), self.compute_loss_context_manager():
            for step in self._loader(validation, validation.plan.steps):
                for each in _whole(step)["passes"]:
                    loss, count = answer_loss(self.model, self._moved(each))
                    total += torch.tensor([loss.item(), count], dtype=torch.float64)
        summed, labels = self.accelerator.reduce(total.to(self.args.device)).tolist()
        return float(summed / labels)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _get_output_dir(self, trial: Any) -> str:
        return str(partial_folder(self.run))

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Let the Trainer write into a hidden folder, then name it: a checkpoint is whole or not there."""
        if self.processes.main:
            remove_partial(self.run)
        self.processes.wait()
        super()._save_checkpoint(model, trial)
        self.processes.wait()
        if self.processes.main:
            step = self.state.global_step
            written = partial_folder(self.run) / f"checkpoint-{step}"
            self.run_log.keep(written)
            publish(self.run, written, step)
            prune(self.run, self.recipe.train, self.run_log.records)
        self.processes.wait()

    def goes_on_from(self, checkpoint: Path) -> None:
        """Take no step more where patience had run out at this checkpoint, nor forgive what it had seen enough of."""
        if self.run_log.is_over(self.recipe.train):
            self.args.max_steps = step_of(checkpoint)
        self.check_gradients.seen = step_of(checkpoint)

    def load_best(self) -> None:
        """Put the best validated weights into the model, where the recipe asks for them.

        Raises:
            RunError: they are no longer as they were written.
        """
        best = self.run_log.best_step(self.recipe.train)
        if best is None or best == self.state.global_step:
            return
        checkpoint = checkpoint_at(self.run, best)
        problem = self.processes.told(damage(checkpoint) if self.processes.main else None)
        if problem:
            raise RunError(
                f"the best checkpoint, {checkpoint}, is damaged ({problem}); "
                "run the same command again: it goes on from an older one"
            )
        self._load_from_checkpoint(str(checkpoint), self.model)

    def whole_state(self) -> dict[str, torch.Tensor] | None:
        """All weights on the first process where they are sharded, None where the model has them itself."""
        if not self.is_fsdp_enabled:
            return None
        state: dict[str, torch.Tensor] = self.accelerator.get_state_dict(self.model)
        return state


def _whole(step: dict[str, Any] | Failed) -> dict[str, Any]:
    if isinstance(step, Failed):
        raise DataError(step.message)
    return step
