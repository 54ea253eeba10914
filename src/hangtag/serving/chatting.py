"""`POST /v1/chat/completions`: OpenAI's form around a picture and its tag.

The run's own question, or no words at all, gives the tag's text; response_format json_object or json_schema gives its
fields, whatever the words say, for there is only one thing to ask then. Other words are asked as they stand, and the
answer is not held to the tag's form.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from hangtag.prediction.tag import Ask
from hangtag.serving.answering import Answered
from hangtag.serving.batching import Job
from hangtag.serving.chat_form import UNABLE, ChatRequest, ImagePart, SchemaFormat, TextPart
from hangtag.serving.completions import Completion, Stream, unusable
from hangtag.serving.pictures import Picture, Upload
from hangtag.serving.refusals import Refused, json_response, wrong_fields
from hangtag.serving.service import Service
from hangtag.serving.wanted import wanted_fields


@dataclass(frozen=True)
class Question:
    """What is asked for: `prompt` where it is not the run's own, `fields` where JSON is wanted."""

    uploads: list[Upload]
    prompt: str | None
    fields: list[str] | None

    @property
    def held(self) -> bool:
        """Whether the answer is a tag."""
        return self.prompt is None


async def chat(service: Service, request: Request) -> Response:
    """A tag as a chat completion: its text, its fields as JSON (response_format), or an answer to other words.

    Raises:
        Refused, Gone.
    """
    service.admit()
    async with AsyncExitStack() as held:
        body = await held.enter_async_context(service.bodies.read(request))
        asked = _parsed(body)
        service.require_model(asked.model)
        question = _question(service, asked)
        held.enter_context(service.batcher.take(1))
        pictures = await service.until_gone(request, service.decoder.pictures(question.uploads, shown=False))
        most = _most_tokens(service, asked)
        job = Job(Ask(_canvases(pictures), question.prompt, question.held, most_tokens=most))
        completion = Completion(service.settings.name, question.fields)
        if asked.stream:
            with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
            return Stream(completion, service, job, held.pop_all(), with_usage)
        (found,) = await service.until_gone(request, service.answers([job]))
        if not isinstance(found, Answered):
            raise unusable(found)
        return json_response(completion.whole(found.tag))


def _parsed(body: bytes) -> ChatRequest:
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise wrong_fields(error, UNABLE) from None


def _question(service: Service, asked: ChatRequest) -> Question:
    """What the messages and the wanted form come to.

    Raises:
        Refused: several turns, no picture or too many, words with special tokens, a schema that cannot be promised.
    """
    if [each.role for each in asked.messages].count("user") != 1:
        raise Refused(400, "send one user message: the model answers one question about its pictures", param="messages")
    words, uploads = [], []
    for message in asked.messages:
        for part in (
            [TextPart(type="text", text=message.content)] if isinstance(message.content, str) else message.content
        ):
            if isinstance(part, ImagePart) and message.role != "user":
                raise Refused(400, "pictures come in the user's message", param="messages")
            if isinstance(part, ImagePart):
                uploads.append(_upload(part.image_url.url))
            else:
                words.append(part.text)
    most = service.settings.limits.pictures
    if not uploads:
        raise Refused(400, "there is no picture; send one as an image_url part with a data URI", param="messages")
    if len(uploads) > most:
        raise Refused(400, f"{len(uploads)} pictures in one question; at most {most} are taken", param="messages")
    wanted = asked.response_format
    if isinstance(wanted, SchemaFormat):
        return Question(uploads, None, wanted_fields(wanted.json_schema.schema_, service.model.schema))
    if wanted is not None and wanted.type == "json_object":
        return Question(uploads, None, list(service.model.schema["properties"]))
    return Question(uploads, _prompt(service, "\n".join(words)), None)


def _prompt(service: Service, words: str) -> str | None:
    """The words where they are another question than the run's own."""
    if words.strip() in ("", service.model.question.strip()):
        return None
    if special := next((each for each in service.model.special if each in words), None):
        message = f"the words hold {special!r}, which stands for a part of the prompt itself; leave it out"
        raise Refused(400, message, param="messages")
    return words


def _upload(url: str) -> Upload:
    if url[:5].lower() != "data:":
        return Upload("picture", url=url)
    head, comma, data = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise Refused(400, "a picture's data URI is data:image/jpeg;base64,...", param="messages")
    return Upload("picture", base64=data)


def _canvases(pictures: list[Picture | Any]) -> list[Any]:
    for number, each in enumerate(pictures, 1):
        if not isinstance(each, Picture):
            which = f"picture {number}: " if len(pictures) > 1 else ""
            raise Refused(400, which + str(each), param="messages", code="invalid_image")
    return [each.canvas for each in pictures]


def _most_tokens(service: Service, asked: ChatRequest) -> int | None:
    most = service.settings.limits.written_tokens
    return None if asked.most_tokens is None else min(asked.most_tokens, most)
