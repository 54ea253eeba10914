"""What happens on the model's thread: tags; for those who ask, the nearest training pictures and a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hangtag.prediction.tag import Ask, Tag
from hangtag.prediction.tagger import Tagger
from hangtag.schema import tag_schema
from hangtag.serving.batching import Job
from hangtag.serving.neighbours import Neighbours, Say, silent
from hangtag.serving.workers import Hand, Worker


@dataclass(frozen=True)
class Answered:
    """A job's tag, and what was asked for beside it."""

    tag: Tag
    neighbours: list[dict[str, Any]]


class Model:
    """A run's tagger, who runs it, and its training pictures. `run` is called on one thread of each hand."""

    def __init__(self, tagger: Tagger, run: Path, hands: Sequence[Hand], say: Say = silent) -> None:
        self.tagger, self.hands = tagger, hands
        self.schema = tag_schema(tagger.recipe.task.template, tagger.known)
        self.question = tagger.recipe.task.prompt
        tokenizer = tagger.processor.tokenizer
        self.special = ["<|", *sorted(str(each) for each in tokenizer.added_tokens_decoder.values())]
        self.neighbours = Neighbours.open(run, tagger, say)

    def prompt_tokens(self, ask: Ask) -> int:
        """Tokens of an ask's prompt, pictures included."""
        return self.tagger.prompt_tokens(ask)

    def run(self, jobs: Sequence[Job], hand: Hand) -> list[Answered]:
        """One batch."""

        def on_text(row: int, text: str) -> None:
            if (listener := jobs[row].on_text) is not None:
                listener(text)

        listened = any(job.on_text for job in jobs)
        asks = [job.ask for job in jobs]
        tags = hand.answer(asks, on_text if listened else None, lambda row: jobs[row].cancelled)
        nearest = self._nearest(jobs, hand)
        return [Answered(tag, nearest.get(row, [])) for row, tag in enumerate(tags)]

    def thumbnail(self, picture: str) -> bytes | None:
        """A training picture as a JPEG, by its place in the list of neighbours."""
        return self.neighbours.thumbnail(picture) if self.neighbours else None

    def _nearest(self, jobs: Sequence[Job], hand: Hand) -> dict[int, list[dict[str, Any]]]:
        shown = {row: job.shown for row, job in enumerate(jobs) if job.neighbours and job.shown and not job.cancelled}
        if not shown or self.neighbours is None:
            return {}
        rows = list(shown)
        features_ND = hand.features(list(shown.values()))
        found = self.neighbours.nearest(features_ND, max(jobs[row].neighbours for row in rows))
        return {
            row: [
                {"picture": f"/v1/pictures/{each.id}", "fields": each.fields, "similarity": each.similarity}
                for each in nearest[: jobs[row].neighbours]
            ]
            for row, nearest in zip(rows, found, strict=True)
        }

    def close(self) -> None:
        """Stop what goes on beside the answers."""
        if self.neighbours:
            self.neighbours.close()
        for each in self.hands:
            if isinstance(each, Worker):
                each.close()
