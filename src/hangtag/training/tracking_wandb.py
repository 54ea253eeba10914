"""Weights & Biases: one run for one run folder, however often its training is taken up, kept in RUN/wandb.

Nothing leaves the machine but what the recipe asks for: no code, git state, console output, hardware figures, host
name or error reports. A setting whose WANDB_ variable the user has set is left to that variable.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from hangtag.errors import first_line
from hangtag.files import Run, read_json, write_json
from hangtag.recipe import Recipe
from hangtag.training.samples import Sample

if TYPE_CHECKING:
    import wandb

INIT_SECONDS = 5
FINISH_SECONDS = 60
FINISH_SECONDS_WITH_ARTIFACT = 3600
QUIET: dict[str, Any] = {
    "console": "off",
    "disable_code": True,
    "save_code": False,
    "disable_git": True,
    "disable_job_creation": True,
    "host": "",
    "label_disable": True,
    "silent": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
_VARIABLES = {"run_name": "WANDB_NAME"}
"""Where a setting's variable is not WANDB_ and its own name."""


class WandbTracker:
    """What transformers' callback logs, the recipe as config, tables of samples, the summary and the artifact."""

    name = "Weights & Biases"

    def __init__(self, recipe: Recipe, run: Run, say: Callable[[str], None]) -> None:
        self.recipe = recipe
        self.root = run.path.absolute()
        self.folder = self.root / "wandb"
        self.say = say
        self.offline = recipe.track.wandb == "offline" or os.environ.get("WANDB_MODE") in ("offline", "dryrun")
        self.told = False
        self.run: wandb.Run | None = None

    @cached_property
    def known(self) -> dict[str, Any]:
        """What outlives an interruption: the run's id, and `step`, the number of records logged so far."""
        path = self.folder / "hangtag.json"
        return read_json(path) if path.exists() else {"id": secrets.token_hex(4), "step": 0}

    def start(self, step: int) -> TrainerCallback:
        self.folder.mkdir(exist_ok=True)  # where it cannot be, wandb would take the system's temporary folder
        with self._surroundings():
            from transformers.integrations import WandbCallback

            callback = WandbCallback()
            self.run = self._online() or self._init("offline")
            if self.offline and self.known["step"] > self.run.step:
                self.run.log({}, step=self.known["step"], commit=False)  # online, the server knows how far it was
        self._note_step()
        return _Noting(callback, self._note_step)

    def _online(self) -> wandb.Run | None:
        """The run, sent as it goes; None where that is not asked for or cannot be."""
        import wandb

        if self.offline:
            return None
        try:
            if not wandb.login(prompt=False, verify=False):
                raise wandb.errors.AuthenticationError("there is no key, which `wandb login` asks for once")
            run = self._init("online")
        except wandb.errors.Error as error:
            self.offline = True
            wandb.teardown()  # its process would refuse a second run of this id
            self.say(f"Weights & Biases cannot be reached, so the run is kept offline: {first_line(error)}")
            return None
        self.say(f"Weights & Biases: {run.url}")
        return run

    def _init(self, mode: Any) -> wandb.Run:
        import wandb

        wanted = QUIET | {
            "project": self.recipe.track.project,
            "run_name": self.root.name,
            "run_id": self.known["id"],
            "resume": "allow",
            "init_timeout": INIT_SECONDS,
            "finish_timeout": FINISH_SECONDS_WITH_ARTIFACT if self.recipe.track.artifact else FINISH_SECONDS,
            "finish_timeout_raises": True,
        }
        chosen = {key: value for key, value in wanted.items() if _variable(key) not in os.environ}
        return wandb.init(
            mode=mode,
            config={"recipe": self.recipe.model_dump()},
            reinit="finish_previous",
            settings=wandb.Settings(root_dir=str(self.root), use_dot_wandb=False, **chosen),
        )

    def _note_step(self) -> None:
        """Keep the number of records, from which an offline run that is taken up goes on."""
        assert self.run is not None
        self.known["step"] = self.run.step
        write_json(self.folder / "hangtag.json", self.known)

    def samples(self, step: int, rows: Sequence[Sample]) -> None:
        import wandb

        assert self.run is not None
        most = max([1, *(len(row.pictures) for row in rows)])
        names = ["picture"] if most == 1 else [f"picture {number}" for number in range(1, most + 1)]
        table = wandb.Table(columns=[*names, "true", "written", "score"])
        for row in rows:
            cells = [None if image is None else wandb.Image(image, file_type="jpg") for image in row.thumbnails()]
            table.add_data(*cells, *[None] * (most - len(cells)), *row.texts(), row.score)
        try:
            with self._surroundings():
                self.run.log({"samples": table, "train/global_step": step})
        except wandb.errors.Error as error:  # it asks the server about tables; the network may be back next time
            self._say_once(f"Weights & Biases got no pictures of step {step}: {first_line(error)}")
        self._note_step()

    def _say_once(self, line: str) -> None:
        if not self.told:
            self.told = True
            self.say(line)

    def finish(self, metrics: dict[str, float], model_folder: Path | None) -> None:
        import wandb

        assert self.run is not None
        self.run.summary.update(metrics)
        if self.recipe.track.artifact and model_folder is not None:
            with self._surroundings():
                artifact = wandb.Artifact(f"model-{self.run.id}", type="model", metadata=dict(metrics))
                # As it lies there, without the copy that wandb makes of files that may yet change.
                artifact.add_dir(str(model_folder), policy="immutable", skip_cache=True)
                self.run.log_artifact(artifact, aliases=["best"])
        self._close(0)
        if self.offline:
            self.say(f"Weights & Biases: kept in {self.folder}; `wandb sync {self.folder}/offline-run-*` sends it")

    def abandon(self) -> None:
        if self.run is not None:
            self._close(1)

    def _close(self, exit_code: int) -> None:
        """End the run and wandb's process, which writes the last of the run's file only then."""
        import wandb

        assert self.run is not None
        try:
            self.run.finish(exit_code=exit_code)
        finally:
            wandb.teardown()

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Variables that wandb reads when it starts and when it stages files; os.environ is afterwards as before."""
        before = dict(os.environ)
        ours = {
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
            "WANDB_DATA_DIR": str(self.folder / "data"),
            "WANDB_CACHE_DIR": str(self.folder / "cache"),
        }
        # transformers would send checkpoints too; here the recipe says what is sent.
        os.environ.update({**ours, **before, "WANDB_LOG_MODEL": "false"})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


class _Noting(TrainerCallback):
    """A callback, and `note()` after each of its records."""

    def __init__(self, callback: TrainerCallback, note: Callable[[], None]) -> None:
        self.callback = callback
        self.note = note

    def on_log(self, *arguments: Any, **named: Any) -> None:
        self.callback.on_log(*arguments, **named)
        self.note()

    def on_train_begin(self, *arguments: Any, **named: Any) -> None:
        self.callback.on_train_begin(*arguments, **named)


def _variable(setting: str) -> str:
    return _VARIABLES.get(setting, f"WANDB_{setting.upper()}")
