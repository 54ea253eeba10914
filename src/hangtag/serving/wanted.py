"""A client's JSON Schema against what a run can give: every tag must fit it, whatever the model writes.

Of JSON Schema, the part that OpenAI's structured outputs use and that a tag can promise: an object whose properties are
among the run's fields; a text is a string, a number a number, a category one of its known values or "other". Anything
narrower (a pattern, a minimum, some of the categories) would have to be promised for an answer not yet written, and
is refused with what can be had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hangtag.errors import first_names
from hangtag.serving.refusals import Refused

_NOTES = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "readOnly"}
_DEEPEST = 12


def wanted_fields(schema: Any, given: Mapping[str, Any]) -> list[str]:
    """The fields that a client's schema names, in its order; every tag of `given` that is cut to them fits it.

    Args:
        schema: the client's, as JSON came.
        given: the run's own schema.json.

    Raises:
        Refused: 400; what it asks for and what can be had.
    """
    root = _Root(schema, given)
    asked = root.resolved(schema, "the schema")
    root.only(asked, {"type", "properties", "required", "additionalProperties", "$defs", "definitions"}, "the schema")
    if asked.get("type") != "object" or not isinstance(asked.get("properties"), dict) or not asked["properties"]:
        raise root.refused('it is no object with properties ("type": "object", "properties": {...})')
    if asked.get("additionalProperties", False) is not False:
        raise root.refused("additionalProperties must be false: a tag has no other fields")
    properties, fields = asked["properties"], given["properties"]
    unknown = [name for name in properties if name not in fields]
    required = asked.get("required", [])
    if not isinstance(required, list):
        raise root.refused("required is no list")
    unknown += [name for name in required if name not in properties]
    if unknown:
        raise root.refused(f"there is no field {first_names(map(_short, unknown))}")
    for name, part in properties.items():
        root.require(part, fields[name], _short(name))
    return list(properties)


class _Root:
    def __init__(self, schema: Any, given: Mapping[str, Any]) -> None:
        self.schema, self.given = schema, given

    def refused(self, problem: str) -> Refused:
        can = "; ".join(f"{name}: {_kind(part)}" for name, part in self.given["properties"].items())
        message = f"response_format's schema cannot be promised: {problem}. There is: {can}; see /v1/models"
        return Refused(400, message, param="response_format", code="invalid_json_schema")

    def resolved(self, part: Any, where: str, depth: int = 0) -> dict[str, Any]:
        """A part, its references into $defs followed."""
        if not isinstance(part, dict):
            raise self.refused(f"{where} is no object")
        if "$ref" not in part:
            return part
        place = part["$ref"]
        found: Any = self.schema
        for key in place.split("/")[1:] if isinstance(place, str) and place.startswith("#/") else [None]:
            found = found.get(key) if isinstance(found, dict) else None
        if found is None or depth > _DEEPEST:
            raise self.refused(f"{where} refers to {_short(place)}, which is not in it")
        beside = {key: value for key, value in part.items() if key != "$ref"}
        return self.resolved(found, where, depth + 1) | beside

    def only(self, part: Mapping[str, Any], known: set[str], where: str) -> None:
        if strange := [key for key in part if key not in known | _NOTES]:
            raise self.refused(f"{where} asks for {first_names(map(_short, strange))}")

    def require(self, part: Any, field: Mapping[str, Any], where: str, depth: int = 0) -> None:
        """That every value of a run's field fits a part of the client's schema."""
        part = self.resolved(part, where)
        if "anyOf" in part:
            self.only(part, {"anyOf"}, where)
            self._require_one(part["anyOf"], field, where, depth)
            return
        self.only(part, {"type", "enum"}, where)
        kinds = part.get("type", [field["type"]])
        if field["type"] not in (kinds if isinstance(kinds, list) else [kinds]):
            raise self.refused(f"{where} is to be {_short(kinds)}")
        if "enum" in part:
            allowed = part["enum"] if isinstance(part["enum"], list) else []
            missing = [each for each in field.get("enum", [None]) if each not in allowed]
            if missing == [None]:
                raise self.refused(f"{where} is to be one of a few values")
            if missing:
                raise self.refused(f"{where} must allow {first_names(map(_short, missing))}")

    def _require_one(self, parts: Any, field: Mapping[str, Any], where: str, depth: int) -> None:
        refusals: list[Refused] = []
        for part in parts if isinstance(parts, list) and depth < _DEEPEST else []:
            try:
                self.require(part, field, where, depth + 1)
            except Refused as refused:
                refusals.append(refused)
            else:
                return
        raise refusals[0] if refusals else self.refused(f"{where} has an empty or too deep anyOf")


def _kind(field: Mapping[str, Any]) -> str:
    return f"one of {len(field['enum'])} strings" if "enum" in field else str(field["type"])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:60]
