"""Connections: uvicorn's, with what it leaves open closed. A head that is too long or too slow, a body that goes on
behind its refusal, and too many connections end; what is no HTTP is told so in the same form as everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hangtag.serving.guard import SECURITY_HEADERS
from hangtag.serving.refusals import CLOSE, Refused
from hangtag.serving.settings import Limits

_LINGER = 10.0
"""Seconds that a refused body may go on: who is still sending hears nothing."""


def protocol_for(limits: Limits) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, bounded by `limits`."""
    return type("Bounded", (_Bounded,), {"limits": limits})


class _Bounded(HttpToolsProtocol):
    limits: Limits

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._head = 0
        self._in_head, self._in_body = True, False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.limits.head, self._head_is_late)
        if len(self.connections) > self.limits.connections:
            self._refuse(Refused(503, "too many connections; try again shortly", headers={"Retry-After": "2"}))

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head += len(data)
            if self._timer is None:  # the head of a further request on this connection
                self._wait(self.limits.head, self._head_is_late)
        super().data_received(data)
        if self._in_head and self._head > self.limits.head_bytes:
            self._refuse(Refused(431, f"a request's head of more than {self.limits.head_bytes:,} bytes"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body, self._head = False, True, 0
        self._wait(None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._in_body = True, False
        self._wait(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self._wait(_LINGER, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP."""
        self._refuse(Refused(400, "this is no HTTP request"))

    def _head_is_late(self) -> None:
        if not self._head:
            self.transport.close()  # it never asked for anything
        else:
            self._refuse(Refused(408, f"a request's head did not arrive within {self.limits.head:g} s"))

    def _wait(self, seconds: float | None, then: Any = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, then)

    def _refuse(self, refused: Refused) -> None:
        """Answer without the application, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            response = refused.response()
            headers: Mapping[str, str] = {**response.headers, **SECURITY_HEADERS, **CLOSE}
            lines = [f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + bytes(response.body))
        self.transport.close()
