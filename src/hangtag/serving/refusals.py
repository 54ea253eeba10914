"""Why a request gets no answer, as its client is told: OpenAI's form of an error, without paths and tracebacks."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

log = logging.getLogger("hangtag.serving")

_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_MOST_PROBLEMS = 5
_UNIONS = ("words", "parts")  # which of a union's types was meant: no key that the client wrote
CLOSE = {"Connection": "close"}


class Refused(Exception):
    """A request that is not answered: a status, and what the client is told."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, dict(headers or {})

    def body(self) -> dict[str, Any]:
        """{"error": {"message", "type", "param", "code"}}."""
        return error_body(self.status, str(self), self.param, self.code)

    def response(self) -> Response:
        """As an HTTP response."""
        return json_response(self.body(), self.status, self.headers)


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's form."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response. What strangers sent may stand in it, so letters beyond ASCII are escaped."""
    return Response(json.dumps(value, allow_nan=False), status, headers, "application/json")


def busy(message: str, seconds: float, code: str = "overloaded") -> Refused:
    """503: come back after about so many seconds."""
    return Refused(503, message, code=code, headers={"Retry-After": str(max(1, round(seconds)))})


def as_refused(error: Exception) -> Refused:
    """What a client is told of any failure; of an unforeseen one the operator's log tells more."""
    if isinstance(error, Refused):
        return error
    log.error("a request failed", exc_info=error)
    return Refused(500, "the server failed at this request; its log says why", code="internal_error")


def wrong_fields(error: ValidationError, known: Mapping[str, str] | None = None) -> Refused:
    """400: what is wrong with the fields of a request, the first few of them; nothing of their content is repeated.

    Args:
        known: what is said of some fields in place of pydantic's words.
    """
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    own = known or {}
    lines = [
        own.get(_place(each["loc"]), f"{_place(each['loc'])}: {each['msg']}") for each in problems[:_MOST_PROBLEMS]
    ]
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"and {len(problems) - _MOST_PROBLEMS} more")
    first = problems[0]["loc"]
    return Refused(400, "; ".join(lines), param=_place(first) if first else None, code="invalid_value")


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(each) for each in location if each not in _UNIONS)[:100] or "the body"
