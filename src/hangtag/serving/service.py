"""What all endpoints share: the model and who waits for it, pictures and bodies on their way, and the counters."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from starlette.requests import Request

from hangtag.errors import DataError, ModelError
from hangtag.memory.generation import TEXT_TOKENS
from hangtag.serving.answering import Answered, Model
from hangtag.serving.batching import Batcher, Job
from hangtag.serving.bodies import Bodies, Gone
from hangtag.serving.metrics import Metrics
from hangtag.serving.pictures import Decoder
from hangtag.serving.refusals import Refused, busy
from hangtag.serving.settings import Settings
from hangtag.serving.workers import WorkerLost

T = TypeVar("T")


class Service:
    """One model, served. Make it where the event loop runs."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self.bodies = Bodies(settings.limits)
        self.decoder = Decoder(settings, model.tagger.processor.image_processor)
        rows = settings.rows or min(settings.limits.places, model.tagger.batch_size)
        room = model.tagger.most_tokens
        self.batcher = Batcher(
            model.finished,
            model.hands,
            self._tokens_of,
            rows,
            settings.tokens if room is None else min(settings.tokens, max(1, room - rows * TEXT_TOKENS)),
            settings.limits.places,
            lambda rows, seconds: self.metrics.ran(rows, seconds),
        )
        self.metrics = Metrics(lambda: self.batcher.waiting, lambda: self.batcher.taken)

    def close(self) -> None:
        """Let the threads end."""
        self.batcher.close()
        self.decoder.close()
        self.model.close()

    def admit(self) -> None:
        """Refuse what would be refused after its upload, before it."""
        with self.batcher.take(1):
            pass

    def require_model(self, name: str | None) -> None:
        """Refuse another model's name: 404."""
        if name is not None and name != self.settings.name:
            message = f"there is no model {name[:100]!r} here; there is {self.settings.name!r}"
            raise Refused(404, message, param="model", code="model_not_found")

    async def answers(self, jobs: Sequence[Job]) -> list[Answered | DataError | ModelError]:
        """What the model says of each, or why it cannot."""
        found = await self.batcher.answers(jobs)
        for each in found:
            if isinstance(each, Answered):
                self.metrics.spent(each.tag.tokens)
            elif isinstance(each, WorkerLost):
                raise busy("the server cannot go on, and ends", 5, "stopping")
            elif not isinstance(each, DataError | ModelError):
                raise each
        return found

    async def heats(self, jobs: Sequence[Job]) -> list[Any]:
        """What jobs that are done alone give."""
        found = await self.batcher.answers(jobs)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return found

    async def until_gone(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Do the work; give up when the client closes its connection, or after the longest time.

        The request's body must have been read.

        Raises:
            Gone: the client closed the connection.
            Refused: 504.
        """
        task, gone = asyncio.ensure_future(self.in_time(work)), asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait({task, gone}, return_when="FIRST_COMPLETED")
            if not task.done():
                raise Gone
            return task.result()
        finally:
            gone.cancel()
            task.cancel()

    async def in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work; Refused, 504, where it takes longer than the longest time."""
        seconds = self.settings.limits.answer
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError:
            message = f"no answer within {seconds:g} s; try again when there is less to do"
            raise Refused(504, message, code="timeout") from None

    def _tokens_of(self, ask: Any) -> int:
        tokens = self.model.prompt_tokens(ask)
        most = self.settings.limits.prompt_tokens
        if tokens > most:
            raise ModelError(f"a prompt of {tokens} tokens, pictures included; at most {most} are taken")
        return tokens
