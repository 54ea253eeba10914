"""Who waits for the model, and which of them it answers: all on the event loop's thread.

A job goes to the engine that has least to do, as soon as one has room for it: what is answered at once is bounded in
rows and in prompt tokens, padding included. Whoever wants an answer first takes places, so that what is accepted is
bounded and never dropped.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from hangtag.prediction.tag import Ask, Tag
from hangtag.serving.engine import Wanted
from hangtag.serving.refusals import busy
from hangtag.serving.workers import Hand, WorkerLost

_FIRST_GUESS = 0.1
"""Seconds that a picture takes, before any was seen."""
_tickets = itertools.count()


@dataclass(eq=False)
class Job:
    """One thing to write, and who waits for it.

    Args:
        shown: the picture itself, for so many `neighbours`; None where none are wanted.
        on_text: told the written text piece by piece, on a thread of the batcher's.
        heat_of: a tag of `shown` whose heat map is wanted in place of a tag.
    """

    ask: Ask
    shown: Image.Image | None = None
    neighbours: int = 0
    on_text: Callable[[str], None] | None = None
    heat_of: Tag | None = None
    tokens: int = 0
    begun: bool = False
    ticket: int = field(default_factory=lambda: next(_tickets))
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def wanted(self) -> Wanted:
        """As an engine takes it."""
        shown = self.shown if self.neighbours or self.heat_of else None
        return Wanted(self.ticket, self.ask, self.on_text is not None, shown, self.heat_of)


@dataclass(eq=False)
class _Load:
    """What an engine has been given, by ticket."""

    hand: Hand
    jobs: dict[int, Job] = field(default_factory=dict)

    def has_room(self, job: Job, rows: int, tokens: int) -> bool:
        longest = max([job.tokens, *(each.tokens for each in self.jobs.values())])
        count = len(self.jobs) + 1
        return not self.jobs or (count <= rows and longest * count <= tokens)


class Batcher:
    """Runs jobs.

    Args:
        finished: what a job's answer is, by what an engine gave for it; called on a thread of its own.
        hands: the engines.
        tokens_of: prompt tokens of an ask.
        rows, tokens: bounds of what one engine answers at once.
        places: the most jobs that wait or are answered.
        ran: told with how many rows together one was begun; and the seconds that an engine has worked.
    """

    def __init__(
        self,
        finished: Callable[[Job, Any], Any],
        hands: Sequence[Hand],
        tokens_of: Callable[[Ask], int],
        rows: int,
        tokens: int,
        places: int,
        ran: Callable[[Sequence[int], float], None],
    ) -> None:
        self._finished, self._tokens_of, self._ran = finished, tokens_of, ran
        self.rows, self.tokens, self.places = rows, tokens, places
        self.taken = 0
        self.stopping = False
        self._closed = False
        self._waiting: deque[Job] = deque()
        self._loads = {each: _Load(each) for each in hands}
        self._seconds_a_row = _FIRST_GUESS
        self._loop = asyncio.get_running_loop()
        self.lost = asyncio.Event()
        for hand in hands:
            hand.listen(self._heard)

    @property
    def waiting(self) -> int:
        """Jobs that the model has not begun."""
        given = [job for load in self._loads.values() for job in load.jobs.values()]
        return len(self._waiting) + sum(not job.begun for job in given)

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
        """What `finished` gives for each, an exception among them as it is. Cancelled, the jobs are cancelled."""
        self._waiting.extend(jobs)
        self._hand_out()
        try:
            return list(await asyncio.gather(*(job.answer for job in jobs), return_exceptions=True))
        except asyncio.CancelledError:
            self._leave(jobs)
            raise

    async def drained(self) -> None:
        """Accept nothing more; return when everything accepted is answered."""
        self.stopping = True
        while self.taken:
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Let the engines end."""
        self._closed = True
        for hand in self._loads:
            hand.close()

    def _leave(self, jobs: Sequence[Job]) -> None:
        """Nobody waits for these any more."""
        for job in jobs:
            with suppress(ValueError):
                self._waiting.remove(job)
            for load in self._loads.values():
                if job.ticket in load.jobs:
                    load.hand.send("leave", job.ticket)

    def _hand_out(self) -> None:
        """Give the engines what they have room for, in order."""
        if not self._loads:
            _forsake(self._waiting)
            self._waiting.clear()
        given: dict[Hand, list[Wanted]] = {}
        while self._waiting:
            job = self._waiting[0]
            if not self._measured(job):
                self._waiting.popleft()
                continue
            loads = [each for each in self._loads.values() if each.has_room(job, self.rows, self.tokens)]
            if not loads:
                break
            load = min(loads, key=lambda each: len(each.jobs))
            load.jobs[job.ticket] = self._waiting.popleft()
            given.setdefault(load.hand, []).append(job.wanted)
        for hand, wanted in given.items():
            hand.send("join", wanted)

    def _measured(self, job: Job) -> bool:
        """Whether it can be answered at all; else it is told why not."""
        try:
            job.tokens = job.tokens or self._tokens_of(job.ask)
        except Exception as error:
            _deliver(job, error)
        return bool(job.tokens)

    def _heard(self, hand: Hand, message: tuple[Any, ...] | None) -> None:
        """On the hand's own thread: work out what is to be told on the loop's."""
        load = self._loads[hand]
        if message is None:
            self._tell(self._lose, load)
            return
        what, *rest = message
        if what == "text":
            ticket, text = rest
            if (job := load.jobs.get(ticket)) and job.on_text:
                job.on_text(text)
        elif what == "begun":
            tickets, rows = rest
            self._tell(self._begun, load, tickets, rows)
        elif what == "failed":
            tickets, error = rest
            self._tell(self._done, load, dict.fromkeys(tickets, error), 0.0)
        else:
            values, seconds = rest
            self._tell(
                self._done, load, {each: self._answer(load.jobs[each], values[each]) for each in values}, seconds
            )

    def _answer(self, job: Job, value: Any) -> Any:
        try:
            return self._finished(job, value)
        except Exception as error:
            return error

    def _begun(self, load: _Load, tickets: Sequence[int], rows: int) -> None:
        for ticket in tickets:
            load.jobs[ticket].begun = True
        self._ran([rows] * len(tickets), 0.0)

    def _done(self, load: _Load, answers: dict[int, Any], seconds: float) -> None:
        for ticket, answer in answers.items():
            _deliver(load.jobs.pop(ticket), answer)
        self._seconds_a_row += (seconds / len(answers) / len(self._loads) - self._seconds_a_row) / 4
        self._ran([], seconds)
        self._hand_out()

    def _lose(self, load: _Load) -> None:
        """An engine has gone, and the server is to stop; with the last one goes everything that waits."""
        if self._closed:
            return
        del self._loads[load.hand]
        _forsake(load.jobs.values())
        self._hand_out()
        self.lost.set()

    def _tell(self, *what: Any) -> None:
        with suppress(RuntimeError):  # the loop was closed: the server was told twice to stop
            self._loop.call_soon_threadsafe(*what)


def _forsake(jobs: Iterable[Job]) -> None:
    for job in jobs:
        _deliver(job, WorkerLost("a process of the model has ended; is there memory enough for --workers?"))


def _deliver(job: Job, answer: Any) -> None:
    if job.answer.done():
        return
    if isinstance(answer, StopIteration):  # a future cannot hold one
        answer = RuntimeError(f"StopIteration: {answer}")
    if isinstance(answer, Exception):
        job.answer.set_exception(answer)
    else:
        job.answer.set_result(answer)
