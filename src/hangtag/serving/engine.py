"""The model at work: what is asked joins what is being answered at the next step, and each leaves when it is done.

So a newcomer waits for a step and not for a batch, and a short answer not for a long one (prediction/nodes.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from PIL import Image

from hangtag.errors import HangtagError
from hangtag.prediction.nodes import Found, Task
from hangtag.prediction.tag import Ask, Tag
from hangtag.prediction.tagger import Tagger
from hangtag.serving.heat import heating

Tell: TypeAlias = Callable[[tuple[Any, ...]], None]


@dataclass(frozen=True)
class Wanted:
    """What is asked, under a number of its own.

    Args:
        listens: whether the text is to be told as it is written.
        shown: a picture whose features are wanted beside its tag.
        heat_of: a tag of `shown` whose heat map is wanted, and nothing else.
    """

    ticket: int
    ask: Ask
    listens: bool = False
    shown: Image.Image | None = None
    heat_of: Tag | None = None


@dataclass(eq=False)
class _Answer:
    """What is wanted, being worked out: a tag by one task, a heat map by several, a few at a time."""

    wanted: Wanted
    tasks: list[Task[Any]] = field(default_factory=list)
    features: Any = None
    heat: Generator[list[Task[Any]], list[Any], Any] | None = None


class Engine:
    """Answers what joins, step by step. It tells

        begun, tickets, rows       with so many rows it is being answered, its own included
        text, ticket, text         written just now
        done, values, seconds      by ticket: (tag, features or None), or a heat map's record; and the time worked
                                   since the last time was told
        failed, tickets, error

    Each ticket is done or has failed once; one that has left is done with a tag that was cut, or has failed.
    """

    def __init__(self, tagger: Tagger, tell: Tell) -> None:
        self.tagger, self.tell = tagger, tell
        self._decoder = tagger.decoder()
        self._arrived: list[Wanted] = []
        self._live: list[_Answer] = []
        self._left: set[int] = set()
        self._worked = 0.0

    @property
    def busy(self) -> bool:
        """Whether there is a step to take."""
        return bool(self._arrived or self._live)

    def join(self, wanted: Sequence[Wanted]) -> None:
        """Answer this from the next step on."""
        self._arrived += wanted

    def leave(self, ticket: int) -> None:
        """Nobody waits for it any more."""
        self._left.add(ticket)

    def step(self) -> None:
        """Begin what has arrived, and take one step with all that is being answered."""
        started = time.monotonic()
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._begin(arrived)
        wanted = [(answer, task) for answer in self._live for task in answer.tasks if not task.done]
        for (answer, task), found in zip(wanted, self._found([task for _, task in wanted]), strict=True):
            self._guarded(answer, partial(_go_on, task, found))
        done = [answer for answer in self._live if all(task.done for task in answer.tasks)]
        for answer in done:
            self._guarded(answer, partial(self._finish, answer))
        self._worked += time.monotonic() - started

    def _begin(self, arrived: Sequence[Wanted]) -> None:
        """Begin what is still waited for."""
        if gone := [each.ticket for each in arrived if each.ticket in self._left]:
            self._left -= set(gone)
            self.tell(("failed", gone, HangtagError("nobody waited for it")))
        here = [each for each in arrived if each.ticket not in gone]
        if here:
            self.tell(("begun", [each.ticket for each in here], len(here) + len(self._live)))
        asked = [each for each in here if not each.heat_of]
        if asked:
            self._start(asked)
        for each in here:
            if each.heat_of:
                answer = _Answer(each)
                self._live.append(answer)
                self._guarded(answer, partial(self._begin_heat, answer))

    def _start(self, asked: Sequence[Wanted]) -> None:
        """Begin some answers at once. Of several that fail one may be to blame; the others shall not pay for it."""
        try:
            shown = {each.ticket: each.shown for each in asked if each.shown}
            features = dict(zip(shown, self.tagger.features(list(shown.values())), strict=True)) if shown else {}
            tasks = self._tasks(asked)
        except Exception as error:
            if len(asked) == 1:
                self._fail(asked[0], error)
                return
            for each in asked:
                self._start([each])
            return
        for each, task in zip(asked, tasks, strict=True):
            self._live.append(_Answer(each, [task], features.get(each.ticket)))

    def _tasks(self, asked: Sequence[Wanted]) -> list[Task[Tag]]:
        def on_text(row: int, text: str) -> None:
            if asked[row].listens:
                self.tell(("text", asked[row].ticket, text))

        return self.tagger.answering(
            self._decoder,
            [each.ask for each in asked],
            on_text if any(each.listens for each in asked) else None,
            lambda row: asked[row].ticket in self._left,
        )

    def _begin_heat(self, answer: _Answer) -> None:
        wanted = answer.wanted
        assert wanted.shown is not None
        assert wanted.heat_of is not None
        gone = partial(self._left.__contains__, wanted.ticket)
        answer.heat = heating(self.tagger, self._decoder, wanted.shown, wanted.heat_of, gone)
        answer.tasks = next(answer.heat)

    def _found(self, tasks: Sequence[Task[Any]]) -> list[Found | Exception]:
        """What follows the nodes of each task."""
        if not tasks:
            return []
        try:
            return list(self._decoder.step([(task.row, task.nodes) for task in tasks]))
        except Exception as error:
            if len(tasks) == 1:
                return [error]
        return [found for task in tasks for found in self._found([task])]

    def _finish(self, answer: _Answer) -> None:
        """All tasks of an answer are done: tell it, or go on with a heat map's next ones."""
        values = [task.value for task in answer.tasks]
        self._drop(answer)
        if answer.heat:
            try:
                answer.tasks = answer.heat.send(values)
            except StopIteration as done:
                self._tell(answer, None if done.value is None else done.value.record())
        else:
            self._tell(answer, (values[0], answer.features))

    def _tell(self, answer: _Answer, value: Any) -> None:
        self._live.remove(answer)
        self._left.discard(answer.wanted.ticket)
        self.tell(("done", {answer.wanted.ticket: value}, self._worked))
        self._worked = 0.0

    def _guarded(self, answer: _Answer, work: Callable[[], Any]) -> None:
        """Do something for one answer; where it fails, that answer has failed, and no other."""
        if answer not in self._live:
            return
        try:
            work()
        except Exception as error:
            self._live.remove(answer)
            self._drop(answer)
            self._fail(answer.wanted, error)

    def _drop(self, answer: _Answer) -> None:
        for task in answer.tasks:
            self._decoder.drop(task.row)
        answer.tasks = []

    def _fail(self, wanted: Wanted, error: Exception) -> None:
        self._left.discard(wanted.ticket)
        if not isinstance(error, HangtagError):  # not all errors can be sent
            error = RuntimeError(f"{type(error).__name__}: {error}")
        self.tell(("failed", [wanted.ticket], error))


def _go_on(task: Task[Any], found: Found | Exception) -> None:
    if isinstance(found, Exception):
        raise found
    task.send(found)


def run(engine: Engine, connection: Connection) -> None:
    """An engine's life: take what comes through a pipe, and answer it, until it is told to stop or the pipe ends."""
    try:
        while True:
            while not engine.busy or connection.poll():
                what, value = connection.recv()
                if what == "stop":
                    return
                getattr(engine, what)(value)
            engine.step()
    except (EOFError, OSError):
        return
