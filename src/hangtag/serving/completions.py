"""A tag in the form of a chat completion, whole or as a stream of pieces."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hangtag.errors import HangtagError
from hangtag.prediction.tag import Tag
from hangtag.serving.answering import Answered
from hangtag.serving.batching import Job
from hangtag.serving.bodies import Gone
from hangtag.serving.refusals import Refused, as_refused
from hangtag.serving.service import Service


class Completion:
    """One answer's JSON.

    Args:
        fields: those that are wanted as JSON; None for the text.
    """

    def __init__(self, model: str, fields: Sequence[str] | None) -> None:
        self.fields = fields
        self.head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    def content(self, tag: Tag) -> str | None:
        """What the message holds; None where no JSON came of it."""
        if self.fields is None:
            return tag.raw or ""
        if tag.fields is None:
            return None
        return json.dumps({name: tag.fields[name] for name in self.fields}, ensure_ascii=False, allow_nan=False)

    def whole(self, tag: Tag) -> dict[str, Any]:
        """A chat.completion."""
        content = self.content(tag)
        refusal = None if content is not None or not tag.finished else tag.error
        message = {"role": "assistant", "content": content, "refusal": refusal}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(tag)}
        return {**self.head, "object": "chat.completion", "choices": [choice], "usage": _usage(tag)}

    def piece(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        """A chat.completion.chunk."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self.head, "object": "chat.completion.chunk", "choices": [choice]}

    def last_pieces(self, tag: Tag, with_usage: bool) -> list[dict[str, Any]]:
        """What a stream ends with."""
        pieces = [self.piece({}, _reason(tag))]
        if with_usage:
            pieces.append({**self.head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(tag)})
        return pieces


def unusable(error: HangtagError) -> Refused:
    """400: why there is no answer to a prompt."""
    return Refused(400, str(error), param="messages", code="invalid_prompt")


def _reason(tag: Tag) -> str:
    return "stop" if tag.finished else "length"


def _usage(tag: Tag) -> dict[str, int]:
    read, written = tag.tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


class Stream(Response):
    """Server-sent events with the text as it is written; JSON comes as one piece, for a field is known at its end.

    Nothing is sent before the first piece is there, so that what fails until then gets its own status.

    Args:
        held: what the request holds, let go at the end.
    """

    def __init__(self, completion: Completion, service: Service, job: Job, held: AsyncExitStack, usage: bool) -> None:
        super().__init__(media_type="text/event-stream")
        self.completion, self.service, self.job, self.held, self.usage = completion, service, job, held, usage
        self._pieces: asyncio.Queue[str | Answered | Exception] = asyncio.Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.held:
            gone = asyncio.ensure_future(receive())
            task = asyncio.ensure_future(self._send(send))
            try:
                await asyncio.wait({gone, task}, return_when="FIRST_COMPLETED")
                if not task.done():
                    raise Gone
                task.result()
            finally:
                gone.cancel()
                task.cancel()

    async def _send(self, send: Send) -> None:
        started = False
        async for event in self._events():
            if not started:
                headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                started = True
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _events(self) -> AsyncIterator[bytes]:
        """The pieces as events; an error before the first is raised, a later one is an event."""
        sent = False
        try:
            async for piece in self._written():
                yield _event(piece)
                sent = True
        except Refused as refused:
            if not sent:
                raise
            yield _event(refused.body())

    async def _written(self) -> AsyncIterator[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        if self.completion.fields is None:
            self.job.on_text = lambda text: _put(loop, self._pieces, text)
        task = loop.create_task(self._answer())
        try:
            piece, written = await self._next(), False
            yield self.completion.piece({"role": "assistant", "content": "", "refusal": None})
            while isinstance(piece, str):
                yield self.completion.piece({"content": piece})
                piece, written = await self._next(), True
            if not written and (content := self.completion.content(piece.tag)):
                yield self.completion.piece({"content": content})
            for last in self.completion.last_pieces(piece.tag, self.usage):
                yield last
        finally:
            task.cancel()

    async def _next(self) -> str | Answered:
        piece = await self._pieces.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def _answer(self) -> None:
        """The answer, or what is wrong, behind the pieces."""
        try:
            (found,) = await self.service.in_time(self.service.answers([self.job]))
            self._pieces.put_nowait(found if isinstance(found, Answered) else unusable(found))
        except Exception as error:
            self._pieces.put_nowait(as_refused(error))


def _put(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Any], text: str) -> None:
    loop.call_soon_threadsafe(queue.put_nowait, text)


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, allow_nan=False).encode() + b"\n\n"
