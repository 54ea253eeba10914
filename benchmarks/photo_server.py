"""An HTTP server of invented product photos with latency and faults, which counts what its clients do.

    python benchmarks/photo_server.py FOLDER [--urls 1000] [--hosts 1] [--latency 0.1] [--faults 0.1] [--seed 0]

Hosts are the loopback addresses 127.0.1.1, 127.0.1.2, ... with one port; photo n is /photos/<n as 6 digits>.jpg on host
n mod hosts. Every answer comes after the latency. Nothing is redirected and robots.txt allows /photos/, so the fewest
requests that can do are one a URL, one more for each transient fault and one robots.txt a host. One JSON line says the
port; when stdin closes, another says the counts. Faulty URLs are drawn by the seed, every kind equally often:

    permanent   404, 410, 403; html: a web page with status 200; truncated: the first 60 % of a photo, sent as if whole;
                noai: a fine photo with X-Robots-Tag: noai; dead: nothing for 30 s, at every request
    transient   first request only: 429 and 503 with Retry-After: 1; reset: RST in the middle of the body;
                short: the connection closed in order before Content-Length is reached; stall: nothing for 30 s
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import socket
import struct
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PERMANENT = ["404", "410", "403", "html", "truncated", "noai", "dead"]
TRANSIENT = ["429", "503", "reset", "short", "stall"]
SILENT_SECONDS = 30
RETRY_AFTER = 1
WAIT_SLACK = 0.05
"""Seconds: a request that was on its way when a 429 was answered is no breach of the wait."""
ROBOTS = b"User-agent: *\nDisallow: /private/\n"
PAGE = b"<!doctype html><html><head><title>Gone</title></head><body>This product is no longer sold.</body></html>"


def draw_faults(urls: int, share: float, seed: int, kinds: list[str]) -> dict[int, str]:
    """The kind of fault of each faulty URL's number; every kind equally often, as far as they divide."""
    numbers = random.Random(seed).sample(range(urls), round(share * urls))
    return {number: kinds[place % len(kinds)] for place, number in enumerate(numbers)}


def host_of(number: int, hosts: int) -> str:
    return f"127.0.1.{number % hosts + 1}"


def photo_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.jpg"


def make_photos(folder: Path, count: int) -> None:
    """Write the photos that are not there yet: JPEGs of 700-1,000 pixels and about 60-150 kB, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(count) if not photo_path(folder, number).exists()]
    if not missing:
        return
    generator = np.random.default_rng(0)
    scenes = []
    for _ in range(16):
        small = Image.fromarray(generator.integers(0, 256, (18, 18, 3), np.uint8))
        smooth = np.asarray(small.resize((1280, 1280), Image.Resampling.BICUBIC), np.int16)
        grain = generator.normal(0, 5, (1280, 1280, 1)).astype(np.int16)
        scenes.append(Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)))

    def write(number: int) -> None:
        path = photo_path(folder, number)
        draw = random.Random(number)
        width, height = draw.randint(700, 1000), draw.randint(700, 1000)
        left, top = draw.randint(0, 1280 - width), draw.randint(0, 1280 - height)
        part = path.with_suffix(".tmp")
        scenes[number % 16].crop((left, top, left + width, top + height)).save(part, "JPEG", quality=82)
        part.replace(path)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, missing))


def small_photo(number: int) -> bytes:
    """A JPEG of 2-4 kB and 64x64 pixels, made while one waits; its blocks, light and dark, spell the number."""
    bits = np.array([number >> place & 1 for place in range(64)], np.uint8).reshape(8, 8)
    blocks = (96 + 64 * bits).repeat(8, axis=0).repeat(8, axis=1)
    grain = np.random.default_rng(number % 97).integers(0, 64, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks[:, :, None] + grain).save(file, "JPEG", quality=88)
    return file.getvalue()


class Counts:
    """What the clients did, by host where it matters."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.robots = 0
        self.other = 0
        self.open: dict[str, set[Connection]] = {}
        self.most_open: Counter[str] = Counter()
        self.wait_host: dict[str, tuple[float, float]] = {}
        self.wait_photo: dict[int, float] = {}
        self.host_breaches = 0
        self.photo_breaches = 0

    def opened(self, connection: Connection) -> None:
        """A connection that its client has closed already, though its end is not read yet, is not counted."""
        host = connection.host
        those = self.open.setdefault(host, set())
        those.add(connection)
        if len(those) > self.most_open[host]:
            self.most_open[host] = max(self.most_open[host], sum(each.is_open() for each in those))

    def asked(self, host: str, number: int, now: float) -> int:
        """Count a request for a photo; returns how many there have been."""
        begin, end = self.wait_host.get(host, (0.0, 0.0))
        self.host_breaches += begin + WAIT_SLACK < now < end - 0.01
        self.photo_breaches += now < self.wait_photo.get(number, 0.0) - 0.01
        self.requests[number] += 1
        return self.requests[number]

    def told_to_wait(self, host: str, number: int, now: float) -> None:
        begin, end = self.wait_host.get(host, (0.0, 0.0))
        self.wait_host[host] = (begin if now < end else now, now + RETRY_AFTER)
        self.wait_photo[number] = now + RETRY_AFTER

    def summary(self) -> dict[str, Any]:
        photos = self.requests.total()
        return {
            "requests": photos + self.robots + self.other,
            "photo_requests": photos,
            "robots_requests": self.robots,
            "other_requests": self.other,
            "urls_asked": len(self.requests),
            "most_requests_of_a_url": max(self.requests.values(), default=0),
            "most_connections_of_a_host": max(self.most_open.values(), default=0),
            "hosts_asked": len(self.most_open),
            "requests_to_a_waiting_host": self.host_breaches,
            "requests_of_a_waiting_photo": self.photo_breaches,
        }


class Connection(asyncio.Protocol):
    """One client's connection: requests in, each answered after the latency."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.unread = b""
        self.host = ""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.socket: socket.socket = transport.get_extra_info("socket")
        self.host = transport.get_extra_info("sockname")[0]
        self.server.counts.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.counts.open[self.host].discard(self)

    def is_open(self) -> bool:
        """Whether the kernel knows of no end from the client's side (TCP_INFO's first byte; 1 is ESTABLISHED)."""
        return self.socket.fileno() >= 0 and self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while b"\r\n\r\n" in self.unread:
            head, _, self.unread = self.unread.partition(b"\r\n\r\n")
            self.asked(head)

    def asked(self, head: bytes) -> None:
        method, path, _ = head.split(b" ", 2)
        last = b"connection: close" in head.lower() or b" HTTP/1.0" in head
        counts, latency = self.server.counts, self.server.latency
        if method != b"GET":
            counts.other += 1
            self.loop.call_later(latency, self.send, b"405 Method Not Allowed", b"text/plain", b"", last)
        elif path == b"/robots.txt":
            counts.robots += 1
            self.loop.call_later(latency, self.send, b"200 OK", b"text/plain", ROBOTS, last)
        elif path.startswith(b"/photos/") and path[8:14].isdigit() and int(path[8:14]) < self.server.urls:
            number = int(path[8:14])
            fault = self.server.faults.get(number, "")
            if counts.asked(self.host, number, self.loop.time()) > 1 and fault in TRANSIENT:
                fault = ""
            if fault in ("dead", "stall"):
                self.loop.call_later(SILENT_SECONDS, self.transport.close)
            else:
                self.loop.call_later(latency, self.answer, number, fault, last)
        else:
            counts.other += 1
            self.loop.call_later(latency, self.send, b"404 Not Found", b"text/plain", b"no such place", last)

    def answer(self, number: int, fault: str, last: bool) -> None:
        if fault in ("429", "503"):
            self.server.counts.told_to_wait(self.host, number, self.loop.time())
            status = {"429": b"429 Too Many Requests", "503": b"503 Service Unavailable"}[fault]
            self.send(status, b"text/plain", b"later", last, b"Retry-After: %d\r\n" % RETRY_AFTER)
        elif fault in ("404", "410", "403"):
            status = {"404": b"404 Not Found", "410": b"410 Gone", "403": b"403 Forbidden"}[fault]
            self.send(status, b"text/plain", b"no", last)
        elif fault == "html":
            self.send(b"200 OK", b"text/html", PAGE, last)
        else:
            self.send_photo(self.server.photo(number), fault, last)

    def send_photo(self, photo: bytes, fault: str, last: bool) -> None:
        if fault == "truncated":
            photo = photo[: len(photo) * 6 // 10]
        extra = b"X-Robots-Tag: noai\r\n" if fault == "noai" else b""
        if fault in ("reset", "short"):
            self.send(b"200 OK", b"image/jpeg", photo[: len(photo) // 2], False, extra, len(photo))
            self.loop.call_later(0.05, self.reset if fault == "reset" else self.transport.close)
        else:
            self.send(b"200 OK", b"image/jpeg", photo, last, extra)

    def reset(self) -> None:
        if not self.transport.is_closing():
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def send(
        self, status: bytes, kind: bytes, body: bytes, last: bool, extra: bytes = b"", length: int | None = None
    ) -> None:
        if not self.transport.is_closing():
            size = len(body) if length is None else length
            extra += b"Connection: close\r\n" if last else b""
            head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n" % (status, kind, size, extra)
            self.transport.write(head + body)
            if last:
                self.transport.close()


class Server:
    """What all connections share. Without a folder the photos are small ones, made when asked for."""

    def __init__(self, folder: Path | None, urls: int, latency: float, faults: dict[int, str]) -> None:
        self.folder = folder
        self.urls = urls
        self.latency = latency
        self.faults = faults
        self.counts = Counts()

    def photo(self, number: int) -> bytes:
        return photo_path(self.folder, number).read_bytes() if self.folder else small_photo(number)

    async def run(self, hosts: int) -> None:
        """Serve until stdin closes."""
        loop = asyncio.get_running_loop()
        port, servers = 0, []
        for number in range(hosts):
            host = host_of(number, hosts)
            servers.append(await loop.create_server(lambda: Connection(self), host, port, backlog=1024))
            port = servers[0].sockets[0].getsockname()[1]
        print(json.dumps({"port": port}), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        for server in servers:
            server.close()
        print(json.dumps(self.counts.summary()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the photos lie, or are made")
    parser.add_argument("--urls", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds")
    parser.add_argument("--faults", type=float, default=0.1, help="share of the URLs")
    parser.add_argument("--kinds", default=",".join(PERMANENT + TRANSIENT), help="of faults, with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="photos of 2-4 kB made when asked for")
    options = parser.parse_args()
    if not options.small:
        make_photos(options.folder, options.urls)
    faults = draw_faults(options.urls, options.faults, options.seed, options.kinds.split(","))
    server = Server(None if options.small else options.folder, options.urls, options.latency, faults)
    asyncio.run(server.run(options.hosts))


if __name__ == "__main__":
    main()
