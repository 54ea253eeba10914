"""From a recipe to a run folder with a trained model; run again, it resumes."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hangtag.catalogue.store import REJECTED_COLUMNS, csv_text
from hangtag.errors import Interrupted, OutputNotEmpty, RunError, UsageError
from hangtag.examples.augmentation import Augmentation
from hangtag.examples.examples import Examples
from hangtag.examples.loading import Steps, Vision
from hangtag.files import Run, require_new_folder, whole_folder, write_json, write_whole
from hangtag.phi3v import Phi3VProcessor
from hangtag.progress import Stages, silent
from hangtag.recipe import Recipe, check_recipe
from hangtag.training.checkpoints import newest_whole, step_of
from hangtag.training.data import Rejected, make_examples, make_plan, read_rows
from hangtag.training.environment import environment
from hangtag.training.interrupt import Interrupt, deferred_interrupt
from hangtag.training.log import Log
from hangtag.training.models import Trainable, load_base, phi3v, prepare, require_libraries
from hangtag.training.parts import trained_parts
from hangtag.training.processes import Processes
from hangtag.training.trainer import StepTrainer
from hangtag.training.watch import Watch

Say = Callable[[str], None]


def quiet(line: str) -> None:
    """Tells nobody."""


def train(recipe: Recipe, out: str | Path, stages: Stages = silent, say: Say = quiet) -> Run:
    """Train as the recipe says and leave a run folder at `out`.

    A folder left by an interrupted run of the same recipe is taken up at its newest whole checkpoint; a finished one is
    returned as it is. Started in several processes (`accelerate launch`, `torchrun`), they share the work; `out` must
    be a folder that all of them see.

    Args:
        stages, say: hear how far the work is, and lines such as what is trained.

    Raises:
        TableError, ImageError, DataError: the catalogue is missing or damaged, or rows cannot be trained on.
        OutputNotEmpty, RunError: `out` holds something else, or a run of another recipe; training failed.
        Interrupted: stopped by Ctrl-C or SIGTERM, and saved.
        UsageError: a library that the recipe needs is not installed.
        ModelError: the base model cannot be loaded.
    """
    run, processes = Run(Path(out)), Processes()
    if not processes.main:
        stages, say = silent, quiet
    with processes.of_one_voice():
        _train(recipe, run, processes, stages, say)
    return run


def _train(recipe: Recipe, run: Run, processes: Processes, stages: Stages, say: Say) -> None:
    """`train`, in this process."""
    started_before, finished = processes.told(_state_of(run, recipe) if processes.main else (False, False))
    require_libraries(recipe)
    processes.prepare_for(recipe.train)
    if finished:
        return
    rows = read_rows(recipe)
    processor, model = load_base(recipe, rows.train)
    examples, validation, too_long = make_examples(recipe, rows, processor, model.config.max_position_embeddings)
    if processes.main and not started_before:
        _start(run, recipe, rows.rejected + too_long)
    processes.wait()
    processes.require_shared(run)
    with stages("reading pictures") as progress:
        examples.read_ahead(os.cpu_count() or 1, progress)
    # An error in one process ends the others by SIGTERM: no wish, and nothing to be told about.
    with deferred_interrupt(lambda line: None if processes.has_failed() else say(line)) as wish:
        # Answers may be half as long again as the longest that is learned.
        model.generation_config.max_new_tokens = math.ceil(max(examples.labels()) * 1.5) + 4
        learner = prepare(model, recipe)
        _fit(recipe, run, learner, processor, examples, validation, processes, wish, stages, say)


def _fit(
    recipe: Recipe,
    run: Run,
    model: Trainable,
    processor: Phi3VProcessor,
    examples: Examples,
    validation: Examples | None,
    processes: Processes,
    wish: Interrupt,
    stages: Stages,
    say: Say,
) -> None:
    """Train to the end, or to where the run is interrupted, and save the model."""
    for part in trained_parts(model, recipe.train.part_rates()):
        say(str(part))
    steps = _steps(recipe, examples, Vision(), processes, learns=True)
    checks = None if validation is None else _steps(recipe, validation, Vision(), processes, learns=False)
    found = processes.told(newest_whole(run, say) if processes.main else None)
    if found:
        processes.require_own_kind(found)
    with processes.main_first():
        log = Log(run.log, step_of(found) if found else 0, processes.main)
    with stages("training") as progress:
        every = max(1, round(recipe.train.checkpoint_epochs * steps.plan.steps))
        watch = Watch(recipe.train, log, progress, every, checks is not None, wish, processes)
        trainer = StepTrainer(recipe, run, model, processor, steps, checks, log, processes, [watch])
        if found and log.is_over(recipe.train):
            trainer.load_weights(found)
        else:
            trainer.train(resume_from_checkpoint=str(found) if found else None)
    if watch.interrupted:
        raise Interrupted(
            f"stopped after step {trainer.state.global_step} of {trainer.state.max_steps}, which is saved; "
            "run the same command again to go on"
        )
    trainer.load_best()
    _save(run, trainer, processor, processes)


def _steps(recipe: Recipe, examples: Examples, vision: Vision, processes: Processes, learns: bool) -> Steps:
    plan = make_plan(examples, recipe, processes.number, shuffled=learns)
    augmentation = Augmentation.of(recipe.train) if learns else None
    return Steps(examples, plan, vision, augmentation, recipe.train.seed, processes.index)


def _state_of(run: Run, recipe: Recipe) -> tuple[bool, bool]:
    """Whether `run` was begun before, and whether it is finished; raises as `_check_output`."""
    return _check_output(run, recipe), run.has_model()


def _check_output(run: Run, recipe: Recipe) -> bool:
    """Whether `run` was begun before with this very recipe; other content is refused."""
    if not run.recipe.is_file():
        require_new_folder(run.path, "choose another --out, or remove it first")
        return False
    try:
        old = check_recipe(tomllib.loads(run.recipe.read_text(encoding="utf-8"))).model_dump()
    except (UsageError, ValueError) as error:
        raise OutputNotEmpty(f"{run.recipe} is no readable recipe ({error}); choose another --out") from None
    changed = _differences(old, recipe.model_dump())
    if changed:
        raise RunError(
            f"{run.path} was begun with another recipe ({'; '.join(changed)}); "
            "choose another --out, or remove it to start again"
        )
    return True


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    changed = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            changed += _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            changed.append(f"{prefix}{key} was {before!r}, is {now!r}")
    return changed


def _start(run: Run, recipe: Recipe, rejected: Rejected) -> None:
    """Make the run folder whole: recipe, environment and rejected rows appear together."""
    with whole_folder(run.path) as folder:
        new = Run(folder)
        write_whole(new.recipe, recipe.dump())
        write_json(new.environment, environment())
        write_whole(new.rejected, csv_text(REJECTED_COLUMNS, rejected))


def _save(run: Run, trainer: StepTrainer, processor: Phi3VProcessor, processes: Processes) -> None:
    """The model folder, whole."""
    state = trainer.whole_state()
    if processes.main:
        model = trainer.accelerator.unwrap_model(trainer.model)
        base = phi3v(model)
        with whole_folder(run.model) as folder:
            model.save_pretrained(folder, state_dict=state)
            base.generation_config.save_pretrained(folder)
            processor.save_pretrained(folder)
    processes.wait()
