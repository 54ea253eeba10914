"""What a served run knows beside what its engines do: its schema, its question, and the nearest training pictures."""

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
from hangtag.serving.workers import Hand


@dataclass(frozen=True)
class Answered:
    """A job's tag, and what was asked for beside it; neighbours are None while they cannot be told yet."""

    tag: Tag
    neighbours: list[dict[str, Any]] | None


class Model:
    """A run's tagger, the engines that run it, and its training pictures."""

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

    def finished(self, job: Job, value: Any) -> Any:
        """A job's answer by what an engine gave for it."""
        if job.heat_of is not None:
            return value
        tag, features_D = value
        return Answered(tag, [] if features_D is None else self._nearest(features_D, job.neighbours))

    def thumbnail(self, picture: str) -> bytes | None:
        """A training picture as a JPEG, by its place in the list of neighbours."""
        return self.neighbours.thumbnail(picture) if self.neighbours else None

    def _nearest(self, features_D: Any, count: int) -> list[dict[str, Any]] | None:
        if self.neighbours is None:
            return []
        if self.neighbours.coming:
            return None
        (nearest,) = self.neighbours.nearest(features_D[None], count)
        return [
            {"picture": f"/v1/pictures/{each.id}", "fields": each.fields, "similarity": each.similarity}
            for each in nearest
        ]

    def close(self) -> None:
        """Stop what goes on beside the answers."""
        if self.neighbours:
            self.neighbours.close()
