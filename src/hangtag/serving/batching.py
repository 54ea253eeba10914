"""Requests that wait for the model together: a thread for each hand that runs it.

Pictures that arrive while all hands work are run together next; several idle hands share what waits. A batch begins at
once where as many wait as were run last; else it waits a few milliseconds for more: clients that were answered together
come back together. What is run together is bounded in rows and in prompt tokens, padding included.

Whoever wants an answer first takes places, so that what is accepted is bounded and never dropped.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from hangtag.prediction.tag import Ask
from hangtag.serving.refusals import busy
from hangtag.serving.workers import Hand, WorkerLost

_FIRST_GUESS = 0.1
"""Seconds that a picture takes, before any was seen."""


@dataclass(eq=False)
class Job:
    """One thing to write, and who waits for it.

    Args:
        shown: the picture itself, for so many `neighbours`; None where none are wanted.
        on_text: told the written text piece by piece, on the model's thread.
        alone: what is done by itself on the model's thread in place of the ask.
    """

    ask: Ask
    shown: Image.Image | None = None
    neighbours: int = 0
    on_text: Callable[[str], None] | None = None
    alone: Callable[[Hand], Any] | None = None
    cancelled: bool = False
    tokens: int = 0
    arrived: float = field(default_factory=time.monotonic)
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def kind(self) -> tuple[bool, bool]:
        """Jobs of one kind can be run together."""
        return self.alone is not None, self.ask.held


Run = Callable[[Sequence[Job], Hand], Sequence[Any]]


class Batcher:
    """Runs jobs in batches.

    Args:
        run: answers a batch on a hand's thread; an exception in place of an answer is that job's alone.
        hands: who runs it.
        tokens_of: prompt tokens of an ask.
        rows, tokens: bounds of a batch.
        wait: the longest that a job waits for others, seconds.
        places: the most jobs that wait or are run.
        ran: told of each batch its rows, prompt tokens and seconds.
    """

    def __init__(
        self,
        run: Run,
        hands: Sequence[Hand],
        tokens_of: Callable[[Ask], int],
        rows: int,
        tokens: int,
        wait: float,
        places: int,
        ran: Callable[[int, float], None],
    ) -> None:
        self._run, self._tokens_of, self._ran = run, tokens_of, ran
        self.rows, self.tokens, self.wait, self.places = rows, tokens, wait, places
        self.taken = 0
        self.stopping = False
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._gathering = threading.Lock()
        self._idle = self._hands = len(hands)
        self._closed = False
        self._last_rows = 1
        self._seconds_a_row = _FIRST_GUESS
        self._loop = asyncio.get_running_loop()
        self.lost = asyncio.Event()
        for hand in hands:
            threading.Thread(target=self._work, args=(hand,), name="model", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Jobs that the model has not begun."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether one more job would be accepted."""
        return not self.stopping and self.taken < self.places

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Hold `count` places while this is open.

        Raises:
            Refused: there are not so many left, or the server is stopping.
        """
        if self.stopping:
            raise busy("the server is stopping", 5, "stopping")
        if self.taken + count > self.places:
            raise busy(
                "the server has as much to do as it can hold; try again shortly", self.taken * self._seconds_a_row
            )
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count

    async def answers(self, jobs: Sequence[Job]) -> list[Any]:
        """What `run` gives for each, an exception among them as it is. Cancelled, the jobs are cancelled."""
        with self._changed:
            self._waiting.extend(jobs)
            self._changed.notify()
        try:
            return list(await asyncio.gather(*(job.answer for job in jobs), return_exceptions=True))
        except asyncio.CancelledError:
            for job in jobs:
                job.cancelled = True
            raise

    async def drained(self) -> None:
        """Accept nothing more; return when everything accepted is answered."""
        self.stopping = True
        while self.taken:
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Let the thread end behind the batch that it runs."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self, hand: Hand) -> None:
        while batch := self._next_batch():
            started = time.monotonic()
            try:
                answers = self._answers(batch, hand)
            except WorkerLost as error:
                self._lose(batch, error)
                return
            seconds = time.monotonic() - started
            self._seconds_a_row += (seconds / len(batch) / self._hands - self._seconds_a_row) / 4
            self._ran(len(batch), seconds)
            self._tell(_deliver, batch, answers)
            with self._changed:
                self._idle += 1

    def _answers(self, batch: list[Job], hand: Hand) -> Sequence[Any]:
        try:
            return self._run(batch, hand) if batch[0].alone is None else [batch[0].alone(hand)]
        except WorkerLost:
            raise
        except Exception as error:
            # One of them may be to blame; the others shall not pay for it.
            return [error] if len(batch) == 1 else [self._answers([job], hand)[0] for job in batch]

    def _lose(self, batch: list[Job], error: WorkerLost) -> None:
        """A hand has gone, and the server is to stop; with the last one goes everything that waits."""
        with self._changed:
            self._hands -= 1
            left = [] if self._hands else list(self._waiting)
        self._tell(_deliver, [*batch, *left], [error] * (len(batch) + len(left)))
        self._tell(self.lost.set)

    def _tell(self, *what: Any) -> None:
        with suppress(RuntimeError):  # the loop was closed: the server was told twice to stop
            self._loop.call_soon_threadsafe(*what)

    def _next_batch(self) -> list[Job]:
        """Waits for jobs; empty when there will be no more. One hand at a time."""
        with self._gathering:
            while self._some_wait():
                if batch := self._together(-(-len(self._waiting) // self._idle)):
                    self._last_rows = len(batch)
                    with self._changed:
                        self._idle -= 1
                    return batch
        return []

    def _some_wait(self) -> bool:
        """Wait until a batch can begin; False when there will be none."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return False
            until = self._waiting[0].arrived + self.wait
            while (
                len(self._waiting) < min(self._last_rows * self._idle, self.rows)
                and (left := until - time.monotonic()) > 0
            ):
                self._changed.wait(left)
        return True

    def _together(self, share: int) -> list[Job]:
        """The first jobs that can be run together: all held to the schema or none, within rows and tokens.

        Args:
            share: the most that this hand should take.
        """
        batch: list[Job] = []
        longest = 0
        while self._waiting and len(batch) < min(self.rows, share):
            job = self._waiting[0]
            if job.cancelled or not self._measured(job):
                self._waiting.popleft()
                continue
            longest = max(longest, job.tokens)
            if batch and (longest * (len(batch) + 1) > self.tokens or job.kind != batch[0].kind):
                break
            batch.append(self._waiting.popleft())
            if job.alone:
                break
        return batch

    def _measured(self, job: Job) -> bool:
        if job.tokens:
            return True
        try:
            job.tokens = self._tokens_of(job.ask)
        except Exception as error:
            self._tell(_deliver, [job], [error])
        return bool(job.tokens)


def _deliver(batch: Sequence[Job], answers: Sequence[Any]) -> None:
    for job, answer in zip(batch, answers, strict=True):
        if job.answer.done():
            continue
        if isinstance(answer, StopIteration):  # a future cannot hold one
            answer = RuntimeError(f"StopIteration: {answer}")
        if isinstance(answer, Exception):
            job.answer.set_exception(answer)
        else:
            job.answer.set_result(answer)
