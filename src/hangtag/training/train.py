"""From a recipe to a run folder with a trained model; run again, it resumes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from hangtag.answer import known_categories
from hangtag.catalogue.store import Catalogue
from hangtag.errors import Interrupted
from hangtag.examples.augmentation import Augmentation
from hangtag.examples.examples import Examples
from hangtag.examples.loading import Steps, Vision
from hangtag.files import Run, read_jsonl, whole_folder
from hangtag.machine import cores
from hangtag.phi3v.adapters_phi3_v import without_wrapper
from hangtag.progress import Stages, silent
from hangtag.recipe import Recipe
from hangtag.training.begun import alone, begin, check_output, check_unchanged, digest
from hangtag.training.checkpoints import flush_all, take_up
from hangtag.training.data import make_examples, make_plan, read_rows
from hangtag.training.failures import told
from hangtag.training.interrupt import Interrupt, deferred_interrupt
from hangtag.training.libraries import require_libraries
from hangtag.training.log import Log
from hangtag.training.models import Trainable, load_base, prepare
from hangtag.training.parts import trained_parts
from hangtag.training.processes import Processes
from hangtag.training.tracking import Trackers
from hangtag.training.trainer import StepTrainer
from hangtag.training.vision import make_vision
from hangtag.training.watch import Watch

Say = Callable[[str], None]


def quiet(line: str) -> None:
    """Tells nobody."""


def train(
    recipe: Recipe,
    out: str | Path,
    stages: Stages = silent,
    say: Say = quiet,
    catalogue: Catalogue | None = None,
) -> Run:
    """Train as the recipe says and leave a run folder at `out`.

    A folder left by an interrupted run of the same recipe is taken up at its newest whole checkpoint; a finished one is
    returned as it is. Started in several processes (`accelerate launch`, `torchrun`), they share the work; `out` must
    be a folder that all of them see.

    Args:
        stages, say: hear how far the work is, and lines such as what is trained.
        catalogue: in place of the recipe's, as it is in memory.

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
    with processes.of_one_voice(), told(run):
        _train(recipe, run, processes, stages, say, catalogue)
    return run


def _train(
    recipe: Recipe, run: Run, processes: Processes, stages: Stages, say: Say, catalogue: Catalogue | None
) -> None:
    """`train`, in this process."""
    begun, finished = processes.told(_state_of(run, recipe, say) if processes.main else (False, False))
    require_libraries(recipe)
    processes.prepare_for(recipe.train)
    if finished:
        return
    rows = read_rows(recipe, catalogue)
    processor, model = load_base(recipe, rows.train)
    examples, validation, too_long = make_examples(recipe, rows, processor, model.config.max_position_embeddings)
    data = {"train": digest(examples), "validation": digest(validation)}
    if processes.main and not begun:
        known = known_categories(recipe.task.template, [row.values for row in rows.train])
        begin(run, recipe, rows.rejected + too_long, data, known)
    processes.wait()
    processes.require_shared(run)
    check_unchanged(run, data, say)
    # An error in one process ends the others by SIGTERM: no wish, and nothing to be told about.
    interrupt = deferred_interrupt(lambda line: None if processes.has_failed() else say(line))
    with alone(run, processes.main):
        # Answers may be half as long again as the longest that is learned.
        model.generation_config.max_new_tokens = math.ceil(max(examples.labels()) * 1.5) + 4
        splits = [examples] if validation is None else [examples, validation]
        vision = make_vision(recipe, model, processor, splits, processes, stages, say)
        if vision.cache is None:
            with stages("reading pictures") as progress:
                examples.read_ahead(cores(), progress)
        learner = prepare(model, recipe)
        steps, *checks = (_steps(recipe, each, vision, processes, each is examples) for each in splits)
        with interrupt as wish:
            _fit(recipe, run, learner, steps, checks[0] if checks else None, processes, wish, stages, say)


def _fit(
    recipe: Recipe,
    run: Run,
    model: Trainable,
    steps: Steps,
    checks: Steps | None,
    processes: Processes,
    wish: Interrupt,
    stages: Stages,
    say: Say,
) -> None:
    """Train to the end, or to where the run is interrupted, and save the model."""
    for part in trained_parts(model, recipe.train.part_rates()):
        say(str(part))
    found = processes.told(take_up(run, recipe.train, say) if processes.main else None)
    if found:
        processes.require_own_kind(found)
    log = Log(run.log, read_jsonl(found / run.log.name) if found else [], processes.main)
    every = max(1, round(recipe.train.checkpoint_epochs * steps.plan.steps))
    with Trackers(recipe, run, say, processes.main) as trackers:
        with stages("training") as progress:
            watch = Watch(recipe.train, log, progress, every, checks is not None, wish, processes)
            trainer = StepTrainer(recipe, run, model, steps, checks, log, processes, trackers, watch)
            if found:
                say(f"going on from {found}")
                trainer.goes_on_from(found)
            trainer.train(resume_from_checkpoint=str(found) if found else None)
        if watch.interrupted:
            raise Interrupted(
                f"stopped after step {trainer.state.global_step} of {trainer.state.max_steps}, which is saved; "
                "run the same command again to go on"
            )
        trainer.load_best()
        _save(run, trainer, processes)
        trackers.finish(log.final_metrics(recipe.train), run.model)


def _state_of(run: Run, recipe: Recipe, say: Say) -> tuple[bool, bool]:
    """Whether `run` was begun before, and whether it is finished; raises as `check_output`."""
    return check_output(run, recipe, say), run.has_model()


def _steps(recipe: Recipe, examples: Examples, vision: Vision, processes: Processes, learns: bool) -> Steps:
    plan = make_plan(examples, recipe, processes.number, shuffled=learns)
    augmentation = Augmentation.of(recipe.train) if learns else None
    return Steps(examples, plan, vision, augmentation, recipe.train.seed, processes.index)


def _save(run: Run, trainer: StepTrainer, processes: Processes) -> None:
    """The model folder, whole."""
    state = trainer.whole_state()
    if processes.main:
        model = trainer.accelerator.unwrap_model(trainer.model)
        base = without_wrapper(model)
        with whole_folder(run.model) as folder:
            model.save_pretrained(folder, state_dict=state)
            base.generation_config.save_pretrained(folder)
            trainer.steps.examples.processor.save_pretrained(folder)
            flush_all(folder)
    processes.wait()
