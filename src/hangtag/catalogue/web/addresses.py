"""Which addresses may be asked: http and https, and after resolution only what is on the public internet.

The check stands where the connection is made: the address that was checked is the address that is connected to, so a
name that resolves to something else a moment later, or a redirect, gets no further than a plain private URL.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore2
import httpx2

_LONGEST = 8000  # characters of a URL
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_RESOLVERS = 16


class AddressRefused(Exception):
    """The host is on a private network; the message says which address."""


class NotResolved(Exception):
    """The host has no address; `passing` where the resolver itself failed and may not fail again."""

    def __init__(self, message: str, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


def web_url(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """An http or https URL without its fragment; what a URL may not hold (spaces, other letters) is encoded.

    Raises:
        ValueError: what is wrong with it, in a sentence.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        raise ValueError(f"a URL of {len(text):,} characters; at most {_LONGEST:,} are used")
    try:
        url = (base.join(text) if base else httpx2.URL(text)).copy_with(fragment=None)
        host, port = url.raw_host.decode("ascii"), url.port
    except (httpx2.InvalidURL, ValueError) as error:
        raise ValueError(f"no URL: {error}") from None
    if url.scheme not in ("http", "https"):
        raise ValueError(f"{url.scheme[:20] or 'no scheme'}: only http and https are fetched")
    if not host or "%" in host or len(host) > 253:
        raise ValueError("a URL without a proper host name")
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"port {port} does not exist")
    if url.userinfo:
        raise ValueError("a URL that holds a user name; names and passwords are not sent")
    return url


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet, also where it is wrapped (mapped, 6to4, Teredo, NAT64)."""
    ip = ipaddress.ip_address(address)
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return isinstance(ip, ipaddress.IPv6Address) and ip in _NAT64 and is_public(_last_four(ip))
    inner: list[Any] = []
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        inner += [_last_four(ip)] if ip in _NAT64 else []
    return all(is_public(str(each)) for each in inner if each is not None)


def _last_four(ip: ipaddress.IPv6Address) -> str:
    return str(ipaddress.IPv4Address(ip.packed[-4:]))


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses only, unless `allow_private`; tries a host's addresses one after the other."""

    def __init__(self, allow_private: bool) -> None:
        self.allow_private = allow_private
        self._network = httpcore2.AnyIOBackend()
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, "resolver")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises AddressRefused, NotResolved, or httpcore2's ConnectError and ConnectTimeout."""
        end = time.monotonic() + (timeout or 60)
        try:
            addresses = await asyncio.wait_for(self._addresses(host, port), timeout)
        except TimeoutError:
            raise NotResolved(f"{host} was not resolved within {timeout:g} s", passing=True) from None
        for number, address in enumerate(addresses):
            left = max(end - time.monotonic(), 0.1) / (len(addresses) - number)
            try:
                return await self._network.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(addresses) - 1:
                    raise
        raise AssertionError

    async def _addresses(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
        except (socket.gaierror, UnicodeError) as error:
            passing = getattr(error, "errno", None) == socket.EAI_AGAIN
            raise NotResolved(f"{host} has no address ({error})", passing) from None
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        allowed = [each for each in addresses if self.allow_private or is_public(each)]
        if not allowed:
            raise AddressRefused(f"{host} is {addresses[0]}, on a private network; if it is yours, use --allow-private")
        return allowed

    async def connect_unix_socket(self, *arguments: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        """Never."""
        raise AddressRefused("a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Let the resolving threads end."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)
