"""From a run to an exported folder that is proved before it appears."""

from __future__ import annotations

import gc
import math
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from hangtag.catalogue.store import Catalogue, open_catalogue
from hangtag.errors import RunError, TableError, UsageError, first_line
from hangtag.examples.chat import Chat
from hangtag.examples.rows import UsableRow, usable_rows
from hangtag.exporting import models
from hangtag.exporting.card import Facts, write_card
from hangtag.exporting.comparison import Comparison, Row
from hangtag.exporting.models import name_of
from hangtag.exporting.room import arithmetic, free_memory, parameters, require_disk
from hangtag.exporting.witness import Testimony, difference, write
from hangtag.files import Run, remove_leftovers, require_new_folder, whole_folder, write_json
from hangtag.memory.generation import MOST_ROWS, rows_at_once, tokens_at_once
from hangtag.phi3v import Phi3VProcessor
from hangtag.prediction.loading import Model, is_quantised
from hangtag.progress import Stages, silent
from hangtag.recipe import Recipe, load_recipe
from hangtag.training.environment import environment

DTYPES = {name_of(each): each for each in (torch.bfloat16, torch.float16, torch.float32)}
SPLIT = "test"
SHARD = "5GB"
_TESTIMONY = ".testimony"


@dataclass(frozen=True)
class Exported:
    """What was made: the folder, its size in bytes, and how it compares with the run; None where it was not asked."""

    path: Path
    size: int
    compared: Comparison | None


@dataclass(frozen=True)
class Plan:
    """All that is settled before the first weight is read."""

    run: Run
    recipe: Recipe
    out: Path
    dtype: torch.dtype
    adapter_only: bool
    computed: torch.dtype
    catalogue: Catalogue | None
    rows: list[UsableRow]
    parameters: int

    @property
    def quantised(self) -> bool:
        """Whether the run computes with a base in four bits."""
        return is_quantised(self.run, self.recipe)

    @property
    def same_weights(self) -> bool:
        """Whether run and export compute with the very same numbers."""
        if self.adapter_only:
            return True
        return not self.run.has_adapter() and self.dtype in (torch.float32, self.computed)

    def at_once(self) -> int:
        """Rows whose answers are written together."""
        size = torch.finfo(self.computed).bits // 8
        room = free_memory() - size * self.parameters
        if math.isinf(room):
            return MOST_ROWS
        return rows_at_once(self.recipe, tokens_at_once(self.recipe, int(max(room, 0)), size))


def export(
    run: str | Path,
    out: str | Path,
    dtype: str = "bfloat16",
    adapter_only: bool = False,
    rows: int = 16,
    data: Path | None = None,
    stages: Stages = silent,
    name: str | None = None,
) -> Exported:
    """Make a folder of a run's model that other programs load, and prove that it is the run's.

    The run's model writes answers first and is let go, then the export is made and asked the same, so that no two
    models are in memory together. `out` appears whole at the end or not at all.

    Args:
        dtype: of the exported weights: bfloat16, float16 or float32.
        adapter_only: the adapter alone, to be used on the base it names.
        rows: of the test split, spread over it, on which both are compared; 0 compares nothing.
        data: a catalogue other than the run's own.
        name: what the card calls the model; absent, the folder's name.

    Raises:
        UsageError: an unknown dtype, or the run has no adapter to export alone.
        OutputNotEmpty: `out` holds something.
        RunError: no trained model, one that cannot be loaded, or no room on the disk.
        TableError: the catalogue is gone, or has no row to compare on.
        ModelError: the export differs from the run by more than rounding does.
    """
    plan = make_plan(Run(Path(run)), Path(out), dtype, adapter_only, rows, data)
    remove_leftovers(plan.out)
    with whole_folder(plan.out) as folder:
        known = _testimony(plan, folder / _TESTIMONY, stages)
        with stages("writing weights") as progress:
            _write_model(plan, folder)
            progress(1, 1)
        compared = _compare(plan, folder, known, stages) if known else None
        shutil.rmtree(folder / _TESTIMONY, ignore_errors=True)
        _write_rest(plan, folder, compared, name or plan.out.absolute().name)
        size = sum(each.stat().st_size for each in folder.rglob("*"))
    return Exported(plan.out, size, compared)


def make_plan(run: Run, out: Path, dtype: str, adapter_only: bool, rows: int, data: Path | None) -> Plan:
    """Everything checked that can be checked before the weights are read; raises as `export`."""
    if dtype not in DTYPES:
        raise UsageError(f"no dtype {dtype!r}; there is: {', '.join(DTYPES)}")
    require_new_folder(out)
    run.require_model()
    recipe = load_recipe(run.recipe)
    if adapter_only and not run.has_adapter():
        raise UsageError(f"{run.path} was trained whole and has no adapter; leave --adapter-only out")
    if is_quantised(run, recipe) and not find_spec("bitsandbytes"):
        raise UsageError("the run's base is in four bits, which needs bitsandbytes: pip install 'hangtag[qlora]'")
    catalogue, chosen = _rows(recipe, rows, data) if rows else (None, [])
    config = models.configuration(run, recipe)
    count = parameters(config)
    size = torch.finfo(DTYPES[dtype]).bits // 8
    most = 64 if not rows else max(64, models.longest(run))
    weights = sum(each.stat().st_size for each in run.model.iterdir()) if adapter_only else size * count
    require_disk(out, int(1.05 * weights) + len(chosen) * most * config.vocab_size * 4)
    return Plan(run, recipe, out, DTYPES[dtype], adapter_only, arithmetic(count), catalogue, chosen, count)


def _rows(recipe: Recipe, count: int, data: Path | None) -> tuple[Catalogue, list[UsableRow]]:
    """The catalogue, and so many rows of its test split, spread over it."""
    try:
        catalogue = open_catalogue(data or recipe.data.path)
        usable, _ = usable_rows(catalogue, SPLIT, recipe.task.template, recipe.data.pictures)
    except TableError as error:
        raise TableError(
            f"{error}; say where the run's catalogue lies with --data, or --rows 0 to export without comparing"
        ) from None
    count = min(count, len(usable))
    return catalogue, [usable[place * len(usable) // count] for place in range(count)]


def _testimony(plan: Plan, folder: Path, stages: Stages) -> Testimony | None:
    """What the run's model writes; None where nothing is to be compared."""
    if not plan.rows:
        return None
    with stages("asking the run") as progress:
        model, processor = models.own(plan.run, plan.recipe, plan.computed)
        answers = write(model, processor, Chat.of(plan.recipe.task), plan.rows, plan.at_once(), progress)
        found = Testimony(folder, answers)
        del model, answers
    _let_go()
    return found


def _write_model(plan: Plan, folder: Path) -> None:
    if plan.adapter_only:
        models.copy_adapter(plan.run, plan.recipe, folder)
    else:
        model, processor = models.merged(plan.run, plan.recipe, plan.dtype)
        assert model.generation_config is not None
        try:
            model.save_pretrained(folder, max_shard_size=SHARD)
        except SafetensorError as error:
            raise RunError(
                f"the weights cannot be written: {first_line(error)}; make room, or take another OUT"
            ) from None
        model.generation_config.save_pretrained(folder)
        processor.save_pretrained(folder)
        del model
    _let_go()


def _compare(plan: Plan, folder: Path, known: Testimony, stages: Stages) -> Comparison:
    """The export asked what the run was asked; raises a ModelError where they are apart."""
    with stages("asking the export") as progress:
        model: Model
        processor: Phi3VProcessor
        model, processor = models.saved(folder, plan.computed, plan.adapter_only and plan.quantised)
        answers = write(model, processor, Chat.of(plan.recipe.task), plan.rows, plan.at_once(), progress)
        rows = [
            Row(row.number, row.pictures[0].name if row.pictures else "no picture", difference(known[place], written))
            for place, (row, written) in enumerate(zip(plan.rows, answers, strict=True))
        ]
        del model, answers
    _let_go()
    rounded = plan.computed if plan.adapter_only else plan.dtype
    compared = Comparison(rows, rounded, plan.computed, plan.same_weights)
    compared.check()
    return compared


def _write_rest(plan: Plan, folder: Path, compared: Comparison | None, title: str) -> None:
    """What stands beside the model: the run's recipe, schema, calibration and scores, the card, export.json."""
    run = plan.run
    beside = {
        "recipe.toml": run.recipe,
        "schema.json": run.schema,
        "calibration.json": run.calibration,
        "metrics.json": run.evaluation(SPLIT) / "metrics.json",
    }
    for name, source in beside.items():
        if source.is_file():
            shutil.copyfile(source, folder / name)
    record: dict[str, Any] = {
        "run": run.path.absolute().name,
        "base": plan.recipe.model.base,
        "method": plan.recipe.train.method,
        "merged": run.has_adapter() and not plan.adapter_only,
        "dtype": None if plan.adapter_only else name_of(plan.dtype),
        "parameters": plan.parameters,
        "compared": compared and compared.record(),
        "made_with": environment(),
    }
    write_json(folder / "export.json", record)
    facts = Facts(
        title, run, plan.recipe, plan.catalogue, plan.parameters, plan.adapter_only, record["dtype"], compared
    )
    write_card(folder, facts)
    for file in folder.iterdir():  # weights are written for their owner's eyes alone, which a server's are not
        file.chmod((folder / "export.json").stat().st_mode)


def _let_go() -> None:
    """Give a model's memory back before the next one is read."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


__all__ = ["Exported", "export"]
