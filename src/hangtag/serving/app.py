"""The application: endpoints, and in which form errors are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from hangtag.serving import documents
from hangtag.serving.bodies import Gone
from hangtag.serving.chatting import chat
from hangtag.serving.describing import ABOUT, DESCRIBED
from hangtag.serving.guard import Guard
from hangtag.serving.metrics import CONTENT_TYPE
from hangtag.serving.predicting import predict
from hangtag.serving.refusals import Refused, as_refused, busy, json_response
from hangtag.serving.service import Service

Endpoint = Callable[[Service, Request], Awaitable[Response]]


def make_app(service: Service) -> ASGIApp:
    """The ASGI application of a service."""
    app = FastAPI(
        title="hangtag", description=ABOUT, version=metadata.version("hangtag"), docs_url=None, redoc_url=None
    )
    for method, path, endpoint in (
        ("GET", "/", documents.page),
        ("GET", "/docs", documents.docs),
        ("GET", "/health", health),
        ("GET", "/ready", ready),
        ("GET", "/metrics", tell_metrics),
        ("GET", "/v1/models", models),
        ("GET", "/v1/models/{model}", model),
        ("GET", "/v1/pictures/{picture}", documents.picture),
        ("POST", "/v1/predict", predict),
        ("POST", "/v1/chat/completions", chat),
    ):
        described = DESCRIBED.get(path, {"responses": {"200": {"description": "Done."}}})
        app.add_api_route(
            path, _bound(service, endpoint), methods=[method], response_class=Response, openapi_extra=described
        )
    app.add_exception_handler(Refused, _told)
    app.add_exception_handler(HTTPException, _unknown)
    guarded: ASGIApp = app
    if service.settings.origins:
        guarded = CORSMiddleware(
            app,
            allow_origins=service.settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    return Guard(guarded, service.settings, service.metrics.answered)


def _bound(service: Service, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def bound(request: Request) -> Response:
        try:
            return await endpoint(service, request)
        except Gone:
            raise
        except Exception as error:  # Starlette would tell it in a form of its own
            return as_refused(error).response()

    bound.__name__, bound.__doc__ = endpoint.__name__, (endpoint.__doc__ or "").partition("\n")[0]
    return bound


def _told(request: Request, error: Exception) -> Response:
    return as_refused(error).response()


def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is nothing at this path; see /docs", 405: "not with this method; see /docs"}
    return Refused(error.status_code, words.get(error.status_code, error.detail), headers=error.headers).response()


async def health(service: Service, request: Request) -> Response:
    """Alive."""
    return json_response({"status": "ok"})


async def ready(service: Service, request: Request) -> Response:
    """Whether a picture would be accepted now."""
    if not service.batcher.ready:
        raise busy("stopping" if service.batcher.stopping else "full", 1)
    return json_response({"status": "ready"})


async def tell_metrics(service: Service, request: Request) -> Response:
    """Counters in Prometheus' form."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


async def models(service: Service, request: Request) -> Response:
    """The one model, in OpenAI's form."""
    return json_response({"object": "list", "data": [describe(service)]})


async def model(service: Service, request: Request) -> Response:
    """A model by its name."""
    service.require_model(request.path_params["model"])
    return json_response(describe(service))


def describe(service: Service) -> dict[str, Any]:
    """A model in OpenAI's form, and the JSON Schema of its tags."""
    return {
        "id": service.settings.name,
        "object": "model",
        "created": 0,
        "owned_by": "hangtag",
        "schema": service.model.schema,
    }
