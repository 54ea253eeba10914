"""`POST /v1/predict`: pictures in a form or in JSON, and their tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import Response

from hangtag.errors import HangtagError
from hangtag.prediction.tag import Ask
from hangtag.serving.answering import Answered
from hangtag.serving.batching import Job
from hangtag.serving.bodies import multipart_parts
from hangtag.serving.pictures import Picture, Upload
from hangtag.serving.refusals import Refused, error_body, json_response, wrong_fields
from hangtag.serving.service import Service

_MOST_NEIGHBOURS = 20


class Options(BaseModel):
    """What is wanted beside the tags."""

    model_config = ConfigDict(extra="forbid")

    neighbours: Annotated[
        int,
        Field(
            ge=0,
            le=_MOST_NEIGHBOURS,
            description="So many most similar training products; null in a tag means that they are still being made.",
        ),
    ] = 0
    heat: Annotated[bool, Field(description="Where in the picture each field was read.")] = False


class ImageSource(BaseModel):
    """A picture: its bytes in base64, or where it is."""

    model_config = ConfigDict(extra="forbid")

    base64: str | None = Field(None, description="The picture file's bytes in base64.")
    url: str | None = Field(None, description="An http(s) URL; only where the server was started with --allow-urls.")
    name: str | None = Field(None, max_length=200, description="Comes back with the tag.")

    @model_validator(mode="after")
    def _one(self) -> ImageSource:
        if (self.base64 is None) == (self.url is None):
            raise ValueError("give either base64 or url")
        return self


class PredictRequest(Options):
    """The JSON body."""

    model: str | None = Field(None, description="The model's name, as /v1/models tells it; may be left out.")
    images: list[ImageSource] = Field(min_length=1)


async def predict(service: Service, request: Request) -> Response:
    """A tag for each picture of a form (`files`) or of JSON (`images`); a bad one among them has an error.

    Raises:
        Refused, Gone.
    """
    service.admit()
    async with service.bodies.read(request) as body:
        uploads, options = _asked(service, request, body)
        with service.batcher.take(len(uploads)):
            records = await service.until_gone(request, _records(service, uploads, options))
    answer: dict[str, Any] = {"model": service.settings.name, "tags": records}
    if all(record["error"] and record["fields"] is None for record in records):
        what = "the picture" if len(records) == 1 else f"any of the {len(records)} pictures"
        answer |= error_body(422, f"there is no tag for {what}; {records[0]['error']}", code="no_tag")
        return json_response(answer, 422)
    return json_response(answer)


async def _records(service: Service, uploads: Sequence[Upload], options: Options) -> list[dict[str, Any]]:
    wanted = bool(options.neighbours) or options.heat
    pictures = await service.decoder.pictures(uploads, wanted)
    jobs = {
        row: Job(Ask([each.canvas]), each.shown, options.neighbours if service.model.neighbours else 0)
        for row, each in enumerate(pictures)
        if isinstance(each, Picture)
    }
    found = dict(zip(jobs, await service.answers(list(jobs.values())), strict=True))
    heats = await _heats(service, jobs, found) if options.heat else {}
    return [
        _record(upload.name, found.get(row, picture), heats.get(row))
        for row, (upload, picture) in enumerate(zip(uploads, pictures, strict=True))
    ]


async def _heats(service: Service, jobs: Mapping[int, Job], found: Mapping[int, Any]) -> dict[int, Any]:
    drawn = {
        row: Job(job.ask, job.shown, heat_of=found[row].tag)
        for row, job in jobs.items()
        if isinstance(found[row], Answered) and job.shown
    }
    return dict(zip(drawn, await service.heats(list(drawn.values())), strict=True))


def _record(name: str, found: Answered | Picture | HangtagError, heat: Any) -> dict[str, Any]:
    if isinstance(found, Answered):
        return {"name": name, **found.tag.record(), "neighbours": found.neighbours, "heat": heat}
    nothing = dict.fromkeys(("fields", "confidence", "numbers", "raw"))
    return {"name": name, **nothing, "error": str(found), "calibrated": False, "neighbours": [], "heat": None}


def _asked(service: Service, request: Request, body: bytes) -> tuple[list[Upload], Options]:
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    most = service.settings.limits.pictures
    try:
        if kind == "application/json":
            asked = PredictRequest.model_validate_json(body)
            service.require_model(asked.model)
            uploads = [
                Upload(each.name or f"picture {number}", None, each.base64, each.url)
                for number, each in enumerate(asked.images, 1)
            ]
            options: Options = asked
        elif kind == "multipart/form-data":
            options = Options.model_validate(dict(request.query_params))
            uploads = _files(content_type, body, most)
        else:
            raise Refused(415, "send multipart/form-data with the field `files`, or application/json with `images`")
    except ValidationError as error:
        raise wrong_fields(error) from None
    if len(uploads) > most:
        raise Refused(413, f"{len(uploads)} pictures in one request; at most {most} are taken, send several requests")
    return uploads, options


def _files(content_type: str, body: bytes, most: int) -> list[Upload]:
    parts = multipart_parts(content_type, body, most)
    if strange := next((each.field for each in parts if each.field != "files"), None):
        raise Refused(400, f"the form has a field {strange!r}; pictures come in the field `files`", param="files")
    if not parts:
        raise Refused(400, "the form has no picture in its field `files`", param="files")
    return [Upload(part.name or f"picture {number}", part.data) for number, part in enumerate(parts, 1)]
