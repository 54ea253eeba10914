"""What a browser is shown: the page, the list of endpoints, training pictures. Nothing is loaded from elsewhere."""

from __future__ import annotations

import json
import secrets
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hangtag.serving.page import page as write_page
from hangtag.serving.refusals import Refused
from hangtag.serving.service import Service

_FORM_BYTES = 10_000
"""More than what stands around a file in a form."""
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
h2 { font: 600 1rem ui-monospace, monospace; margin: 2rem 0 0 }
pre { overflow-x: auto; padding: .7rem 1rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
summary { cursor: pointer }
"""


def policy(nonce: str) -> dict[str, str]:
    """Headers of a page: only its own script and style run, and it speaks with this server alone."""
    rules = (
        "default-src 'none'",
        f"script-src 'nonce-{nonce}'",
        f"style-src 'nonce-{nonce}'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
    return {"Content-Security-Policy": "; ".join(rules)}


async def page(service: Service, request: Request) -> Response:
    """The page to try it."""
    nonce, settings = secrets.token_urlsafe(16), service.settings
    text = write_page(
        service.model.tagger.recipe,
        name=settings.name,
        nonce=nonce,
        token=settings.token is not None,
        most_bytes=settings.limits.body - _FORM_BYTES,
    )
    return HTMLResponse(text, headers=policy(nonce))


async def docs(service: Service, request: Request) -> Response:
    """The endpoints, as /openapi.json describes them, on a page."""
    nonce = secrets.token_urlsafe(16)
    described = request.app.openapi()
    parts = [
        _endpoint(method, path, operation, described)
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    ]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>hangtag: endpoints</title>\
<meta name="viewport" content="width=device-width"><style nonce="{nonce}">{_STYLE}</style>'
    title = f'<h1>{escape(service.settings.name)}</h1><p>{escape(described["info"]["description"])} \
<a href="/">The page</a>, <a href="/openapi.json">/openapi.json</a>.</p>'
    return HTMLResponse(head + title + "".join(parts), headers=policy(nonce))


def _endpoint(method: str, path: str, operation: dict[str, Any], described: dict[str, Any]) -> str:
    text = f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(operation.get('description', ''))}</p>"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema", {})
        if (name := schema.get("$ref", "").rpartition("/")[2]) in described.get("components", {}).get("schemas", {}):
            schema = described["components"]["schemas"][name]
        shown = escape(json.dumps(schema, indent=1))
        text += f"<details><summary>{escape(kind)}</summary><pre>{shown}</pre></details>"
    return text


async def picture(service: Service, request: Request) -> Response:
    """A training picture that was named as a neighbour: a small JPEG."""
    found = service.model.thumbnail(request.path_params["picture"])
    if found is None:
        raise Refused(404, "there is no such picture")
    return Response(found, media_type="image/jpeg")
