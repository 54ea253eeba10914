"""Rows to records, window by window, here or by the workers of a Ray cluster: what `hangtag predict` writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hangtag.catalogue.web import Limits
from hangtag.files import Run, file_state
from hangtag.memory.generation import MOST_ROWS
from hangtag.prediction.batching import BATCHES, ahead, windows
from hangtag.prediction.inputs import Asked, Choice, Inputs
from hangtag.prediction.pictures import Pictures, Seen

if TYPE_CHECKING:
    from hangtag.prediction.tagger import Tagger

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """What is asked of which run.

    Args:
        limits: of what is fetched.
        batch_size: rows whose answers are written at once; absent, what the device has room for.
    """

    run: Path
    inputs: Inputs
    choice: Choice = field(default_factory=Choice)
    limits: Limits = field(default_factory=Limits)
    batch_size: int | None = None

    @property
    def window(self) -> int:
        """Rows of a window; the same on every machine."""
        return BATCHES * (self.batch_size or MOST_ROWS)

    def windows(self, first: int = 0) -> list[tuple[int, int]]:
        """Start and end of each window, from the one that begins at `first`."""
        return list(windows(len(self.inputs), self.window, first))

    def shared_by(self, workers: int) -> Job:
        """The job for each of so many workers that fetch at the same time: together they ask no more of a host."""
        few, overall = (max(1, most // workers) for most in (self.limits.per_host, self.limits.overall))
        return replace(self, limits=replace(self.limits, per_host=few, overall=overall))

    def asked(self) -> dict[str, Any]:
        """What decides every record, by what a message calls it."""
        run = Run(self.run)
        files = [run.recipe, run.schema, run.calibration, *sorted(run.model.iterdir())]
        return {
            "model": [file_state(each) for each in files],
            "list of inputs": self.inputs.digest(),
            "batch size": self.window,
            "choice of what may be read": [self.choice.allow_outside, self.limits.allow_private],
        }


def records(tagger: Tagger, job: Job, asked: Sequence[tuple[int, int]]) -> Iterator[Records]:
    """The records of some windows in order: what was asked about, then the tag's own (see `Tag.record`)."""
    with Pictures(tagger.processor.image_processor.reduced, job.limits) as pictures:

        def read(bounds: tuple[int, int]) -> tuple[list[Asked], list[Seen]]:
            rows = list(job.inputs.rows(*bounds))
            return rows, pictures.of(rows)

        for rows, seen in ahead(read, asked, pictures.stop):
            yield [each.where | tag.record() for each, tag in zip(rows, tagger.tags_of(seen), strict=True)]
