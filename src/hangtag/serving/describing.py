"""What /openapi.json says of requests and answers beyond their paths."""

from __future__ import annotations

from typing import Any

from hangtag.serving.chat_form import ChatRequest
from hangtag.serving.predicting import Options, PredictRequest

ABOUT = "Tags of products from their photos. Errors come in OpenAI's form."

_FORM = {
    "type": "object",
    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}},
    "required": ["files"],
    "additionalProperties": False,
}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its definitions in their places, for OpenAPI keeps its own elsewhere."""
    definitions = schema.pop("$defs", {})

    def put(part: Any) -> Any:
        if isinstance(part, list):
            return [put(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return put(definitions[part["$ref"].rpartition("/")[2]])
        return {key: put(value) for key, value in part.items() if key != "discriminator"}

    return put(schema)  # type: ignore[no-any-return]


def _answers(*statuses: int) -> dict[str, Any]:
    error = {"application/json": {"schema": _ERROR}}
    told = {str(status): {"description": _STATUSES[status], "content": error} for status in statuses}
    return {"200": {"description": "Done."}, **told}


_STATUSES = {
    400: "The request is wrong; the message says where.",
    401: "A token is wanted.",
    403: "Not from this page or host.",
    404: "There is no such model or picture.",
    408: "The request took too long to arrive.",
    413: "Too large, or too many pictures.",
    415: "Neither a form nor JSON.",
    422: "None of the pictures can be used.",
    503: "Too much to do, or stopping; see Retry-After.",
    504: "No answer in time.",
}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}
_ASKED = (400, 401, 403, 404, 408, 413, 415, 503, 504)


def _options() -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in Options.model_json_schema()["properties"].items()
    ]


DESCRIBED: dict[str, dict[str, Any]] = {
    "/v1/predict": {
        "parameters": _options(),
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _FORM},
                "application/json": {"schema": _inlined(PredictRequest.model_json_schema())},
            },
        },
        "responses": _answers(*_ASKED, 422),
    },
    "/v1/chat/completions": {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _inlined(ChatRequest.model_json_schema())}},
        },
        "responses": _answers(*_ASKED),
    },
    "/v1/models/{model}": {"responses": _answers(401, 403, 404)},
    "/v1/pictures/{picture}": {"responses": _answers(401, 403, 404)},
}
"""By path, what is added to FastAPI's own description."""
