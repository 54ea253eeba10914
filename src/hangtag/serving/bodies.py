"""Bodies of requests, read with a bound on the bytes of one, on those of all at once, and on the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from hangtag.serving.refusals import CLOSE, Refused, busy
from hangtag.serving.settings import Limits

_LONGEST_NAME = 200


class Gone(Exception):
    """The client closed the connection; nobody reads what is answered."""


class Bodies:
    """All bodies that are held at the moment."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body, counted as held while this is open.

        Raises:
            Refused: too large (413), too slow (408), or too much held already (503).
            Gone: the client closed the connection.
        """
        most = self.limits.body
        too_large = Refused(
            413, f"a request of more than {most:,} bytes; send fewer or smaller pictures", headers=CLOSE
        )
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said[:20]) > most:
            raise too_large
        parts, size = [], 0
        try:
            try:
                async with asyncio.timeout(self.limits.upload):
                    async for part in request.stream():
                        if self.held + len(part) > self.limits.bodies:
                            raise busy("too much is being uploaded at the moment; try again shortly", 2)
                        size += len(part)
                        self.held += len(part)
                        if size > most:
                            raise too_large
                        parts.append(part)
            except TimeoutError:
                message = f"the request's body did not arrive within {self.limits.upload:g} s"
                raise Refused(408, message, headers=CLOSE) from None
            except ClientDisconnect:
                raise Gone from None
            yield b"".join(parts)
        finally:
            self.held -= size


@dataclass
class Part:
    """One part of a multipart body: its field, the name of its file, and its bytes."""

    field: str = ""
    name: str | None = None
    data: bytes = b""


def multipart_parts(content_type: str, body: bytes, most: int) -> list[Part]:
    """The parts of a multipart/form-data body.

    Raises:
        Refused: no boundary, a damaged form, more than `most` parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Refused(400, "multipart/form-data without a boundary in its Content-Type")
    form = _Form(most)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise Refused(400, "the form (multipart/form-data) is damaged") from None
    if not form.ended:
        raise Refused(400, "the form (multipart/form-data) is cut short")
    return form.parts


class _Form:
    """Gathers what the parser finds."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.parts: list[Part] = []
        self.ended = False
        self._header = [b"", b""]
        self._data: list[bytes] = []

    def callbacks(self) -> dict[str, object]:
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end", "end")
        return {f"on_{name}": getattr(self, name) for name in names}

    def part_begin(self) -> None:
        if len(self.parts) >= self.most:
            raise Refused(413, f"a form of more than {self.most} parts; send fewer pictures in one request")
        self.parts.append(Part())

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def header_end(self) -> None:
        (name, value), self._header = self._header, [b"", b""]
        if name.lower() == b"content-disposition":
            options = parse_options_header(value.decode("latin-1"))[1]
            part = self.parts[-1]
            part.field = _text(options.get(b"name", b""))
            part.name = _text(options[b"filename"]) if b"filename" in options else None

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def part_end(self) -> None:
        self.parts[-1].data = b"".join(self._data)
        self._data.clear()

    def end(self) -> None:
        self.ended = True


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")[:_LONGEST_NAME]
