"""A served run under load: batches beside one at a time, latency at half load, and ten times what it can bear.

    python benchmarks/serve.py RUN [--pictures FOLDER] [--rounds 5] [--seconds 12] [--clients 16]
    python benchmarks/serve.py RUN --abuse [--seconds 120]

Each round, in turn: `single`   one client that asks again when it is answered: the median latency
                     `alone`    16 such clients of a server that runs one picture at a time (--batch 1 --workers 1)
                     `joined`   16 such clients of a server as it comes
                     `half`     requests at random times (Poisson), half as many a second as `joined` answered
                     `twice`    the same, twice as many a second as `alone` answered
Every picture must get the same answer each time. Medians of the rounds; a ratio is the median of the rounds' ratios.

`--abuse` sends ten times as many requests a second as `joined` answers: whole ones, damaged pictures, nonsense, slow
uploads, clients that vanish. Every request that is whole must be answered or refused; the memory is watched.

The client is this process: raw HTTP on asyncio, the requests made beforehand. Prints a table and a JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hangtag.recipe import load_recipe
from hangtag.training.environment import environment

BOUNDARY = "hangtag-benchmark"
PATIENCE = 60.0


def request_for(picture: bytes) -> bytes:
    """A whole POST of a form with one picture."""
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'.encode()
    body = part + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """One connection, opened anew where the server closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        body = await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@contextmanager
def server(run: Path, *options: str) -> Any:
    """`hangtag serve` as a process; its port and process id."""
    line = [sys.executable, "-m", "hangtag", "serve", str(run), "--port", "0", *options]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        port = re.search(r":(\d+);", said)
        assert port, said
        yield int(port[1]), process.pid
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0, "it did not stop gracefully"


@dataclass
class Answers:
    """What each picture was answered with, the same each time."""

    raw: dict[int, str] = field(default_factory=dict)

    def check(self, picture: int, status: int, body: bytes) -> None:
        assert status == 200, (status, body)
        (tag,) = json.loads(body)["tags"]
        assert self.raw.setdefault(picture, tag["raw"]) == tag["raw"], "an answer changed with its company"


@dataclass
class Load:
    """Requests for pictures, and the answers of all that were asked."""

    requests: list[bytes]
    answers: Answers = field(default_factory=Answers)

    async def closed(self, port: int, clients: int, seconds: float) -> tuple[float, list[float]]:
        """Clients that ask again when they are answered: answers a second, and latencies in seconds."""
        end, latencies = time.perf_counter() + seconds, []

        async def client(number: int) -> None:
            connection, turn = Connection(port), number
            while (begun := time.perf_counter()) < end:
                picture = turn % len(self.requests)
                self.answers.check(picture, *await connection.ask(self.requests[picture]))
                latencies.append(time.perf_counter() - begun)
                turn += clients
            connection.close()

        begun = time.perf_counter()
        await asyncio.gather(*map(client, range(clients)))
        return len(latencies) / (time.perf_counter() - begun), latencies

    async def open(self, port: int, rate: float, seconds: float, seed: int) -> list[float]:
        """Requests at random times, `rate` a second: latencies from when each was due."""
        draw, latencies, free = random.Random(seed), [], [Connection(port) for _ in range(4)]

        async def one(picture: int, due: float) -> None:
            connection = free.pop() if free else Connection(port)
            self.answers.check(picture, *await connection.ask(self.requests[picture]))
            latencies.append(time.perf_counter() - due)
            free.append(connection)

        due, tasks = time.perf_counter(), []
        end = due + seconds
        while (due := due + draw.expovariate(rate)) < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(draw.randrange(len(self.requests)), due)))
        await asyncio.gather(*tasks)
        for connection in free:
            connection.close()
        return latencies


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, round(share * (len(values) - 1)))]


async def measure(load: Load, ports: tuple[int, int], rounds: int, seconds: float, clients: int) -> dict[str, Any]:
    batching, alone = ports
    for port in ports:
        await load.closed(port, clients, 3.0)
    names = ("single", "alone", "joined", "gain", "half", "half_p95", "half_ratio", "twice", "twice_p95", "twice_ratio")
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        _, latencies = await load.closed(batching, 1, seconds / 2)
        single = statistics.median(latencies)
        slow, _ = await load.closed(alone, clients, seconds)
        quick, _ = await load.closed(batching, clients, seconds)
        row = [single, slow, quick, quick / slow]
        for rate in (quick / 2, 2 * slow):
            spread = await load.open(batching, rate, 2 * seconds, number)
            p95 = percentile(spread, 0.95)
            row += [statistics.median(spread), p95, p95 / single]
        for name, value in zip(found, row, strict=True):
            found[name].append(value)
        told = dict(zip(names, row, strict=True))
        print(
            f"round {number + 1}: single {1e3 * single:.0f} ms; {slow:.1f} answers/s alone, {quick:.1f} joined: "
            f"{told['gain']:.2f} times; "
            + "; ".join(
                f"{name} that ({rate:.0f}/s) median {1e3 * told[name]:.0f} ms, p95 {1e3 * told[name + '_p95']:.0f} ms: "
                f"{told[name + '_ratio']:.2f} times single"
                for name, rate in (("half", quick / 2), ("twice", 2 * slow))
            ),
            flush=True,
        )
    return found


def resident(process: int) -> int:
    """Bytes of a process and its children that lie in memory, shared ones counted once."""
    total = 0
    for each in (process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())):
        found = re.search(r"Pss:\s+(\d+) kB", Path(f"/proc/{each}/smaps_rollup").read_text())
        total += 1024 * int(found[1]) if found else 0
    return total


class Abuse:
    """Ten times the load, of all kinds."""

    def __init__(self, load: Load, port: int) -> None:
        self.load, self.port = load, port
        self.counts: Counter[str] = Counter()
        self.draw = random.Random(0)
        damaged = [self._damaged(each) for each in load.requests]
        self.kinds: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (70, "whole", lambda: self._ask("whole", self.draw.choice(load.requests))),
            (12, "damaged", lambda: self._ask("damaged", self.draw.choice(damaged))),
            (6, "nonsense", lambda: self._nonsense()),
            (6, "slow", lambda: self._cut(self.draw.choice(load.requests), 3.0)),
            (6, "gone", lambda: self._cut(self.draw.choice(load.requests), 0.0)),
        ]

    def _damaged(self, request: bytes) -> bytes:
        head, blank, body = request.partition(b"\r\n\r\n")
        changed = bytearray(body)
        for _ in range(20):
            changed[self.draw.randrange(120, len(changed) - 60)] = self.draw.randrange(256)
        return head + blank + bytes(changed)

    async def run(self, rate: float, seconds: float) -> None:
        """Open-loop, `rate` requests a second."""
        tasks: set[asyncio.Task[None]] = set()
        weights = [weight for weight, _, _ in self.kinds]
        due = time.perf_counter()
        end = due + seconds
        while (due := due + self.draw.expovariate(rate)) < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            _, _, make = self.draw.choices(self.kinds, weights)[0]
            task = asyncio.ensure_future(make())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def _ask(self, kind: str, request: bytes) -> None:
        connection = Connection(self.port)
        try:
            status, _ = await asyncio.wait_for(connection.ask(request), PATIENCE)
            self.counts[f"{kind} {status}"] += 1
        except (OSError, EOFError, TimeoutError) as error:
            self.counts[f"{kind} {type(error).__name__}"] += 1
        finally:
            connection.close()

    async def _nonsense(self) -> None:
        body = self.draw.randbytes(self.draw.randrange(2000))
        head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        await self._ask("nonsense", head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def _cut(self, request: bytes, seconds: float) -> None:
        """Half a request, and then the end; or a whole one whose answer nobody reads."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(request[: len(request) // 2] if seconds else request)
            await asyncio.sleep(seconds)
            writer.transport.abort()
            self.counts["cut"] += 1
        except OSError as error:
            self.counts[f"cut {type(error).__name__}"] += 1


async def abuse(load: Load, port: int, process: int, seconds: float, clients: int) -> dict[str, Any]:
    capacity, _ = await load.closed(port, clients, 8.0)
    before, sampled = resident(process), []
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            sampled.append(resident(process))
            await asyncio.sleep(0.5)

    watching, attack = asyncio.create_task(watch()), Abuse(load, port)
    await attack.run(10 * capacity, seconds)
    done.set()
    await watching
    status, body = await Connection(port).ask(load.requests[0])
    load.answers.check(0, status, body)
    half = len(sampled) // 2
    told = {
        "capacity": capacity,
        "seconds": seconds,
        "sent": sum(attack.counts.values()),
        "counts": dict(sorted(attack.counts.items())),
        "resident_before": before,
        "resident_most_first_half": max(sampled[:half]),
        "resident_most_second_half": max(sampled[half:]),
        "resident_after": resident(process),
    }
    for name, count in told["counts"].items():
        print(f"{name:<24} {count}")
    print(", ".join(f"{name} {told[name] / 1e6:.0f} MB" for name in told if name.startswith("resident")))
    unanswered = [name for name in attack.counts if re.search(r"Error|Read|500|504", name)]
    assert not unanswered, unanswered
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder; the run's own catalogue if not given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--abuse", action="store_true")
    parser.add_argument("--option", action="append", default=[], help="of hangtag serve, as --option=--batch=4")
    asked = parser.parse_args()
    folder = asked.pictures or Path(load_recipe(asked.run / "recipe.toml").data.path) / "images"
    load = Load([request_for(each.read_bytes()) for each in sorted(folder.iterdir())[:64]])
    if asked.abuse:
        with server(asked.run, *asked.option) as (port, process):
            told = asyncio.run(abuse(load, port, process, asked.seconds or 120.0, asked.clients))
    else:
        plain = [*asked.option, "--batch", "1", "--workers", "1"]
        with server(asked.run, *asked.option) as (port, _), server(asked.run, *plain) as (other, _):
            rounds = asyncio.run(measure(load, (port, other), asked.rounds, asked.seconds or 12.0, asked.clients))
        told = {name: statistics.median(values) for name, values in rounds.items()} | {"rounds": rounds}
    cores = len(os.sched_getaffinity(0))
    print(json.dumps({"run": asked.run.name, "cores": cores, **told, "environment": environment()}))


if __name__ == "__main__":
    main()
