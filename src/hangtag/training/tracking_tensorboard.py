"""TensorBoard: event files in RUN/tensorboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy
from transformers import TrainerCallback

from hangtag.files import Run
from hangtag.recipe import Recipe
from hangtag.training.samples import Sample

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardTracker:
    """What transformers' callback writes, the recipe, samples as pictures and text, and `final/` metrics."""

    name = "TensorBoard"

    def __init__(self, recipe: Recipe, run: Run) -> None:
        self.recipe = recipe
        self.folder = run.path / "tensorboard"
        self.step = 0
        self.writer: SummaryWriter | None = None

    def start(self, step: int) -> TrainerCallback:
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations import TensorBoardCallback

        # What an interrupted training wrote after its last checkpoint is hidden: it is about to be made again.
        self.writer = SummaryWriter(str(self.folder), purge_step=step + 1 if step else None)
        self.step = step
        self.writer.add_text("recipe", _verbatim(self.recipe.dump()), step)
        return TensorBoardCallback(self.writer)

    def samples(self, step: int, rows: Sequence[Sample]) -> None:
        assert self.writer is not None
        self.step = step
        for number, row in enumerate(rows, 1):
            for place, image in enumerate(row.thumbnails(), 1):
                if image is not None:
                    tag = f"samples/{number}" if len(row.pictures) == 1 else f"samples/{number}.{place}"
                    self.writer.add_image(tag, numpy.asarray(image), step, dataformats="HWC")
            truth, written = row.texts()
            score = "" if row.score is None else f"\nscore:   {row.score:.3f}"
            self.writer.add_text(f"samples/{number}", _verbatim(f"true:    {truth}\nwritten: {written}{score}"), step)
        self.writer.flush()

    def finish(self, metrics: dict[str, float], model_folder: Path | None) -> None:
        assert self.writer is not None
        for name, value in metrics.items():
            self.writer.add_scalar(f"final/{name}", value, self.step)
        self.writer.close()

    def abandon(self) -> None:
        if self.writer is not None:
            self.writer.close()


def _verbatim(text: str) -> str:
    """Text as Markdown that shows it letter by letter, whatever it holds."""
    return "".join(f"    {line}\n" for line in text.splitlines())
