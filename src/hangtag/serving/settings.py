"""How a server behaves: where it listens, who may ask, and how much of anything it takes."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from hangtag.errors import UsageError

_ORIGIN = re.compile(r"https?://[^\s/?#@]+|\*")
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and what all of them together may hold. Times in seconds.

    `pixels` is of one picture, before it is scaled down. `places` is how many pictures may wait or be worked on at
    once; beyond them a request is refused. `bodies` is how many bytes of requests are held at once. `head` is how long
    a connection may take to say what it wants, `upload` how long its body may take, `answer` how long the rest may.
    """

    body: int = 32_000_000
    bodies: int = 256_000_000
    pixels: int = 50_000_000
    pictures: int = 16
    places: int = 64
    prompt_tokens: int = 8192
    written_tokens: int = 1024
    connections: int = 512
    head_bytes: int = 32_768
    head: float = 10.0
    upload: float = 60.0
    answer: float = 60.0
    drain: float = 5.0


@dataclass(frozen=True)
class Settings:
    """One server.

    Args:
        name: what its model is called.
        token: what a client must show; None where none is needed.
        origins: web origins whose pages may ask ("*" for all); none unless told.
        rows: pictures that an engine answers at once; None: as many as the tagger's batch.
        workers: processes that run the model; None: see `workers.hands`.
        tokens: their prompt tokens, padding included.
    """

    name: str = "hangtag"
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allow_urls: bool = False
    allow_private: bool = False
    origins: tuple[str, ...] = ()
    access_log: bool = False
    rows: int | None = None
    workers: int | None = None
    tokens: int = 65_536
    limits: Limits = field(default_factory=Limits)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine and no other."""
    host = host.lower()
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def read_token(source: str) -> str:
    """The token that an environment variable or a file of this name holds.

    Raises:
        UsageError: there is neither, or what it holds is no token. The message repeats nothing: it may be the token.
    """
    text = os.environ.get(source)
    if text is None:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise UsageError(
                "--token names an environment variable or a file that holds the token, and there is neither of that "
                "name; the token itself does not belong on a command line, where other users of the machine see it"
            ) from None
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise UsageError("the token is empty, or has spaces or letters beyond ASCII; make one: openssl rand -hex 24")
    return token


def check_origins(origins: list[str]) -> tuple[str, ...]:
    """Web origins as browsers send them.

    Raises:
        UsageError: one is none.
    """
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise UsageError(f"--cors {origin}: no web origin; write it as https://shop.example, without a path")
    return tuple(origin.lower() for origin in origins)
