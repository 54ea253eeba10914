"""Who is asked next: per host at most a few at a time, none while it wants to be left alone, hosts in turn.

A plain data structure without a clock of its own: every method is told what time it is, in seconds.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx2

_FEW = 16
"""Answers within which a second 429 is the host's own word; as many without one, and it may be asked for one more."""
_REMEMBERED = 64  # answers whose seconds are known
_LEAST_PATIENCE = 1.0


@dataclass(eq=False)
class Job:
    """One URL on its way: `url` as asked for, `at` where redirects have led, `hops` of them.

    `attempts` counts how often the URL was asked for; `waits` how often its host said to come back later.
    """

    url: str
    at: httpx2.URL
    hops: int = 0
    attempts: int = 0
    waits: int = 0


@dataclass(eq=False)
class Host:
    """A host name's queue and manners; `limit` requests at a time, `interval` seconds between two of them.

    `down` is why it is not asked any more; `queued` whether it stands in the schedule's turn.
    """

    name: str
    most: int
    limit: int
    interval: float = 0.0
    active: int = 0
    not_before: float = 0.0
    queue: deque[Job] = field(default_factory=deque)
    queued: bool = False
    down: Any = None
    heard: bool = False
    _answers: int = 0
    _silent: int = 0
    _silent_until: float = 0.0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def answered(self, seconds: float | None = None) -> None:
        """Note an answer that asks for nothing, and after how many seconds it began."""
        self._silent, self.heard = 0, True
        self._answers += 1
        if seconds is not None:
            self._seconds.append(seconds)
        if self._answers % _FEW == 0 and not self.interval:
            self.limit = min(self.limit + 1, self.most)

    def asked_to_wait(self, until: float, started: float) -> None:
        """Note an answer (429, 503) that asks to come back later; whoever asked for this file waits in any case.

        The first one among many good answers is that file's own. A second soon after is the host's: it is left alone
        until then, and asked for half as much at a time. Of requests under way together the first such counts.
        """
        self._silent, self.heard = 0, True
        if started < self.not_before:
            return
        if self._answers < _FEW:
            self.limit = max(1, self.limit // 2)
            self.not_before = until
        self._answers = 0

    def silent(self, started: float, now: float) -> int:
        """Note a request without any answer; how many rounds of them there were in a row."""
        if started >= self._silent_until:
            self._silent += 1
            self._silent_until = now
        return self._silent

    def patience(self, most: float, last: bool) -> float:
        """Seconds to wait for an answer: ten times the slowest of the last ones, within bounds; more at `last`."""
        if len(self._seconds) < _FEW:
            return most
        return min(most, max(_LEAST_PATIENCE, 10 * max(self._seconds)) * (1 + last))


class Schedule:
    """Jobs by host, each handed out once by `take` and then given back by `release`."""

    def __init__(self, per_host: int, at_first: int) -> None:
        self.hosts: dict[str, Host] = {}
        self._per_host, self._at_first = per_host, at_first
        self._turn: deque[Host] = deque()
        self._later: list[tuple[float, int, Host, Job | None]] = []
        self._number = count()

    def host(self, job: Job) -> Host:
        """The host that a job is for now."""
        name = job.at.host
        if name not in self.hosts:
            self.hosts[name] = Host(name, self._per_host, self._at_first)
        return self.hosts[name]

    def add(self, job: Job, when: float = 0.0, first: bool = False) -> None:
        """Queue a job, at the end or as the first; or, with `when`, as the first from then on."""
        host = self.host(job)
        if when:
            heapq.heappush(self._later, (when, next(self._number), host, job))
            return
        (host.queue.appendleft if first else host.queue.append)(job)
        self._enlist(host)

    def take(self, now: float) -> tuple[Host, Job] | None:
        """The next job, if one may be done now."""
        while self._later and self._later[0][0] <= now:
            _, _, host, job = heapq.heappop(self._later)
            if job is not None:
                host.queue.appendleft(job)
            self._enlist(host)
        while self._turn:
            host = self._turn.popleft()
            host.queued = False
            if not host.queue or host.active >= host.limit:
                continue
            if host.not_before > now:
                heapq.heappush(self._later, (host.not_before, next(self._number), host, None))
                continue
            host.active += 1
            if host.interval:
                host.not_before = max(host.not_before, now + host.interval)
            job = host.queue.popleft()
            self._enlist(host)
            return host, job
        return None

    def wait(self, now: float) -> float | None:
        """Seconds until something may be due; None where only `add` and `release` can change anything."""
        return max(0.0, self._later[0][0] - now) if self._later else None

    def release(self, host: Host) -> None:
        """A job that was taken no longer occupies its host."""
        host.active -= 1
        self._enlist(host)

    def idle(self, host: Host) -> bool:
        """Whether nothing is queued for a host or under way."""
        return not host.queue and not host.active

    def _enlist(self, host: Host) -> None:
        if host.queue and not host.queued and host.active < host.limit:
            host.queued = True
            self._turn.append(host)
