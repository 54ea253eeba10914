"""Many URLs, each to its bytes or the reason why there are none.

At most 8 requests at a time to one host and 128 in all; HTTP/2 where a server has it, else connections that are kept.
What can pass (429, 503, resets, time-outs) is tried again after a growing, jittered wait, or after what Retry-After
says; a host that says so twice is left alone for that time. robots.txt and X-Robots-Tag: noai are obeyed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Self

import httpcore2
import httpx2

from hangtag.catalogue.web.addresses import GuardedNetwork, web_url
from hangtag.catalogue.web.hosts import Host, Job, Schedule
from hangtag.catalogue.web.responses import (
    PASSING,
    REDIRECTS,
    Failure,
    Headers,
    decoded,
    error_failure,
    forbids_ai,
    header,
    status_failure,
)
from hangtag.catalogue.web.robots import AGENT, MOST_BYTES, Rules, robots_url

_LARGE, _LARGE_AT_ONCE = 1_000_000, 4  # bytes; with this the memory is bounded, whatever servers send
_LONGEST_WAIT = 30.0  # seconds before a try that no server asked to put off
_MOST_WAITS = 10
_DEAF = 3
"""Rounds of requests without any answer after which a host counts as down; twice as many if it ever answered."""


@dataclass(frozen=True)
class Limits:
    """How servers are treated. Times in seconds.

    `retries` are tries after the first, the second after about `first_wait`; `longest_wait` is the longest Retry-After
    that is waited for. `first_byte` is also the longest silence between two parts of a body; of a host that is known
    to answer sooner, less is waited for (`hosts.Host.patience`). `whole` is from the request to the last byte.
    """

    per_host: int = 8
    overall: int = 128
    connect: float = 10.0
    first_byte: float = 15.0
    whole: float = 60.0
    retries: int = 2
    first_wait: float = 0.5
    redirects: int = 5
    longest_wait: float = 120.0
    max_bytes: int = 50_000_000
    obey_robots: bool = True
    allow_private: bool = False
    user_agent: str = "hangtag"


@dataclass(frozen=True)
class Outcome:
    """What became of a URL: the bytes or a Failure, after so many tries."""

    url: str
    result: bytes | Failure
    attempts: int


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Headers
    body: bytes = b""

    def content(self, most: int) -> bytes:
        """The body as it was before it was packed. ValueError as of `decoded`."""
        return decoded(self.body, header(self.headers, "content-encoding"), most)


async def download(urls: Iterable[str], done: Callable[[Outcome], Awaitable[None]], limits: Limits) -> None:
    """Fetch every URL and await `done` with its outcome, in the order in which they come.

    `done` may take its time: no more than `overall` URLs are under way, the waiting ones included. An error that it
    raises ends the whole and is raised here.

    Args:
        urls: different from each other, as `addresses.web_url` writes them.
    """
    async with Downloader(limits) as downloader:
        await downloader.run(urls, done)


class Downloader:
    """`download` in several calls of `run`, one after the other: what is known of hosts outlives each of them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._schedule = Schedule(limits.per_host, 1 if limits.obey_robots else limits.per_host)
        self._network = GuardedNetwork(limits.allow_private)
        self._tls = httpcore2.default_ssl_context()
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._changed = asyncio.Event()
        self._left = 0
        self._pools: dict[str, httpcore2.AsyncConnectionPool] = {}
        self._rules: dict[str, Rules] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for pool in self._pools.values():
            await pool.aclose()
        self._network.close()

    async def run(self, urls: Iterable[str], done: Callable[[Outcome], Awaitable[None]]) -> None:
        """As `download`."""
        self._done = done
        for url in urls:
            self._left += 1
            self._schedule.add(Job(url, httpx2.URL(url)))
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._hand_out(tasks)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _hand_out(self, tasks: asyncio.TaskGroup) -> None:
        under_way = asyncio.Semaphore(self._limits.overall)
        while self._left:
            await under_way.acquire()
            while self._left and (taken := self._schedule.take(time.monotonic())) is None:
                self._changed.clear()
                try:
                    async with asyncio.timeout(self._schedule.wait(time.monotonic())):
                        await self._changed.wait()
                except TimeoutError:
                    pass
            if not self._left:
                return
            assert taken is not None
            task = tasks.create_task(self._one(*taken))
            task.add_done_callback(lambda _: under_way.release())

    async def _one(self, host: Host, job: Job) -> None:
        """One try for one job; afterwards it is done, or queued again."""
        started = time.monotonic()
        try:
            answer = await self._try(host, job) if host.down is None else host.down
        finally:
            self._schedule.release(host)
            self._changed.set()
        result = self._judge(job, answer)
        due = self._due(job, result, started) if isinstance(result, Failure) else 0.0
        self._note(host, job, result, started, due)
        if isinstance(result, Job):
            self._schedule.add(result, first=True)
        elif not (isinstance(result, Failure) and self._again(host, job, result, due)):
            await self._close_if_idle(host)
            await self._done(Outcome(job.url, result, job.attempts))
            self._left -= 1
        self._changed.set()

    async def _try(self, host: Host, job: Job) -> _Answer | Failure:
        job.attempts += job.hops == 0
        try:
            async with asyncio.timeout(self._limits.whole):
                if self._limits.obey_robots:
                    rules = await self._rules_for(host, job.at)
                    if not rules.allow(job.at):
                        job.attempts -= job.hops == 0
                        return Failure("robots", "robots.txt asks programs not to fetch it; see --ignore-robots")
                last = job.attempts > self._limits.retries
                answer = await self._get(host, job.at, last)
        except TimeoutError:
            return Failure("time-out", f"not whole within {self._limits.whole:g} s", passing=True)
        except _Stop as stop:
            return stop.failure
        except Exception as error:  # connections fail in many ways; all of them are answers here
            return error_failure(error)
        return answer

    def _judge(self, job: Job, answer: _Answer | Failure) -> bytes | Failure | Job:
        """An answer as the file, the reason why there is none, or the job to do instead."""
        if isinstance(answer, Failure):
            return answer
        if answer.status in REDIRECTS and (location := header(answer.headers, "location")):
            if job.hops >= self._limits.redirects:
                return Failure("redirects", f"more than {self._limits.redirects} redirects")
            try:
                job.at, job.hops = web_url(location, job.at), job.hops + 1
            except ValueError as error:
                return Failure("bad-redirect", f"redirected to {error}")
            return job
        if answer.status != 200:
            return status_failure(answer.status, answer.headers)
        try:
            return answer.content(self._limits.max_bytes)
        except ValueError as error:
            return Failure("wrong-content", str(error))

    def _note(self, host: Host, job: Job, result: bytes | Failure | Job, started: float, due: float) -> None:
        """What a try that gave no usable answer says of its host; `_get` notes how soon answers come."""
        if host.down is not None or not isinstance(result, Failure):
            return
        now = time.monotonic()
        if result.asked:
            job.waits += 1
            host.asked_to_wait(due, started, now)
        if result.silent:
            rounds = host.silent(started, now)
            never = result.reason == "no-host" and not result.passing
            if never or rounds >= (2 * _DEAF if host.heard else _DEAF):
                detail = f"{result.detail}; not asked for other files of this host, try later with --retry-rejected"
                host.down = Failure(result.reason, detail)

    def _again(self, host: Host, job: Job, failure: Failure, due: float) -> bool:
        """Queue the job again for when it is due, if that is of any use. An obeyed request to wait costs no try."""
        tries = job.attempts - min(job.waits, _MOST_WAITS)
        if not failure.passing or host.down is not None or tries > self._limits.retries:
            return False
        if failure.wait > self._limits.longest_wait:
            return False
        job.at, job.hops = httpx2.URL(job.url), 0
        self._schedule.add(job, when=max(host.not_before, due))
        return True

    def _due(self, job: Job, failure: Failure, started: float) -> float:
        """When the next try is due: as the server asks; else a while after this one began, so that a time-out has
        waited already; twice as long each time, give or take half."""
        now = time.monotonic()
        if failure.wait:
            return now + failure.wait * random.uniform(1.0, 1.1)
        wait = min(self._limits.first_wait * 2 ** (job.attempts - 1), _LONGEST_WAIT)
        return max(now, started + wait * random.uniform(0.5, 1.5))

    async def _close_if_idle(self, host: Host) -> None:
        if self._schedule.idle(host) and (pool := self._pools.pop(host.name, None)) is not None:
            await pool.aclose()

    def _pool(self, host: Host) -> httpcore2.AsyncConnectionPool:
        if host.name not in self._pools:
            self._pools[host.name] = httpcore2.AsyncConnectionPool(
                ssl_context=self._tls,
                max_connections=self._limits.per_host,
                keepalive_expiry=10.0,
                http2=True,
                network_backend=self._network,
            )
        return self._pools[host.name]

    async def _get(self, host: Host, url: httpx2.URL, last: bool = True, rules: bool = False) -> _Answer:
        """One request; the body only of a 200. Of `rules` (robots.txt) the beginning is enough, and no tag counts.

        Raises:
            _Stop: it is too large, or not to be used for AI. httpcore2's errors, TimeoutError, AddressRefused,
                NotResolved.
        """
        patience = host.patience(self._limits.first_byte, last)
        times = {"connect": self._limits.connect, "read": patience, "write": patience, "pool": self._limits.whole}
        headers = [
            (b"Host", url.netloc),
            (b"User-Agent", self._limits.user_agent.encode("latin-1", "replace")),
            (b"Accept", b"image/jpeg, image/png, image/webp, image/*;q=0.8, */*;q=0.5"),
            (b"Accept-Encoding", b"identity"),
        ]
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        request = httpcore2.Request("GET", target, headers=headers, extensions={"timeout": times})
        started = time.monotonic()
        response = await self._pool(host).handle_async_request(request)
        times["read"] = self._limits.first_byte  # between two parts of the body
        try:
            if response.status not in PASSING:
                host.answered(time.monotonic() - started)
            if response.status != 200:
                return _Answer(response.status, response.headers)
            heeded = self._limits.obey_robots and not rules
            if heeded and forbids_ai(header(response.headers, "x-robots-tag"), AGENT):
                raise _Stop(Failure("noai", "X-Robots-Tag asks not to use it for AI; see --ignore-robots"))
            return _Answer(response.status, response.headers, await self._body(response, rules))
        finally:
            await response.aclose()

    async def _body(self, response: httpcore2.Response, rules: bool) -> bytes:
        most = MOST_BYTES if rules else self._limits.max_bytes
        too_large = _Stop(Failure("too-large", f"more than {most:,} bytes"))
        said = header(response.headers, "content-length")
        if not rules and said.isdecimal() and int(said[:20]) > most:
            raise too_large
        parts, size, slot = [], 0, False
        try:
            async with aclosing(response.aiter_stream()) as stream:
                async for part in stream:
                    size += len(part)
                    if size > most and rules:
                        break
                    if size > most:
                        raise too_large
                    if size > _LARGE and not slot:
                        slot = await self._large.acquire()
                    parts.append(part)
        finally:
            if slot:
                self._large.release()
        return b"".join(parts)

    async def _rules_for(self, host: Host, url: httpx2.URL) -> Rules:
        """The origin's rules, asked for once; while they are, the host is asked for nothing else."""
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        async with self._asking.setdefault(origin, asyncio.Lock()):
            if origin not in self._rules:
                rules = await self._ask_for_rules(host, robots_url(url))
                self._rules[origin] = rules
                host.interval = max(host.interval, rules.delay)
                host.limit = 1 if host.interval else host.most
                self._changed.set()
        return self._rules[origin]

    async def _ask_for_rules(self, host: Host, url: httpx2.URL) -> Rules:
        """RFC 9309: no robots.txt (4xx) allows all; a server that cannot say (5xx, silence) is asked again later."""
        for _ in range(self._limits.redirects + 1):
            answer = await self._get(host, url, rules=True)
            if answer.status in REDIRECTS and (location := header(answer.headers, "location")):
                try:
                    url = web_url(location, url)
                except ValueError:
                    return Rules(None)
                continue
            if answer.status == 200:
                try:
                    return Rules(answer.content(MOST_BYTES).decode("utf-8", "replace"))
                except ValueError:
                    return Rules(None)
            failure = status_failure(answer.status, answer.headers)
            if failure.passing or answer.status >= 500:
                detail = f"robots.txt: {failure.detail}; see --ignore-robots"
                raise _Stop(replace(failure, reason="robots", detail=detail, passing=True))
            return Rules(None)
        return Rules(None)


class _Stop(Exception):
    """Ends a request with a failure that is known."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure
